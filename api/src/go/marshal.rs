//! What `json.Marshal` makes of a typed value.

use serde_json::{Map, Value};

use super::json::in_html;
use super::layout::{self, Field, Kind, Type};

/// Whole numbers up to here are the same as a `float64`.
const EXACT_MAX: u64 = 1 << 53;

/// The value of a field of type `of`, whether it is set or not.
pub(super) fn of(of: &Type, value: Option<&Value>) -> Value {
    let value = value.filter(|value| !value.is_null());
    match (of, value) {
        (Type::Pointer(of), Some(value)) => self::of(of, Some(value)),
        (Type::List(of), Some(Value::Array(items))) if !items.is_empty() => {
            items.iter().map(|item| self::of(of, Some(item))).collect()
        }
        (Type::Map { values, .. }, Some(Value::Object(map))) if !map.is_empty() => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), self::of(values, Some(value)))).collect())
        }
        (Type::Pointer(_) | Type::List(_) | Type::Map { .. }, _) => Value::Null,
        (Type::Scalar { kind: Kind::Whole, .. }, value) => through_float(value),
        (Type::Scalar { kind: Kind::Text, .. }, value) => value.cloned().unwrap_or_else(|| "".into()),
        (Type::Scalar { kind: Kind::Bool, .. }, value) => value.cloned().unwrap_or(Value::Bool(false)),
        (Type::Struct(name), value) => of_struct(name, value),
    }
}

fn of_struct(name: &str, value: Option<&Value>) -> Value {
    match name {
        "resource.Quantity" => value.cloned().unwrap_or_else(|| "0".into()),
        "intstr.IntOrString" => match value {
            Some(Value::String(text)) => text.as_str().into(),
            value => through_float(value),
        },
        "v1.Time" | "v1.FieldsV1" => value.cloned().unwrap_or(Value::Null),
        _ => {
            let mut map = Map::new();
            for field in layout::fields(name).unwrap_or_default() {
                add_field(&mut map, field, value);
            }
            Value::Object(map)
        }
    }
}

fn add_field(to: &mut Map<String, Value>, field: &Field, around: Option<&Value>) {
    if field.json.is_empty() {
        if let Value::Object(inner) = of(&field.of, around) {
            to.extend(inner);
        }
        return;
    }
    let written = of(&field.of, around.and_then(|value| value.get(field.json)));
    if !(field.omits_empty && is_empty(&field.of, &written)) {
        to.insert(field.json.into(), written);
    }
}

/// What `omitempty` leaves out, and `omitzero` of a time; a pointer only if it is nil, a struct never.
fn is_empty(of: &Type, written: &Value) -> bool {
    match (of, written) {
        (_, Value::Null) => true,
        (Type::Scalar { .. }, Value::String(text)) => text.is_empty(),
        (Type::Scalar { .. }, Value::Bool(set)) => !set,
        (Type::Scalar { .. }, Value::Number(number)) => number.as_i64() == Some(0),
        _ => false,
    }
}

/// A whole number after it was a `float64`: as few digits as tell it from its neighbours, then zeros.
fn through_float(value: Option<&Value>) -> Value {
    match value.and_then(Value::as_i64) {
        Some(whole) if whole.unsigned_abs() > EXACT_MAX => {
            let text = (whole as f64).to_string();
            let small = text.parse::<i64>().map(Value::from);
            small.or_else(|_| text.parse::<u64>().map(Value::from)).unwrap_or_else(|_| whole.into())
        }
        whole => whole.unwrap_or(0).into(),
    }
}

/// JSON with the names of every object in order and Go's escapes.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

fn write(to: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            to.push('[');
            for (i, item) in items.iter().enumerate() {
                to.push_str(if i == 0 { "" } else { "," });
                write(to, item);
            }
            to.push(']');
        }
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            to.push('{');
            for (i, (name, value)) in members.into_iter().enumerate() {
                to.push_str(if i == 0 { "" } else { "," });
                escaped(to, name);
                to.push(':');
                write(to, value);
            }
            to.push('}');
        }
        Value::String(text) => escaped(to, text),
        other => to.push_str(&other.to_string()),
    }
}

fn escaped(to: &mut String, text: &str) {
    to.push_str(&in_html(Value::from(text).to_string()));
}
