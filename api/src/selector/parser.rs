//! The grammar of label selectors (`labels.Parser`).

use super::SelectorError;
use super::labels::{Operator, Requirement};
use crate::field::{FieldError, Path};
use crate::names;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
    Error,
}

/// Reads requirements from tokens.
pub(super) struct Parser {
    items: Vec<(Token, String)>,
    position: usize,
}

fn special(byte: u8) -> Option<Token> {
    Some(match byte {
        b')' => Token::Close,
        b',' => Token::Comma,
        b'!' => Token::Not,
        b'=' => Token::Equals,
        b'>' => Token::Greater,
        b'<' => Token::Less,
        b'(' => Token::Open,
        _ => return None,
    })
}

/// Splits a selector into tokens; a symbol is as long as it can be (`!=`, `==`).
fn scan(text: &str) -> Vec<(Token, String)> {
    let bytes = text.as_bytes();
    let mut items = Vec::new();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != 0 {
        if matches!(bytes[at], b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
            continue;
        }
        let start = at;
        if let Some(token) = special(bytes[at]) {
            let (token, length) = match (bytes[at], bytes.get(at + 1)) {
                (b'=', Some(b'=')) => (Token::DoubleEquals, 2),
                (b'!', Some(b'=')) => (Token::NotEquals, 2),
                _ => (token, 1),
            };
            at += length;
            items.push((token, text[start..at].to_string()));
            continue;
        }
        while at < bytes.len() && special(bytes[at]).is_none() && !matches!(bytes[at], b' ' | b'\t' | b'\r' | b'\n' | 0)
        {
            at += 1;
        }
        let word = text.get(start..at).unwrap_or("").to_string();
        let token = match word.as_str() {
            "in" => Token::In,
            "notin" => Token::NotIn,
            "" => Token::Error,
            _ => Token::Identifier,
        };
        items.push((token, word));
    }
    items.push((Token::End, String::new()));
    items
}

impl Parser {
    pub(super) fn new(text: &str) -> Self {
        Self { items: scan(text), position: 0 }
    }

    /// The token ahead; where a value may stand, `in` and `notin` are plain words.
    fn ahead(&self, values: bool) -> (Token, &str) {
        let (token, text) = &self.items[self.position.min(self.items.len() - 1)];
        let token = match token {
            Token::In | Token::NotIn if values => Token::Identifier,
            other => *other,
        };
        (token, text)
    }

    fn take(&mut self, values: bool) -> (Token, String) {
        let (token, text) = self.ahead(values);
        let taken = (token, text.to_string());
        self.position += 1;
        taken
    }

    pub(super) fn parse(mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.ahead(true) {
                (Token::Identifier | Token::Not, _) => {
                    let requirement = self.requirement();
                    requirements
                        .push(requirement.map_err(|e| SelectorError(format!("unable to parse requirement: {}", e.0)))?);
                    match self.take(true) {
                        (Token::End, _) => return Ok(requirements),
                        (Token::Comma, _) => {
                            let (token, text) = self.ahead(true);
                            if !matches!(token, Token::Identifier | Token::Not) {
                                return error(text, "expected: identifier after ','");
                            }
                        }
                        (_, text) => return error(&text, "expected: ',' or 'end of string'"),
                    }
                }
                (Token::End, _) => return Ok(requirements),
                (_, text) => return error(text, "expected: !, identifier, or 'end of string'"),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let (mut token, mut key) = self.take(true);
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.take(true);
        }
        if token != Token::Identifier {
            return error(&key, "expected: identifier");
        }
        let problems = names::label_key(&key);
        if !problems.is_empty() {
            let invalid = FieldError::invalid(&Path::root(), key, problems.join("; "));
            return Err(SelectorError(invalid.to_string()));
        }
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.ahead(true).0, Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        values.sort();
        values.dedup();
        Requirement::new(&key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        Ok(match self.take(false) {
            (Token::In, _) => Operator::In,
            (Token::Equals, _) => Operator::Equals,
            (Token::DoubleEquals, _) => Operator::DoubleEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::NotEquals, _) => Operator::NotEquals,
            (_, text) => return error(&text, "expected: in, notin, =, ==, !=, gt, lt"),
        })
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        let (token, text) = self.take(true);
        if token != Token::Open {
            return Err(SelectorError(format!("found '{text}' expected: '('")));
        }
        match self.ahead(true) {
            (Token::Identifier | Token::Comma, _) => self.list(),
            (Token::Close, _) => {
                self.position += 1;
                Ok(vec![String::new()])
            }
            (_, text) => error(text, "expected: ',', ')' or identifier"),
        }
    }

    /// Values up to the closing parenthesis; an empty place between commas is an empty value.
    fn list(&mut self) -> Result<Vec<String>, SelectorError> {
        let mut values = Vec::new();
        loop {
            match self.take(true) {
                (Token::Identifier, text) => {
                    values.push(text);
                    match self.ahead(true) {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => {
                            self.position += 1;
                            return Ok(values);
                        }
                        (_, text) => return error(text, "expected: ',' or ')'"),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.ahead(true).0 {
                        Token::Close => {
                            self.position += 1;
                            values.push(String::new());
                            return Ok(values);
                        }
                        Token::Comma => values.push(String::new()),
                        _ => {}
                    }
                }
                (_, text) => return error(&text, "expected: ',', or identifier"),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.ahead(true).0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take(true) {
            (Token::Identifier, text) => Ok(text),
            (_, text) => error(&text, "expected: identifier"),
        }
    }
}

fn error<T>(found: &str, expected: &str) -> Result<T, SelectorError> {
    Err(SelectorError(format!("found '{found}', {expected}")))
}
