//! From JSON to a message, byte for byte as the reference writes it: fields in order of number, values that are no
//! pointers always there, maps in order of key.

use serde_json::{Map, Value};

use super::wire::{put_bytes, put_double, put_integer, put_message};
use crate::go::duration;
use crate::schema::{Field, Kind, Type};
use crate::time;

/// Writes a struct.
pub(super) fn message(ty: Type<'_>, map: &Map<String, Value>) -> Vec<u8> {
    fields(ty, ty.by_number(), 0, map)
}

/// Writes some of a struct's fields, which share a path of so many embedded messages.
fn fields(ty: Type<'_>, mut rest: &[([u8; 3], u32)], length: usize, map: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    while let Some((path, place)) = rest.first() {
        let number = path[length];
        let is_field = path.get(length + 1).is_none_or(|next| *next == 0);
        let count = if is_field { 1 } else { rest.partition_point(|(other, _)| other[length] <= number) };
        if is_field {
            let field = ty.field_at(*place);
            put_field(&mut out, number, field, map.get(field.name()));
        } else {
            put_message(&mut out, number, &fields(ty, &rest[..count], length + 1, map));
        }
        rest = &rest[count..];
    }
    out
}

fn put_field(out: &mut Vec<u8>, number: u8, field: Field<'_>, value: Option<&Value>) {
    let ty = field.ty();
    let value = value.filter(|value| !value.is_null());
    match (ty.kind(), value) {
        (Kind::List, Some(Value::Array(items))) => {
            let elem = ty.elem().expect("a list has items");
            items.iter().for_each(|item| put_value(out, number, elem, Some(item)));
        }
        (Kind::Map, Some(Value::Object(map))) => {
            let elem = ty.elem().expect("a map has values");
            for (key, item) in map {
                let mut entry = Vec::with_capacity(key.len() + 32);
                put_bytes(&mut entry, 1, key.as_bytes());
                put_value(&mut entry, 2, elem, Some(item));
                put_message(out, number, &entry);
            }
        }
        (Kind::List | Kind::Map, _) => {}
        (_, None) if field.pointer() || ty.kind() == Kind::Bytes => {}
        (_, value) => put_value(out, number, ty, value),
    }
}

/// Writes a value, or the zero of its type.
fn put_value(out: &mut Vec<u8>, number: u8, ty: Type<'_>, value: Option<&Value>) {
    let text = || value.and_then(Value::as_str).unwrap_or("");
    match ty.kind() {
        Kind::String => put_bytes(out, number, text().as_bytes()),
        Kind::Bytes => put_bytes(out, number, &crate::go::base64::decode(text()).unwrap_or_default()),
        Kind::Boolean => put_integer(out, number, value.and_then(Value::as_bool).unwrap_or(false).into()),
        Kind::Int32 | Kind::Int64 => put_integer(out, number, value.and_then(Value::as_i64).unwrap_or(0)),
        Kind::Double => put_double(out, number, value.and_then(Value::as_f64).unwrap_or(0.0)),
        Kind::Struct => {
            let empty = Map::new();
            let map = value.and_then(Value::as_object).unwrap_or(&empty);
            put_message(out, number, &message(ty, map));
        }
        Kind::Quantity => {
            let mut inner = Vec::with_capacity(16);
            let text = text();
            put_bytes(&mut inner, 1, if text.is_empty() { b"0" } else { text.as_bytes() });
            put_message(out, number, &inner);
        }
        Kind::Time | Kind::MicroTime => put_message(out, number, &instant(ty, text())),
        Kind::Duration => {
            let mut inner = Vec::new();
            put_integer(&mut inner, 1, duration::parse(text()).unwrap_or_default());
            put_message(out, number, &inner);
        }
        Kind::IntOrString => put_message(out, number, &int_or_string(value)),
        Kind::Raw | Kind::Fields | Kind::Any => {
            let mut inner = Vec::new();
            if let Some(value) = value {
                put_bytes(&mut inner, 1, value.to_string().as_bytes());
            }
            put_message(out, number, &inner);
        }
        Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings => {
            put_message(out, number, &schema_or(ty, value));
        }
        Kind::List => {
            let elem = ty.elem().expect("a list has items");
            let mut inner = Vec::new();
            for item in value.and_then(Value::as_array).into_iter().flatten() {
                put_value(&mut inner, 1, elem, Some(item));
            }
            put_message(out, number, &inner);
        }
        Kind::Map => {}
    }
}

/// Seconds and nanoseconds; nothing for a time that is not set.
fn instant(ty: Type<'_>, text: &str) -> Vec<u8> {
    let mut inner = Vec::with_capacity(16);
    if let Ok(at) = time::parse(text) {
        put_integer(&mut inner, 1, at.as_second());
        let nanos = at.subsec_nanosecond();
        // Times are to the second and micro times to the microsecond, whatever was parsed.
        let nanos = if ty.kind() == Kind::Time { 0 } else { nanos / 1000 * 1000 };
        put_integer(&mut inner, 2, nanos.into());
    }
    inner
}

fn int_or_string(value: Option<&Value>) -> Vec<u8> {
    let (kind, number, text) = match value {
        Some(Value::String(text)) => (1, 0, text.as_str()),
        Some(number) => (0, number.as_i64().unwrap_or(0), ""),
        None => (0, 0, ""),
    };
    let mut inner = Vec::with_capacity(16);
    put_integer(&mut inner, 1, kind);
    put_integer(&mut inner, 2, number);
    put_bytes(&mut inner, 3, text.as_bytes());
    inner
}

fn schema_or(ty: Type<'_>, value: Option<&Value>) -> Vec<u8> {
    let mut inner = Vec::new();
    let is_bool = ty.kind() == Kind::SchemaOrBool;
    if is_bool {
        let allows = value.is_some_and(|value| value.as_bool().unwrap_or(value.is_object()));
        put_integer(&mut inner, 1, allows.into());
    }
    match value {
        Some(Value::Object(map)) => put_message(&mut inner, if is_bool { 2 } else { 1 }, &message(ty.inner(), map)),
        Some(Value::Array(items)) => {
            for item in items {
                match item {
                    Value::Object(map) => put_message(&mut inner, 2, &message(ty.inner(), map)),
                    other => put_bytes(&mut inner, 2, other.as_str().unwrap_or("").as_bytes()),
                }
            }
        }
        _ => {}
    }
    inner
}
