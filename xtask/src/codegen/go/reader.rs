//! Declarations out of the tokens of a file.

use std::error::Error;

use super::tokens::{Kind, Token, Tokens};
use super::{Constant, Declared, Field, Package, Stated, Type};

/// Reads one file into its package.
pub(super) struct Reader<'a> {
    name: &'a str,
    tokens: Tokens,
    at: usize,
    package: &'a mut Package,
    file: usize,
}

type Read<T> = Result<T, Box<dyn Error>>;

impl<'a> Reader<'a> {
    pub(super) fn new(name: &'a str, tokens: Tokens, package: &'a mut Package, file: usize) -> Self {
        Self { name, tokens, at: 0, package, file }
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.tokens.get(self.at).map(|token| &token.kind)
    }

    fn line(&self) -> usize {
        self.tokens.tokens.get(self.at).or(self.tokens.tokens.last()).map_or(0, |token| token.line)
    }

    fn next(&mut self) -> Read<Token> {
        let token = self.tokens.tokens.get(self.at).cloned().ok_or_else(|| self.wrong("the end of the file"))?;
        self.at += 1;
        Ok(token)
    }

    fn wrong(&self, found: &str) -> Box<dyn Error> {
        format!("{}:{}: {found} is not understood here", self.name, self.line()).into()
    }

    fn is(&self, mark: char) -> bool {
        self.peek() == Some(&Kind::Mark(mark))
    }

    fn skip(&mut self, mark: char) -> bool {
        let is = self.is(mark);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, mark: char) -> Read<()> {
        match self.skip(mark) {
            true => Ok(()),
            false => Err(self.wrong(&format!("{:?} instead of {mark:?}", self.peek()))),
        }
    }

    fn word(&mut self) -> Read<String> {
        match self.next()?.kind {
            Kind::Word(word) => Ok(word),
            other => {
                self.at -= 1;
                Err(self.wrong(&format!("{other:?} instead of a name")))
            }
        }
    }

    /// The markers (`+name=value`) in the comment that ends on the line before.
    fn markers(&self, line: usize) -> Vec<String> {
        let comments = &self.tokens.comments;
        let mut first = comments.partition_point(|(at, _)| *at < line);
        let end = first;
        while first > 0 && comments[first - 1].0 + (end - first) + 1 == line {
            first -= 1;
        }
        let texts = comments[first..end].iter().map(|(_, text)| text.trim());
        texts.filter_map(|text| text.strip_prefix('+')).map(str::to_string).collect()
    }

    /// All declarations of the file.
    pub(super) fn file(&mut self) -> Read<()> {
        while let Some(kind) = self.peek() {
            let Kind::Word(word) = kind.clone() else {
                return Err(self.wrong(&format!("{kind:?}")));
            };
            let line = self.line();
            self.at += 1;
            match word.as_str() {
                "package" => {
                    let markers = self.markers(line);
                    self.package.markers.extend(markers);
                    self.word()?;
                }
                "import" => self.group(Self::import)?,
                "type" => self.group(Self::declared)?,
                "const" => self.constants()?,
                "var" | "func" => self.skip_statement()?,
                other => return Err(self.wrong(other)),
            }
            self.skip(';');
        }
        Ok(())
    }

    /// One specification, or several in parentheses.
    fn group(&mut self, one: fn(&mut Self) -> Read<()>) -> Read<()> {
        if !self.skip('(') {
            return one(self);
        }
        while !self.skip(')') {
            one(self)?;
            self.skip(';');
        }
        Ok(())
    }

    fn import(&mut self) -> Read<()> {
        let mut token = self.next()?;
        let mut alias = String::new();
        if !matches!(token.kind, Kind::Text(_)) {
            if let Kind::Word(word) = token.kind {
                alias = word;
            }
            token = self.next()?;
        }
        let Kind::Text(path) = token.kind else { return Err(self.wrong("an import without a path")) };
        if alias.is_empty() {
            alias = path.rsplit('/').next().unwrap_or("").to_string();
        }
        self.package.imports[self.file].insert(alias, path);
        Ok(())
    }

    fn declared(&mut self) -> Read<()> {
        let line = self.line();
        let name = self.word()?;
        let alias = self.skip('=');
        let of = self.of()?;
        let declared = Declared {
            of,
            alias,
            markers: self.markers(line),
            place: format!("{}:{line}", self.name),
            file: self.file,
        };
        self.package.types.insert(name, declared);
        Ok(())
    }

    fn of(&mut self) -> Read<Type> {
        let token = self.next()?;
        match token.kind {
            Kind::Mark('*') => Ok(Type::Pointer(Box::new(self.of()?))),
            Kind::Mark('(') => {
                let of = self.of()?;
                self.expect(')')?;
                Ok(of)
            }
            Kind::Mark('[') => {
                while !self.skip(']') {
                    self.at += 1;
                }
                Ok(Type::List(Box::new(self.of()?)))
            }
            Kind::Mark('<') => {
                self.expect('-')?;
                self.word()?;
                self.of().map(|_| Type::Other)
            }
            Kind::Word(word) => self.named(word),
            other => {
                self.at -= 1;
                Err(self.wrong(&format!("{other:?} as a type")))
            }
        }
    }

    fn named(&mut self, word: String) -> Read<Type> {
        match word.as_str() {
            "map" => {
                self.expect('[')?;
                let key = self.of()?;
                self.expect(']')?;
                Ok(Type::Map(Box::new(key), Box::new(self.of()?)))
            }
            "struct" => self.fields().map(Type::Struct),
            "interface" => {
                self.balanced()?;
                Ok(Type::Other)
            }
            "func" => {
                self.skip_statement()?;
                Ok(Type::Other)
            }
            "chan" => self.of().map(|_| Type::Other),
            _ => {
                let named = match self.skip('.') {
                    true => Type::Named(word, self.word()?),
                    false => Type::Named(String::new(), word),
                };
                // The arguments of a type are no data.
                if self.is('[') {
                    self.balanced()?;
                }
                Ok(named)
            }
        }
    }

    fn fields(&mut self) -> Read<Vec<Field>> {
        self.expect('{')?;
        let mut fields = Vec::new();
        while !self.skip('}') {
            let line = self.line();
            let markers = self.markers(line);
            let start = self.at;
            let mut names = Vec::new();
            while let Some(Kind::Word(word)) = self.peek().cloned() {
                self.at += 1;
                names.push(word);
                if !self.skip(',') {
                    break;
                }
            }
            let embedded =
                names.is_empty() || self.is('.') || self.is(';') || matches!(self.peek(), Some(Kind::Text(_)));
            if embedded {
                self.at = start;
            }
            let of = self.of()?;
            let tag = match self.peek().cloned() {
                Some(Kind::Text(tag)) => {
                    self.at += 1;
                    tag
                }
                _ => String::new(),
            };
            if embedded {
                let mut inner = &of;
                if let Type::Pointer(to) = inner {
                    inner = to;
                }
                let Type::Named(_, name) = inner else { return Err(self.wrong("an embedded type without a name")) };
                names = vec![name.clone()];
            }
            for name in names {
                let (of, tag, markers) = (of.clone(), tag.clone(), markers.clone());
                fields.push(Field { name, embedded, of, tag, markers, line });
            }
            self.skip(';');
        }
        Ok(fields)
    }

    fn constants(&mut self) -> Read<()> {
        let many = self.skip('(');
        while !(many && self.skip(')')) {
            let start = self.at;
            let name = self.word()?;
            let of = match self.peek() {
                Some(Kind::Word(_)) => match self.of()? {
                    Type::Named(_, name) => name,
                    _ => String::new(),
                },
                _ => String::new(),
            };
            // Of the sorts of constants only one value for one name is data: `A B = "c"`, `A = B("c")` or `A = B(d.C)`.
            if self.skip('=')
                && let Some((stated, value)) = self.stated()
            {
                let of = if stated.is_empty() { of } else { stated };
                self.package.constants.push(Constant { name, of, value, file: self.file });
            }
            self.at = start;
            self.skip_statement()?;
            if !many {
                break;
            }
            self.skip(';');
        }
        Ok(())
    }

    /// The type of a conversion if there is one, and the value in it.
    fn stated(&self) -> Option<(String, Stated)> {
        let ahead: Vec<_> = self.tokens.tokens[self.at..].iter().take(7).map(|token| &token.kind).collect();
        let constant = |qualifier: &str, name: &str| Stated::Constant(qualifier.to_string(), name.to_string());
        Some(match ahead.as_slice() {
            [Kind::Text(value), Kind::Mark(';' | ')'), ..] => (String::new(), Stated::Text(value.clone())),
            [Kind::Word(of), Kind::Mark('('), Kind::Text(value), Kind::Mark(')'), Kind::Mark(';' | ')'), ..] => {
                (of.clone(), Stated::Text(value.clone()))
            }
            [Kind::Word(name), Kind::Mark(';' | ')'), ..] => (String::new(), constant("", name)),
            [Kind::Word(of), Kind::Mark('('), Kind::Word(name), Kind::Mark(')'), ..] => {
                (of.clone(), constant("", name))
            }
            [Kind::Word(qualifier), Kind::Mark('.'), Kind::Word(name), Kind::Mark(';' | ')'), ..] => {
                (String::new(), constant(qualifier, name))
            }
            [
                Kind::Word(of),
                Kind::Mark('('),
                Kind::Word(qualifier),
                Kind::Mark('.'),
                Kind::Word(name),
                Kind::Mark(')'),
                ..,
            ] => (of.clone(), constant(qualifier, name)),
            _ => return None,
        })
    }

    /// Leaves out everything up to the `;` that ends it, or the parenthesis that closes what it stands in.
    fn skip_statement(&mut self) -> Read<()> {
        while let Some(kind) = self.peek() {
            match kind {
                Kind::Mark(';' | ')' | '}' | ']') => return Ok(()),
                Kind::Mark('(' | '[' | '{') => self.balanced()?,
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    /// Leaves out what stands in parentheses, brackets or braces.
    fn balanced(&mut self) -> Read<()> {
        let mut depth = 0;
        loop {
            match self.next()?.kind {
                Kind::Mark('(' | '[' | '{') => depth += 1,
                Kind::Mark(')' | ']' | '}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}
