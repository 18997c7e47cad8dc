//! Bodies: decoding never panics, and what it makes comes back through every encoding.

use api::decode::{FieldValidation, Format, Target, decode, decode_untyped, decode_value, forget_empty_lists};
use api::object::NESTING_MAX;
use api::{Object, protobuf as wire};
use serde_json::Value;

use crate::kinds;

/// JSON bodies of a kind.
pub fn json(data: &[u8]) {
    untyped(data, Format::Json);
    let Some((target, body)) = kinds::split(data) else { return };
    typed(body, Format::Json, &target);
}

/// YAML bodies of a kind.
pub fn yaml(data: &[u8]) {
    untyped(data, Format::Yaml);
    let Some((target, body)) = kinds::split(data) else { return };
    typed(body, Format::Yaml, &target);
}

/// Protobuf messages of a kind, in an envelope.
pub fn protobuf(data: &[u8]) {
    let Some((target, raw)) = kinds::split(data) else { return };
    let _ = decode(raw, Format::Protobuf, &target, FieldValidation::Warn);
    let empty = Object::from_value(serde_json::json!({"apiVersion": target.api_version(), "kind": target.kind}));
    let mut body = wire::encode(&empty.expect("an object"), &target.schema);
    // A second `raw` field replaces the first.
    body.push(2 << 3 | 2);
    let mut length = raw.len();
    while length >= 0x80 {
        body.push((length as u8) | 0x80);
        length >>= 7;
    }
    body.push(length as u8);
    body.extend(raw);
    typed(&body, Format::Protobuf, &target);
}

fn untyped(body: &[u8], format: Format) {
    let Ok(value) = decode_untyped(body, format) else { return };
    assert!(nesting(&value) <= NESTING_MAX);
    let text = value.to_string();
    let again = decode_untyped(text.as_bytes(), Format::Json).expect("what was printed can be read");
    assert_eq!(again, value, "JSON");
    // JSON is YAML; the marker keeps the body from the JSON parser.
    if !text.contains(['\u{7f}', '\u{85}', '\u{feff}', '\u{fffe}', '\u{ffff}']) && !text.contains(is_control) {
        match decode_untyped(format!("--- {text}").as_bytes(), Format::Yaml) {
            // A float without a fraction is a whole number there.
            Ok(again) => assert!(is_near(&again, &value), "YAML of {text}"),
            // Its keys may be no longer than this.
            Err(error) => assert!(text.len() > 1000, "{error}: {text}"),
        }
    }
}

/// What YAML does not have in its text.
fn is_control(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}')
}

fn typed(body: &[u8], format: Format, target: &Target) {
    let _ = decode(body, format, target, FieldValidation::Strict);
    let Ok(decoded) = decode(body, format, target, FieldValidation::Warn) else { return };
    let object = decoded.object;
    let value = object.clone().into_value();
    assert!(nesting(&value) <= NESTING_MAX);
    let text = value.to_string();
    let again = decode(text.as_bytes(), Format::Json, target, FieldValidation::Strict).expect("its own output");
    assert_eq!(again.object, object, "decoding twice");
    let again = decode_value(value, target, FieldValidation::Strict).expect("its own output").object;
    assert_eq!(again, object, "decoding its value");
    let stored = object.encode();
    let mut read = Object::parse(&stored).expect("a stored object parses");
    let mut expected = object.clone();
    expected.remove(&["metadata", "resourceVersion"]);
    // Storing makes `metadata` where there is none.
    expected.metadata_mut();
    read.metadata_mut();
    assert!(is_near(&read.into_value(), &expected.into_value()), "storing");
    let bytes = wire::encode(&object, &target.schema);
    let back = decode(&bytes, Format::Protobuf, target, FieldValidation::Strict).expect("its own protobuf").object;
    // Protobuf has no empty lists.
    let mut printed = object;
    let encoded = printed.encode();
    forget_empty_lists(&target.schema, &mut printed, &encoded);
    assert_eq!(back, printed, "protobuf");
}

/// Equal but for the last digits of numbers, which the parser of stored objects may get wrong.
fn is_near(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap_or(0.0), right.as_f64().unwrap_or(0.0));
            (left - right).abs() <= left.abs() * 1e-12
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_near(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len() && left.iter().all(|(key, left)| right.get(key).is_some_and(|r| is_near(left, r)))
        }
        (left, right) => left == right,
    }
}

fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}
