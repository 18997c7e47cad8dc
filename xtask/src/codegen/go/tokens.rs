//! Go source as tokens: what separates declarations stands as `;`, comments stand beside.

use std::error::Error;

/// One token and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub line: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word(String),
    /// A text, without its quotes and escapes.
    Text(String),
    /// A number or a rune, as written.
    Literal(String),
    /// One character that stands for itself; `;` also for the ends of lines that end something.
    Mark(char),
}

/// A file's tokens, and its comments that have a line of their own.
pub(super) struct Tokens {
    pub tokens: Vec<Token>,
    /// Line and text, without slashes and the space behind them.
    pub comments: Vec<(usize, String)>,
}

/// Takes a file apart.
///
/// # Errors
/// The line of what does not end.
pub(super) fn read(text: &str) -> Result<Tokens, Box<dyn Error>> {
    let mut reader = Reader { rest: text, line: 1, tokens: Vec::new(), comments: Vec::new() };
    while reader.step()? {}
    reader.end_of_line();
    Ok(Tokens { tokens: reader.tokens, comments: reader.comments })
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
    comments: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { line: self.line, kind });
    }

    /// Go puts a semicolon where a line ends behind something that can end a statement.
    fn end_of_line(&mut self) {
        let ends = match self.tokens.last().map(|token| &token.kind) {
            None | Some(Kind::Mark(_)) => {
                matches!(self.tokens.last(), Some(Token { kind: Kind::Mark(')' | ']' | '}'), .. }))
            }
            Some(_) => true,
        };
        if ends {
            self.push(Kind::Mark(';'));
        }
    }

    fn step(&mut self) -> Result<bool, Box<dyn Error>> {
        let Some(first) = self.rest.chars().next() else { return Ok(false) };
        match first {
            '\n' => {
                self.end_of_line();
                self.line += 1;
                self.rest = &self.rest[1..];
            }
            ' ' | '\t' | '\r' => self.rest = &self.rest[1..],
            '/' if self.rest.starts_with("//") => self.line_comment(),
            '/' if self.rest.starts_with("/*") => self.block_comment()?,
            '`' => self.raw_text()?,
            '"' => self.text()?,
            '\'' => self.rune()?,
            c if c.is_alphabetic() || c == '_' => {
                let word = self.take_while(|c| c.is_alphanumeric() || c == '_');
                self.push(Kind::Word(word));
            }
            c if c.is_ascii_digit() => {
                let number = self.take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '_'));
                self.push(Kind::Literal(number));
            }
            c => {
                self.push(Kind::Mark(c));
                self.rest = &self.rest[c.len_utf8()..];
            }
        }
        Ok(true)
    }

    fn take_while(&mut self, more: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !more(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken.to_string()
    }

    fn line_comment(&mut self) {
        let alone = self.tokens.last().is_none_or(|token| token.line != self.line || token.kind == Kind::Mark(';'));
        let alone = alone && self.tokens.last().is_none_or(|token| token.line != self.line);
        let comment = self.take_while(|c| c != '\n');
        if alone {
            let text = comment[2..].strip_prefix(' ').unwrap_or(&comment[2..]);
            self.comments.push((self.line, text.trim_end().to_string()));
        }
    }

    fn block_comment(&mut self) -> Result<(), Box<dyn Error>> {
        let end = self.rest.find("*/").ok_or_else(|| self.endless("comment"))?;
        let (comment, rest) = self.rest.split_at(end + 2);
        for line in comment[2..end].split('\n') {
            self.comments.push((self.line, line.trim().to_string()));
            self.line += 1;
        }
        self.line -= 1;
        self.rest = rest;
        Ok(())
    }

    fn raw_text(&mut self) -> Result<(), Box<dyn Error>> {
        let end = self.rest[1..].find('`').ok_or_else(|| self.endless("raw text"))?;
        let text = self.rest[1..=end].to_string();
        let lines = text.matches('\n').count();
        self.push(Kind::Text(text));
        self.line += lines;
        self.rest = &self.rest[end + 2..];
        Ok(())
    }

    fn text(&mut self) -> Result<(), Box<dyn Error>> {
        let end = self.closing('"')?;
        let written = &self.rest[..=end];
        // What Go writes as Go does but JSON does not (`\x00`, `\a`) stands in no text that is read for what it says.
        let text = serde_json::from_str(written).unwrap_or_else(|_| written[1..end].to_string());
        self.push(Kind::Text(text));
        self.rest = &self.rest[end + 1..];
        Ok(())
    }

    fn rune(&mut self) -> Result<(), Box<dyn Error>> {
        let end = self.closing('\'')?;
        let written = self.rest[..=end].to_string();
        self.push(Kind::Literal(written));
        self.rest = &self.rest[end + 1..];
        Ok(())
    }

    /// Where the quote stands that closes the one at the beginning.
    fn closing(&self, quote: char) -> Result<usize, Box<dyn Error>> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => return Ok(at),
                _ => {}
            }
        }
        Err(self.endless("text"))
    }

    fn endless(&self, sort: &str) -> Box<dyn Error> {
        format!("line {}: a {sort} does not end", self.line).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let tokens = read(text).expect("it ends").tokens;
        let words = tokens.into_iter().map(|token| match token.kind {
            Kind::Word(word) | Kind::Literal(word) => word,
            Kind::Text(text) => format!("<{text}>"),
            Kind::Mark(mark) => mark.to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_that_end_something_get_a_semicolon() {
        assert_eq!(shown("type A struct {\n\tB string `x`\n}\n"), "type A struct { B string <x> ; } ;");
        assert_eq!(shown("const A B = \"a\\\"b\" // note"), "const A B = <a\"b> ;");
        assert_eq!(shown("x = 'a' + 0x1F"), "x = 'a' + 0x1F ;");
    }

    #[test]
    fn comments_stand_beside_with_their_lines() {
        let tokens = read("// one\n/* two\n three */\nvar a int // not alone\n//+four\n").expect("it ends");
        let comments: Vec<_> = tokens.comments.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(comments, [(1, "one"), (2, "two"), (3, "three"), (5, "+four")]);
        assert_eq!(tokens.tokens[0].line, 4);
    }

    #[test]
    fn what_does_not_end_is_an_error_with_its_line() {
        for (text, line) in [("\n`a", "line 2"), ("\"a\n\"", "line 1"), ("/* a", "line 1")] {
            assert!(read(text).is_err_and(|error| error.to_string().starts_with(line)), "{text}");
        }
    }
}
