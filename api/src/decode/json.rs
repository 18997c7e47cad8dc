//! A JSON parser that accepts and refuses what Go's `encoding/json` does, in its words.

use std::borrow::Cow;

use super::tree::{PARSED_NESTING_MAX, Tree};
use crate::go::json::{UNEXPECTED_END, invalid_character};
use crate::object::NESTING_MAX;

/// Parses a whole document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Tree<'_>, String> {
    let mut parser = Parser { bytes, at: 0, depth: 0 };
    let tree = parser.value("looking for beginning of value")?;
    parser.space();
    match parser.bytes.get(parser.at) {
        None => Ok(tree),
        Some(_) => Err(parser.unexpected("after top-level value")),
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn unexpected(&self, context: &str) -> String {
        match self.bytes.get(self.at) {
            Some(byte) => invalid_character(*byte, context),
            None => UNEXPECTED_END.to_string(),
        }
    }

    fn value(&mut self, context: &str) -> Result<Tree<'a>, String> {
        self.space();
        match self.bytes.get(self.at) {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Tree::String(self.string()?)),
            Some(b't') => self.literal("true", Tree::Bool(true)),
            Some(b'f') => self.literal("false", Tree::Bool(false)),
            Some(b'n') => self.literal("null", Tree::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected(context)),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Tree<'a>, String>) -> Result<Tree<'a>, String> {
        if self.depth >= NESTING_MAX {
            return self.deep();
        }
        self.depth += 1;
        self.at += 1;
        let tree = read(self)?;
        self.depth -= 1;
        Ok(tree)
    }

    fn object(&mut self) -> Result<Tree<'a>, String> {
        let mut entries = Vec::new();
        self.space();
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(Tree::Object(entries));
        }
        loop {
            self.space();
            let key = self.key()?;
            let value = self.value("looking for beginning of value")?;
            entries.push((key, value));
            self.space();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Tree::Object(entries));
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Result<Tree<'a>, String> {
        let mut items = Vec::new();
        self.space();
        if self.bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Tree::Array(items));
        }
        loop {
            items.push(self.value("looking for beginning of value")?);
            self.space();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Tree::Array(items));
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }

    /// Checks the syntax of an array or object that is nested too deeply to be kept, without recursion.
    fn deep(&mut self) -> Result<Tree<'a>, String> {
        let name = if self.bytes[self.at] == b'{' { "object" } else { "array" };
        let mut closings = Vec::new();
        loop {
            self.space();
            let opening = self.bytes.get(self.at).copied();
            if let Some(b'{' | b'[') = opening {
                if self.depth + closings.len() >= PARSED_NESTING_MAX {
                    return Err(self.unexpected("exceeded max depth"));
                }
                let closing = if opening == Some(b'{') { b'}' } else { b']' };
                closings.push(closing);
                self.at += 1;
                self.space();
                if self.bytes.get(self.at) != Some(&closing) {
                    if closing == b'}' {
                        self.key()?;
                    }
                    continue;
                }
            } else {
                self.value("looking for beginning of value")?;
            }
            if self.close(&mut closings)? {
                return Ok(Tree::Deep(name));
            }
        }
    }

    /// Reads what may follow a value within these brackets, to the next value; whether there is none.
    fn close(&mut self, closings: &mut Vec<u8>) -> Result<bool, String> {
        while let Some(&closing) = closings.last() {
            self.space();
            match self.bytes.get(self.at) {
                Some(found) if *found == closing => {
                    self.at += 1;
                    closings.pop();
                }
                Some(b',') => {
                    self.at += 1;
                    if closing == b'}' {
                        self.space();
                        self.key()?;
                    }
                    return Ok(false);
                }
                _ if closing == b'}' => return Err(self.unexpected("after object key:value pair")),
                _ => return Err(self.unexpected("after array element")),
            }
        }
        Ok(true)
    }

    /// A key and the colon after it.
    fn key(&mut self) -> Result<Cow<'a, str>, String> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.unexpected("looking for beginning of object key string"));
        }
        let key = self.string()?;
        self.space();
        if self.bytes.get(self.at) != Some(&b':') {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        Ok(key)
    }

    fn literal(&mut self, word: &str, tree: Tree<'a>) -> Result<Tree<'a>, String> {
        for expected in word.bytes() {
            if self.bytes.get(self.at) != Some(&expected) {
                let context = format!("in literal {word} (expecting {:?})", char::from(expected));
                return Err(self.unexpected(&context));
            }
            self.at += 1;
        }
        Ok(tree)
    }

    fn number(&mut self) -> Result<Tree<'a>, String> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).expect("digits are ASCII");
        Ok(Tree::Number(text.into()))
    }

    fn digits(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, context: &str) -> Result<(), String> {
        if !matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            return Err(self.unexpected(context));
        }
        self.digits();
        Ok(())
    }

    /// A string; bytes that are no UTF-8 become the replacement character, as in Go.
    fn string(&mut self) -> Result<Cow<'a, str>, String> {
        self.at += 1;
        let text = self.plain_text();
        if self.bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(text);
        }
        let mut out = text.into_owned();
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out.into());
                }
                Some(b'\\') => self.escape(&mut out)?,
                Some(0x20..=0xff) => out.push_str(&self.plain_text()),
                _ => return Err(self.unexpected("in string literal")),
            }
        }
    }

    /// What comes before the next quote, escape or control character.
    fn plain_text(&mut self) -> Cow<'a, str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
        self.at += end;
        String::from_utf8_lossy(&rest[..end])
    }

    fn escape(&mut self, out: &mut String) -> Result<(), String> {
        self.at += 1;
        let plain = match self.bytes.get(self.at) {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(*c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let first = self.hexadecimal()?;
                out.push(self.surrogate(first)?);
                return Ok(());
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    /// The character of a `\u` escape, taking the second half of a pair; a half on its own is replaced.
    fn surrogate(&mut self, first: u32) -> Result<char, String> {
        if (0xd800..0xdc00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hexadecimal()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hexadecimal(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.bytes.get(self.at).and_then(|b| char::from(*b).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.unexpected("in \\u hexadecimal character escape"))?;
            self.at += 1;
        }
        Ok(code)
    }
}
