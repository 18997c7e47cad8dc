//! Texts and numbers: plain where they can be, else in the quotes that go-yaml takes.

use std::fmt::Write;

use super::{INDENT, spaces};
use crate::decode::reads_as_text;

/// A text, and whether it stands before a colon.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) is_key: bool,
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    /// Line by line, with the ends of its lines.
    Literal,
}

/// Appends a text inside of what stands at `indent`; how it was written.
pub(super) fn write(out: &mut String, text: Text<'_>, indent: usize) -> Style {
    let style = text.style();
    match style {
        Style::Plain => out.push_str(text.text),
        Style::Single => {
            out.push('\'');
            out.push_str(&text.text.replace('\'', "''"));
            out.push('\'');
        }
        Style::Double => double(out, text.text),
        Style::Literal => literal(out, text.text, indent + INDENT),
    }
    style
}

impl Text<'_> {
    /// The style that go-yaml wants, and what becomes of it (`stringv`, `yaml_emitter_select_scalar_style`).
    fn style(self) -> Style {
        let Self { text, is_key } = self;
        if text.contains('\n') {
            return if is_key || !may_be_literal(text) { Style::Double } else { Style::Literal };
        }
        if !reads_as_text(text) || looks_like_a_time(text) || !text.chars().all(is_printable) {
            return Style::Double;
        }
        if is_plain(text) { Style::Plain } else { Style::Single }
    }
}

/// Dates and numbers to the base of sixty, which other readers know.
fn looks_like_a_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_of_time = |byte: &u8| byte.is_ascii_digit() || b":.,_+- TtZz".contains(byte);
    let is_date = bytes.len() > 4 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-';
    let is_sexagesimal = bytes.contains(&b':') && (bytes[0].is_ascii_digit() || matches!(bytes[0], b'+' | b'-'));
    (is_date || is_sexagesimal) && bytes.iter().all(is_of_time)
}

/// `yaml_emitter_analyze_scalar`, for a text of one line that is printable.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let blank_after = |place: usize| bytes.get(place + 1).is_none_or(|next| matches!(next, b' ' | b'\t'));
    let starts = match first {
        b'#' | b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"' | b'%' | b'@'
        | b'`' | b' ' => false,
        b'?' | b':' | b'-' => !blank_after(0),
        _ => !text.starts_with("..."),
    };
    let goes_on = |(place, byte): (usize, &u8)| match byte {
        b':' => !blank_after(place),
        b'#' => place > 0 && !matches!(bytes[place - 1], b' ' | b'\t'),
        _ => true,
    };
    starts && !text.starts_with("---") && *last != b' ' && bytes.iter().enumerate().all(goes_on)
}

/// Whether a text of several lines can be written line by line and comes back as it was.
fn may_be_literal(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || is_printable(c)) && !text.ends_with(' ') && !text.contains(" \n")
}

/// What needs no escape (`is_printable` in go-yaml); a byte order mark and separators of lines do.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}'
        | '\u{ff00}'..='\u{fffd}')
}

fn double(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let written = match code {
                    0..=0xff => write!(out, "\\x{code:02X}"),
                    0x100..=0xffff => write!(out, "\\u{code:04X}"),
                    _ => write!(out, "\\U{code:08X}"),
                };
                written.expect("a String can be written");
            }
        }
    }
    out.push('"');
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    // A reader would take blanks at the beginning for the indent.
    if text.starts_with([' ', '\n']) {
        out.push_str(&INDENT.to_string());
    }
    match text.strip_suffix('\n') {
        None => out.push('-'),
        Some(rest) if rest.is_empty() || rest.ends_with('\n') => out.push('+'),
        Some(_) => {}
    }
    out.push('\n');
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            spaces(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A float as `strconv.FormatFloat` prints it with the format `g` and as many digits as it needs. The reference reads it
/// from JSON, where a whole one that fits into 64 bits is an integer.
pub(super) fn float(number: f64) -> String {
    let whole = number as i128;
    if whole as f64 == number && (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&whole) {
        return if whole == 0 { "0".into() } else { crate::json::float_text(number) };
    }
    crate::go::strconv::format_float(number)
}
