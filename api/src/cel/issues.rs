//! What is wrong with an expression, and how it is shown: with the line and a mark below the place.

use cel::ParseErrors;
use cel::common::ast::SourceInfo;

/// Longest line that is shown, in bytes.
const SNIPPET_BYTES_MAX: usize = 16 * 1024;
/// Most errors that are told of one expression (`maxErrorsToReport` of cel-go's `Errors`).
pub(super) const ISSUES_MAX: usize = 100;

/// One thing that is wrong, at a line and a column that both count from one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Issue {
    line: usize,
    column: usize,
    pub(super) message: String,
}

impl Issue {
    /// An issue at an expression.
    pub(super) fn at(info: &SourceInfo, id: u64, message: String) -> Self {
        let offset = info.offset_for(id).map_or(0, |(start, _)| start as usize);
        let before = info.source.get(..offset).unwrap_or("");
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().map_or(0, |text| text.chars().count());
        Self { line, column, message }
    }
}

/// What the parser said.
pub(super) fn of_parser(source: &str, errors: &ParseErrors) -> String {
    let count = |n: isize| usize::try_from(n).unwrap_or(0);
    // In an empty text there is no first column.
    let column = |n: isize| if source.is_empty() { 0 } else { count(n) };
    let one = |e: &cel::ParseError| Issue { line: count(e.pos.0), column: column(e.pos.1), message: e.msg.clone() };
    let more = errors.errors.len().saturating_sub(ISSUES_MAX);
    show(source, errors.errors.iter().take(ISSUES_MAX).map(one).collect(), more)
}

/// Issues in the order of their places, and how many more there are.
pub(super) fn show(source: &str, mut issues: Vec<Issue>, more: usize) -> String {
    issues.sort_by_key(|issue| (issue.line, issue.column));
    let mut texts: Vec<String> = issues.iter().map(|issue| one(source, issue)).collect();
    if more > 0 {
        texts.push(format!("{more} more errors were truncated"));
    }
    texts.join("\n")
}

fn one(source: &str, issue: &Issue) -> String {
    let Issue { line, column, message } = issue;
    let head = format!("ERROR: <input>:{line}:{column}: {message}");
    let text = source.split('\n').nth(line.saturating_sub(1)).filter(|text| text.len() <= SNIPPET_BYTES_MAX);
    let Some(text) = text.filter(|_| !source.is_empty()) else { return head };
    let text = text.replace('\t', " ");
    let mut characters = text.chars();
    let dots: String = (1..*column).map_while(|_| characters.next()).map(|c| mark(c, '.', '\u{ff0e}')).collect();
    let sign = characters.next().map_or('^', |c| mark(c, '^', '\u{ff3e}'));
    format!("{head}\n | {text}\n | {dots}{sign}")
}

/// Wide characters get a wide mark, so that the marks stand below them.
fn mark(character: char, narrow: char, wide: char) -> char {
    if character.is_ascii() { narrow } else { wide }
}
