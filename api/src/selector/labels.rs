//! Label selectors: the text form (`labels.Parse`) and the object form (`metav1.LabelSelector`).

use std::fmt;

use serde_json::Value;

use super::{Lookup, SelectorError};
use crate::field::{FieldError, Path};
use crate::names;

/// How a requirement relates a label to values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The relation.
    pub operator: Operator,
    /// The values, sorted and without repeats.
    pub values: Vec<String>,
}

/// Requirements that must all hold, sorted by key; or one that nothing matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// The requirements.
    pub requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    /// A requirement, checked as `labels.NewRequirement` does.
    ///
    /// # Errors
    /// All that is wrong, as an aggregate.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        let mut errors = Vec::new();
        let problems = names::label_key(key);
        if !problems.is_empty() {
            errors.push(FieldError::invalid(&Path::new("key"), key, problems.join("; ")));
        }
        let path = Path::new("values");
        let shown = || Value::from(values.clone());
        let mut wrong = |why: &str| errors.push(FieldError::invalid(&path, shown(), why));
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                wrong("for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                wrong("exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                wrong("values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    wrong("for 'Gt', 'Lt' operators, exactly one value is required");
                }
                for (i, value) in values.iter().enumerate().filter(|(_, v)| v.parse::<i64>().is_err()) {
                    let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                    errors.push(FieldError::invalid(&path.index(i), value.as_str(), why));
                }
            }
            _ => {}
        }
        for (i, value) in values.iter().enumerate() {
            let problems = names::label_value(value);
            if !problems.is_empty() {
                let at = path.index(i).key(key);
                errors.push(FieldError::invalid(&at, value.as_str(), problems.join("; ")));
            }
        }
        match errors.as_slice() {
            [] => Ok(Self { key: key.to_string(), operator, values }),
            [one] => Err(SelectorError(one.to_string())),
            many => {
                let texts: Vec<String> = many.iter().map(ToString::to_string).collect();
                Err(SelectorError(format!("[{}]", texts.join(", "))))
            }
        }
    }

    /// Whether labels satisfy it.
    pub fn matches(&self, labels: &(impl Lookup + ?Sized)) -> bool {
        let found = labels.lookup(&self.key);
        let has = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => found.is_some_and(has),
            Operator::NotIn | Operator::NotEquals => !found.is_some_and(has),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let numbers = (
                    found.and_then(|v| v.parse::<i64>().ok()),
                    self.values.first().and_then(|v| v.parse::<i64>().ok()),
                );
                let (Some(label), Some(bound)) = numbers else { return false };
                if self.operator == Operator::GreaterThan { label > bound } else { label < bound }
            }
        }
    }
}

impl LabelSelector {
    /// The selector that everything matches.
    pub fn everything() -> Self {
        Self::default()
    }

    /// The selector that nothing matches.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Reads the text form, such as `a=b,c in (d,e),!f`.
    ///
    /// # Errors
    /// With the wording of `labels.Parse`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Parser::new(text).parse()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Exactly the labels of a map, such as a service's selector; an empty map matches everything.
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut requirements: Vec<Requirement> = labels
            .into_iter()
            .map(|(key, value)| Requirement {
                key: key.to_string(),
                operator: Operator::Equals,
                values: vec![value.to_string()],
            })
            .collect();
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// Reads a `metav1.LabelSelector` object: none matches nothing, an empty one everything.
    ///
    /// # Errors
    /// With the wording of `metav1.LabelSelectorAsSelector`.
    pub fn from_object(selector: Option<&Value>) -> Result<Self, SelectorError> {
        let Some(selector) = selector.filter(|s| !s.is_null()) else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        let labels = selector.get("matchLabels").and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            let values = vec![value.as_str().unwrap_or("").to_string()];
            requirements.push(Requirement::new(key, Operator::Equals, values)?);
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            requirements.push(from_expression(expression)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Whether it lets everything through.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Whether labels satisfy every requirement.
    pub fn matches(&self, labels: &(impl Lookup + ?Sized)) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// Whether the labels of an object (`metadata.labels`) satisfy every requirement.
    pub fn matches_object(&self, object: &crate::Object) -> bool {
        match object.at(&["metadata", "labels"]).and_then(Value::as_object) {
            Some(labels) => self.matches(labels),
            None => self.matches(&[] as &[(&str, &str)]),
        }
    }
}

fn from_expression(expression: &Value) -> Result<Requirement, SelectorError> {
    let text = |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or("");
    let operator = match text("operator") {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
    };
    let values = expression.get("values").and_then(Value::as_array);
    let values = values.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect();
    Requirement::new(text("key"), operator, values)
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values = self.values.clone();
        values.sort();
        let (key, values) = (&self.key, values.join(","));
        match self.operator {
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            write!(f, "{}{requirement}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

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

struct Parser {
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
    fn new(text: &str) -> Self {
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

    fn parse(mut self) -> Result<Vec<Requirement>, SelectorError> {
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

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
