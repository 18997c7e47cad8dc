//! Regular expressions in the syntax of Go's package `regexp`, and what it says of one that is wrong.

use std::sync::OnceLock;

use regex::Regex;
use regex_syntax::ast::{self, ErrorKind};

/// Most bytes that a compiled pattern may take; a pattern that needs more matches nothing.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// The most times that Go repeats something.
const REPEAT_MAX: u32 = 1000;

/// A regular expression, compiled when it is first needed.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn new(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.text).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// A regular expression of a schema, or why it is none.
pub(crate) fn compile(text: &str) -> Result<Regex, String> {
    let text = &literal_braces(text);
    let compiled = regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
    match (compiled, told(text)) {
        (Ok(_), Some(why)) => Err(why),
        (Ok(regex), None) => Ok(regex),
        (Err(error), why) => Err(why.unwrap_or_else(|| format!("error parsing regexp: {error}"))),
    }
}

/// What Go's parser says of an expression; none if nothing is wrong.
fn told(text: &str) -> Option<String> {
    let mut nested = None;
    let error = match ast::parse::Parser::new().parse(text) {
        Ok(tree) => {
            repeats(&tree, None, text, &mut nested);
            return nested;
        }
        Err(error) => error,
    };
    let (start, end) = (error.span().start.offset, error.span().end.offset);
    let at = text.get(start..end).unwrap_or("");
    let rest = text.get(start..).unwrap_or("");
    let (what, shown) = match error.kind() {
        ErrorKind::ClassUnclosed => ("missing closing ]", rest),
        ErrorKind::GroupUnclosed => ("missing closing )", text),
        ErrorKind::GroupUnopened => ("unexpected )", text),
        ErrorKind::ClassRangeInvalid => ("invalid character class range", at),
        ErrorKind::RepetitionMissing => {
            let operator = rest.char_indices().nth(1).map_or(rest, |(end, _)| &rest[..end]);
            ("missing argument to repetition operator", operator)
        }
        ErrorKind::RepetitionCountInvalid => ("invalid repeat count", at),
        ErrorKind::GroupNameUnexpectedEof | ErrorKind::GroupNameInvalid => {
            ("invalid named capture", rest_of_group(text))
        }
        ErrorKind::EscapeUnexpectedEof => ("trailing backslash at end of expression", ""),
        ErrorKind::EscapeUnrecognized | ErrorKind::UnsupportedBackreference => ("invalid escape sequence", at),
        ErrorKind::UnsupportedLookAround | ErrorKind::FlagUnrecognized => ("invalid or unsupported Perl syntax", at),
        _ => return None,
    };
    Some(format!("error parsing regexp: {what}: `{shown}`"))
}

/// The text from the last named group on.
fn rest_of_group(text: &str) -> &str {
    text.rfind("(?").map_or(text, |start| &text[start..])
}

/// A brace that begins no count stands for itself in Go.
fn literal_braces(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        let inner = from[1..].split('}').next().unwrap_or("");
        let closed = from[1..].contains('}');
        let numbers: Vec<&str> = inner.split(',').collect();
        let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        let counts = closed
            && numbers.len() <= 2
            && is_number(numbers[0])
            && numbers.get(1).is_none_or(|n| n.is_empty() || is_number(n));
        let named = before.ends_with("\\p") || before.ends_with("\\P") || before.ends_with("\\x");
        escaped.push_str(before);
        escaped.push_str(if counts || named || before.ends_with('\\') { "{" } else { "\\{" });
        rest = &from[1..];
    }
    escaped.push_str(rest);
    escaped
}

/// Go refuses repetitions of repetitions, and counts that are too high.
fn repeats(tree: &ast::Ast, within: Option<usize>, text: &str, found: &mut Option<String>) {
    if found.is_some() {
        return;
    }
    let shown = |from: usize, to: usize| text.get(from..to).unwrap_or("").to_string();
    match tree {
        ast::Ast::Repetition(repetition) => {
            let operator = repetition.op.span;
            if let Some(outer_end) = within {
                let shown = shown(operator.start.offset, outer_end);
                *found = Some(format!("error parsing regexp: invalid nested repetition operator: `{shown}`"));
                return;
            }
            let most = match &repetition.op.kind {
                ast::RepetitionKind::Range(ast::RepetitionRange::Exactly(n) | ast::RepetitionRange::AtLeast(n)) => *n,
                ast::RepetitionKind::Range(ast::RepetitionRange::Bounded(_, n)) => *n,
                _ => 0,
            };
            if most > REPEAT_MAX {
                let shown = shown(operator.start.offset, operator.end.offset);
                *found = Some(format!("error parsing regexp: invalid repeat count: `{shown}`"));
                return;
            }
            repeats(&repetition.ast, Some(operator.end.offset), text, found);
        }
        ast::Ast::Group(group) => repeats(&group.ast, None, text, found),
        ast::Ast::Concat(all) => all.asts.iter().for_each(|one| repeats(one, None, text, found)),
        ast::Ast::Alternation(all) => all.asts.iter().for_each(|one| repeats(one, None, text, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_as_go_tells_them() {
        for (text, why) in [
            ("[a", "missing closing ]: `[a`"),
            ("(a", "missing closing ): `(a`"),
            ("a)", "unexpected ): `a)`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2000}", "invalid repeat count: `{2000}`"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
            ("\\1", "invalid escape sequence: `\\1`"),
            ("\\", "trailing backslash at end of expression: ``"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ] {
            assert_eq!(compile(text).unwrap_err(), format!("error parsing regexp: {why}"), "{text}");
        }
        for text in
            ["^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a{1000}", "(?:a*)*", "a*?", "\\d+\\.\\w", "a{,2}", "{a}", "\\p{L}"]
        {
            compile(text).unwrap();
        }
    }
}
