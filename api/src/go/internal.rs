//! How the reference prints a value whose type has no JSON of its own: its internal types, by the names and in the
//! order of their fields, with everything that is unset. Error messages show them, whole or as a difference.
//!
//! `data/overlay/internal.txt` holds a line a type: its name and its fields, each `Shown:form`. A form is what absence looks
//! like (`""`, `0`, `false`, `null`), or the name of a type: `*` before it for one that may be null, `[]` for a list and
//! `{}` for a map. `Shown=name` says where the field stands in an object if it differs by more than the first letter; in
//! `=^name` it stands in the value around this one, and `=@array` (or `@object`, `@bool`) is the value itself if it is of
//! that sort. A `?` leaves out what is empty. `+Type` takes the fields of another in, `metadata+Type` those of a type
//! that the served version keeps below `metadata`.

mod printer;

use serde_json::Value;

use crate::diff;
use printer::Printer;

const TYPES: &str = include_str!("../../data/overlay/internal.txt");

/// A value of an internal type, in JSON on one line, as a message shows it.
pub(crate) fn shown(form: &str, value: &Value) -> String {
    Printer::on_one_line().print(form, value)
}

/// What differs between two values of an internal type; the old one comes from the store, where empty is unset.
pub(crate) fn difference(form: &str, old: &Value, new: &Value) -> String {
    let indented = |value: &Value| Printer::indented().print(form, value);
    diff::unified(&indented(&without_empty(old)), &indented(new))
}

/// Lists and maps that are empty are not stored.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().map(without_empty).collect(),
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| value.as_array().is_none_or(|items| !items.is_empty()));
            Value::Object(kept.map(|(name, value)| (name.clone(), without_empty(value))).collect())
        }
        other => other.clone(),
    }
}

/// What a line says about one field.
enum Member {
    /// The fields of another type, which stand here or below a field.
    Embedded { below: &'static str, type_name: &'static str },
    /// A field of its own.
    Field(Field),
}

struct Field {
    shown: &'static str,
    source: Source,
    form: &'static str,
    may_lack: bool,
}

/// Where the value of a field stands.
enum Source {
    Inside(String),
    Around(&'static str),
    Itself(&'static str),
}

/// The fields of a type; none for one that is not known.
fn members(type_name: &str) -> impl Iterator<Item = Member> {
    let line = TYPES.lines().find_map(|line| line.strip_prefix(type_name)?.strip_prefix(' '));
    line.into_iter().flat_map(|line| line.split(' ')).map(Member::parse)
}

impl Member {
    fn parse(token: &'static str) -> Self {
        if let Some((below, type_name)) = token.split_once('+') {
            return Self::Embedded { below, type_name };
        }
        let (name, form) = token.split_once(':').unwrap_or((token, "null"));
        let (name, may_lack) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        let (shown, source) = match name.split_once('=') {
            None => (name, Source::Inside(name[..1].to_lowercase() + &name[1..])),
            Some((shown, source)) => (shown, Source::parse(source)),
        };
        Self::Field(Field { shown, source, form, may_lack })
    }
}

impl Source {
    fn parse(text: &'static str) -> Self {
        match (text.strip_prefix('^'), text.strip_prefix('@')) {
            (Some(name), _) => Self::Around(name),
            (_, Some(sort)) => Self::Itself(sort),
            _ => Self::Inside(text.to_string()),
        }
    }

    fn find<'v>(&self, value: &'v Value, around: &'v Value) -> Option<&'v Value> {
        match self {
            Self::Inside(name) => value.get(name),
            Self::Around(name) => around.get(name),
            Self::Itself(sort) => Some(value).filter(|value| match *sort {
                "array" => value.is_array(),
                "object" => value.is_object(),
                _ => value.is_boolean(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
