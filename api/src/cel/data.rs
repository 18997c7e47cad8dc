//! JSON values as CEL sees them, through a schema or without one.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use cel::Value;
use cel::objects::OptionalValue;

use super::reads::Reads;
use crate::go::duration;

/// Words that are no field names in CEL.
pub(super) const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether a text can name a variable (`celReserved` and `celIdentRegex` of `pkg/apis/admissionregistration/validation`).
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !RESERVED.contains(&text)
}

/// A schema, as far as values are converted by it: who has schemas of another kind implements this for them.
pub(crate) trait Schema {
    /// Whether numbers are floating-point ones, even where they are whole.
    fn is_double(&self) -> bool;

    /// The format of texts (`date-time`, `duration`, `byte`); empty for none.
    fn format(&self) -> &str;

    /// The schema of the items of a list.
    fn items(&self) -> Option<&Self>;

    /// The schema of a field, or of the values of a map.
    fn field(&self, name: &str) -> Field<'_, Self>;
}

/// What a schema says of a field.
pub(crate) enum Field<'a, S: ?Sized> {
    /// It is a field of a struct, whose name is escaped.
    Named(&'a S),
    /// It is a key of a map, which is not escaped.
    Key(&'a S),
    /// Nothing: it is there all the same, as metadata and kind are that schemas leave out.
    Unknown,
}

/// What expressions read of a value, by its schema; without one, values are what JSON makes of them.
pub(crate) fn convert<S: Schema>(schema: Option<&S>, value: &serde_json::Value, reads: &Reads) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(i) if !schema.is_some_and(S::is_double) => Value::Int(i),
            _ => Value::Float(n.as_f64().unwrap_or(0.0)),
        },
        serde_json::Value::String(text) => of_text(schema.map_or("", S::format), text),
        serde_json::Value::Array(items) => {
            let below = schema.and_then(S::items);
            Value::List(Arc::new(items.iter().map(|item| convert(below, item, Reads::ALL)).collect()))
        }
        serde_json::Value::Object(map) => {
            let mut fields: HashMap<String, Value> = HashMap::new();
            let mut add = |name: String, below: Option<&S>, value: &serde_json::Value| {
                if let Some(reads) = reads.field(&name) {
                    fields.insert(name, convert(below, value, reads));
                }
            };
            for (name, value) in map {
                match schema.map_or(Field::Unknown, |schema| schema.field(name)) {
                    Field::Named(below) => {
                        let Some(escaped) = escape(name) else { continue };
                        // Keywords may stand after a dot as they are.
                        if RESERVED.contains(&name.as_str()) {
                            add(name.clone(), Some(below), value);
                        }
                        add(escaped, Some(below), value);
                    }
                    Field::Key(below) => add(name.clone(), Some(below), value),
                    Field::Unknown => {
                        if let Some(name) = escape(name) {
                            add(name, None, value);
                        }
                    }
                }
            }
            Value::from(fields)
        }
    }
}

fn of_text(format: &str, text: &str) -> Value {
    let found = match format {
        "date-time" => chrono_time(text).map(Value::Timestamp),
        "duration" => duration::parse(text).ok().map(|n| Value::Duration(chrono_duration(n))),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).ok().map(Value::from),
        _ => None,
    };
    found.unwrap_or_else(|| Value::from(text))
}

type Timestamp = chrono::DateTime<chrono::FixedOffset>;

fn chrono_time(text: &str) -> Option<Timestamp> {
    chrono::DateTime::parse_from_rfc3339(text).ok()
}

fn chrono_duration(nanoseconds: i64) -> chrono::Duration {
    chrono::Duration::nanoseconds(nanoseconds)
}

/// An optional value (`optional.of`, `optional.none`).
pub(crate) fn optional(value: Option<Value>) -> Value {
    Value::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}

/// A property's name as CEL can write it (`cel.Escape` in apiserver); none if it cannot.
pub(crate) fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-/".contains(&b);
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() || !name.bytes().all(plain) {
        return None;
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return Some(name.to_string());
    }
    let escaped = name.replace("__", "__underscores__");
    Some(escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}
