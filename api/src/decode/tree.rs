//! JSON as it was written: entries in order, duplicates and spelling of numbers kept. Texts are those of the body,
//! where nothing in them had to be replaced.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use crate::go::json::cannot_unmarshal;
use crate::json::{double, float_text};

/// Values nested deeper than this are not even parsed (`maxNestingDepth` in sigs.k8s.io/json).
pub(super) const PARSED_NESTING_MAX: usize = 10_000;

/// What is said of a value that has to be kept and is nested deeper than [`crate::object::NESTING_MAX`].
pub(super) const TOO_DEEP: &str = "exceeded max depth of objects that can be kept";

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree<'a> {
    Null,
    Bool(bool),
    /// As it was spelled.
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
    /// An array or object (it says which) nested deeper than [`crate::object::NESTING_MAX`]. Its syntax was checked, no more: it may
    /// be dropped, or be of the wrong type, but not kept.
    Deep(&'static str),
}

impl Tree<'_> {
    /// Whether there may be keys in it.
    pub(super) fn is_nested(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// What Go's errors call it.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
            Self::Deep(name) => name,
        }
    }

    /// The value without a schema: of duplicates the last counts.
    ///
    /// # Errors
    /// [`TOO_DEEP`], and a number that is too large.
    pub(crate) fn into_value(self) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(yes) => Value::Bool(yes),
            Self::Number(text) => untyped_number(&text)?,
            Self::String(text) => Value::String(text.into_owned()),
            Self::Array(items) => Value::Array(items.into_iter().map(Self::into_value).collect::<Result<_, _>>()?),
            Self::Object(entries) => {
                let entries = entries.into_iter();
                let entries = entries.map(|(key, value)| Ok::<_, String>((key.into_owned(), value.into_value()?)));
                Value::Object(entries.collect::<Result<Map<_, _>, _>>()?)
            }
            Self::Deep(_) => return Err(TOO_DEEP.to_string()),
        })
    }
}

/// A number without a schema: an integer if it is one of 64 bits and has no point, else floating point.
fn untyped_number(text: &str) -> Result<Value, String> {
    match text.parse::<i64>() {
        Ok(number) => Ok(Value::from(number)),
        Err(_) => match text.parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) => Ok(double(number)),
            None => Err(cannot_unmarshal(&format!("number {text}"), "float64")),
        },
    }
}

/// A number as it is written in JSON.
fn spelled(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(number) => float_text(number),
        None => number.to_string(),
    }
}

impl From<Value> for Tree<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(yes),
            Value::Number(number) => Self::Number(spelled(&number).into()),
            Value::String(text) => Self::String(text.into()),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Object(map.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
            }
        }
    }
}
