//! Paths into an object and what is wrong there, in the words of `field.Error` in apimachinery's
//! `util/validation/field`.

mod list;

use std::collections::HashSet;
use std::fmt;

use serde_json::Value;
use smallvec::SmallVec;

use crate::go::json::in_html;
use crate::go::strconv;
use crate::json;

pub use list::{ERRORS_BYTES_MAX, ErrorList};

/// How long a path may be in bytes before it takes memory of its own.
const INLINE_BYTES: usize = 96;
/// Stands for a name that is empty; no name has it.
const UNNAMED: u8 = 0;
/// How long the text of a path may grow; what is below is not told apart any more.
const PATH_BYTES_MAX: usize = 8 * 1024;
/// How much of a value an error shows, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Stands for the rest of what is cut.
const CUT: &str = "...";

/// A path such as `spec.containers[0].name` or `metadata.labels[a/b]`. Validation makes one for every field that it
/// reads and shows few, so short ones take no memory of their own.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Path(SmallVec<[u8; INLINE_BYTES]>);

impl Path {
    /// A path of one name (or several with dots).
    pub fn new(name: &str) -> Self {
        Self(SmallVec::from_slice(beginning(name, PATH_BYTES_MAX).as_bytes()))
    }

    /// The empty path, for an object as a whole.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path that shows nothing, not even that there is none: that of a field whose name is empty.
    pub fn unnamed() -> Self {
        Self(SmallVec::from_slice(&[UNNAMED]))
    }

    /// A field below.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { self.with(".", name, "") }
    }

    /// An item of a list.
    pub fn index(&self, index: usize) -> Self {
        self.with("[", itoa::Buffer::new().format(index), "]")
    }

    /// An entry of a map.
    pub fn key(&self, key: &str) -> Self {
        self.with("[", key, "]")
    }

    fn with(&self, before: &str, name: &str, after: &str) -> Self {
        if self.0.len() >= PATH_BYTES_MAX {
            return self.clone();
        }
        let name = beginning(name, PATH_BYTES_MAX);
        let mut path = SmallVec::with_capacity(self.0.len() + before.len() + name.len() + after.len());
        path.extend_from_slice(&self.0);
        path.extend_from_slice(before.as_bytes());
        path.extend_from_slice(name.as_bytes());
        path.extend_from_slice(after.as_bytes());
        Self(path)
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        let name = self.0.strip_prefix(&[UNNAMED]).unwrap_or(&self.0);
        str::from_utf8(name).expect("a path is made of texts")
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { self.as_str() })
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({:?})", self.as_str())
    }
}

/// Several errors in one line: one as it is, more in brackets, each text once (`Aggregate.Error` in apimachinery's
/// `util/errors`).
pub fn aggregate(texts: impl IntoIterator<Item = String>) -> String {
    let mut seen = HashSet::new();
    let mut texts: Vec<String> = texts.into_iter().filter(|text| seen.insert(text.clone())).collect();
    match texts.len() {
        1 => texts.remove(0),
        _ => format!("[{}]", texts.join(", ")),
    }
}

/// The kinds of field error, with the reason that a `StatusCause` carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// `FieldValueNotFound`
    NotFound,
    /// `FieldValueRequired`
    Required,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueNotSupported`
    NotSupported,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `InternalError`
    InternalError,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
}

impl ErrorType {
    /// The reason in a `StatusCause`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::InternalError => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::InternalError => "Internal error",
        }
    }
}

/// One thing that is wrong at one path.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What kind of error.
    pub error_type: ErrorType,
    /// Where.
    pub path: Path,
    /// The value, as the message shows it (quoted if a string); none if the kind shows none.
    pub value: Option<String>,
    /// Why.
    pub detail: String,
}

impl FieldError {
    /// The value is not one that is allowed.
    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::with_value(ErrorType::Invalid, path, value, detail)
    }

    /// The value is not one that is allowed; it is shown as written here, where the order of its fields matters.
    pub fn invalid_text(path: &Path, mut shown: String, detail: impl Into<String>) -> Self {
        cut(&mut shown, VALUE_BYTES_MAX);
        Self { error_type: ErrorType::Invalid, path: path.clone(), value: Some(shown), detail: detail.into() }
    }

    /// The value has the wrong type.
    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::with_value(ErrorType::TypeInvalid, path, value, detail)
    }

    /// The field must be there.
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self { error_type: ErrorType::Required, path: path.clone(), value: None, detail: detail.into() }
    }

    /// The value must be unique and is not.
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::with_value(ErrorType::Duplicate, path, value, "")
    }

    /// What the value refers to is not there.
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::with_value(ErrorType::NotFound, path, value, "")
    }

    /// The field may not be set so here.
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self { error_type: ErrorType::Forbidden, path: path.clone(), value: None, detail: detail.into() }
    }

    /// The value is none of those supported; they are listed in the order given.
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|v| format!("{v:?}")).collect();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        Self::with_value(ErrorType::NotSupported, path, value, detail)
    }

    /// The value is longer than `max` bytes.
    pub fn too_long(path: &Path, max: usize) -> Self {
        let detail = format!("may not be more than {max} byte{}", if max == 1 { "" } else { "s" });
        Self { error_type: ErrorType::TooLong, path: path.clone(), value: None, detail }
    }

    /// The list has more than `max` items.
    pub fn too_many(path: &Path, actual: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} item{}", if max == 1 { "" } else { "s" });
        Self { error_type: ErrorType::TooMany, path: path.clone(), value: Some(actual.to_string()), detail }
    }

    /// Something failed while checking.
    pub fn internal(path: &Path, detail: impl Into<String>) -> Self {
        Self { error_type: ErrorType::InternalError, path: path.clone(), value: None, detail: detail.into() }
    }

    fn with_value(error_type: ErrorType, path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self { error_type, path: path.clone(), value: Some(shown(&value.into())), detail: detail.into() }
    }

    /// The message without the path, as a `StatusCause` has it.
    pub fn body(&self) -> String {
        let mut text = self.error_type.text().to_string();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// How a bad value is shown: strings quoted as Go's `%q` does, floats as its `%v`, the rest as JSON, and not all
/// of what is long.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::String(text) => {
            let mut quoted = strconv::quote(beginning(text, VALUE_BYTES_MAX));
            if text.len() > VALUE_BYTES_MAX {
                quoted.push_str(CUT);
            }
            cut(&mut quoted, 2 * VALUE_BYTES_MAX);
            quoted
        }
        // Go escapes what means something in HTML.
        Value::Array(_) | Value::Object(_) => {
            let mut escaped = in_html(bounded_json(value, VALUE_BYTES_MAX));
            cut(&mut escaped, 2 * VALUE_BYTES_MAX);
            escaped
        }
        // What has no room in an `int64` is a `float64` in Go.
        Value::Number(number) if number.as_i64().is_none() => {
            number.as_f64().map(strconv::format_float).unwrap_or_default()
        }
        other => json::to_text(other),
    }
}

/// The beginning of a text, of so many bytes at most.
pub(crate) fn beginning(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// Cuts a text that is longer than so many bytes, and marks that it was.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = beginning(text, bytes_max).len();
        text.truncate(end);
        text.push_str(CUT);
    }
}

/// The JSON of a value, which is not written further than is shown.
pub(crate) fn bounded_json(value: &Value, bytes_max: usize) -> String {
    struct Bounded(Vec<u8>, usize);
    impl std::io::Write for Bounded {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let left = self.1.saturating_sub(self.0.len());
            self.0.extend_from_slice(&bytes[..bytes.len().min(left)]);
            // Nothing taken ends the writing.
            Ok(bytes.len().min(left))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut out = Bounded(Vec::new(), bytes_max);
    let is_whole = serde_json::to_writer(&mut out, value).is_ok();
    let mut text = String::from_utf8_lossy(&out.0).into_owned();
    if !is_whole {
        text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
        text.push_str(CUT);
    }
    text
}
