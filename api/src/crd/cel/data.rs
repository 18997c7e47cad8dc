//! JSON values as CEL sees them through a schema.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use cel::Value;
use cel::objects::OptionalValue;

use super::super::node::{Additional, Node};
use super::wanted::Wanted;
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

/// What is wanted of a value, by its schema. Fields that the schema does not name are not there.
pub(super) fn convert(schema: &Node, value: &serde_json::Value, wanted: &Wanted) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => {
            let wants_double =
                schema.types.iter().any(|t| t == "number") && !schema.types.iter().any(|t| t == "string");
            match n.as_i64() {
                Some(i) if !wants_double => Value::Int(i),
                _ => Value::Float(n.as_f64().unwrap_or(0.0)),
            }
        }
        serde_json::Value::String(text) => of_text(schema, text),
        serde_json::Value::Array(items) => {
            let any = Node::default();
            let below = schema.items.as_deref().unwrap_or(&any);
            Value::List(Arc::new(items.iter().map(|item| convert(below, item, Wanted::ALL)).collect()))
        }
        serde_json::Value::Object(map) => {
            let mut fields: HashMap<String, Value> = HashMap::new();
            let mut add = |name: String, below: &Node, value: &serde_json::Value| {
                if let Some(wanted) = wanted.field(&name) {
                    fields.insert(name, convert(below, value, wanted));
                }
            };
            for (name, value) in map {
                match (schema.properties.get(name), &schema.additional) {
                    (Some(below), _) => {
                        let Some(escaped) = escape(name) else { continue };
                        // Keywords may stand after a dot as they are.
                        if RESERVED.contains(&name.as_str()) {
                            add(name.clone(), below, value);
                        }
                        add(escaped, below, value);
                    }
                    (None, Additional::Schema(below)) => add(name.clone(), below, value),
                    // Metadata and kind are seen even where the schema leaves them out.
                    (None, _) => {
                        if let Some(name) = escape(name) {
                            add(name, &Node::default(), value);
                        }
                    }
                }
            }
            Value::from(fields)
        }
    }
}

fn of_text(schema: &Node, text: &str) -> Value {
    let found = match schema.format.as_str() {
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

/// `oldSelf`: an optional value if the rule asks for one.
pub(super) fn old_self(old: Option<Value>, optional: bool) -> Value {
    match (old, optional) {
        (Some(old), false) => old,
        (Some(old), true) => Value::Opaque(Arc::new(OptionalValue::of(old))),
        (None, _) => Value::Opaque(Arc::new(OptionalValue::none())),
    }
}

/// A property's name as CEL can write it (`cel.Escape` in apiserver); none if it cannot.
pub(super) fn escape(name: &str) -> Option<String> {
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
