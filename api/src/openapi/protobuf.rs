//! OpenAPI documents as protobuf, in the messages of gnostic's `OpenAPIv2.proto` and `OpenAPIv3.proto`, which client
//! libraries ask for.

pub(super) mod v2;
pub(super) mod v3;

use serde_json::{Map, Value};

use crate::protobuf::{put_bytes, put_double, put_varint};

/// What a field of a JSON object becomes.
#[derive(Clone, Copy)]
enum Shape {
    /// A string.
    Text,
    /// A boolean.
    Bool,
    /// A whole number.
    Integer,
    /// A floating point number.
    Double,
    /// A string each.
    Texts,
    /// A message.
    Message(&'static Message),
    /// A message each.
    Messages(&'static Message),
    /// A message with a name and a message each, inside a message that has them in a field of this number.
    Named(u8, &'static Message),
    /// Any value, as YAML.
    Any,
    /// Any values.
    Anys,
    /// What one schema or several are inside of.
    Items(&'static Message),
    /// A schema or a boolean.
    Additional(&'static Message),
    /// One type or several.
    Types,
    /// A number, a boolean or a text; other values are told to be there and no more.
    Scalar,
}

/// What a JSON object becomes.
enum Message {
    /// The fields by their names in JSON, and the number under which extensions go.
    Plain { fields: &'static [(&'static str, u8, Shape)], extensions: u8 },
    /// A message inside a field of another that has nothing else.
    Inside(u8, &'static Message),
    /// A message in field 1 of another, or where `$ref` says so a reference in field 2.
    OrReference(&'static Message),
    /// What has a function of its own.
    Special(fn(&Map<String, Value>) -> Vec<u8>),
}

/// The fields of a message that has no extensions.
const fn plain(fields: &'static [(&'static str, u8, Shape)]) -> Message {
    Message::Plain { fields, extensions: 0 }
}

/// The fields of a message, and the number under which its extensions go.
const fn extended(extensions: u8, fields: &'static [(&'static str, u8, Shape)]) -> Message {
    Message::Plain { fields, extensions }
}

static REFERENCE: Message =
    plain(&[("$ref", 1, Shape::Text), ("summary", 2, Shape::Text), ("description", 3, Shape::Text)]);

fn encode(document: &Value, root: &Message) -> Vec<u8> {
    document.as_object().map(|map| message(map, root)).unwrap_or_default()
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 16);
    put_bytes(&mut out, 1, name.as_bytes());
    put_bytes(&mut out, 2, value);
    out
}

fn message(map: &Map<String, Value>, message_type: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    match message_type {
        Message::Plain { fields, extensions } => {
            for (name, number, shape) in *fields {
                if let Some(value) = map.get(*name) {
                    field(&mut out, *number, *shape, value);
                }
            }
            for (name, value) in map.iter().filter(|(name, _)| *extensions > 0 && name.starts_with("x-")) {
                put_bytes(&mut out, *extensions, &named(name, &any(value)));
            }
        }
        Message::Inside(number, inner) => put_bytes(&mut out, *number, &message(map, inner)),
        Message::OrReference(inner) => match map.contains_key("$ref") {
            true => put_bytes(&mut out, 2, &message(map, &REFERENCE)),
            false => put_bytes(&mut out, 1, &message(map, inner)),
        },
        Message::Special(make) => return make(map),
    }
    out
}

fn field(out: &mut Vec<u8>, number: u8, shape: Shape, value: &Value) {
    let of =
        |inner: &'static Message, value: &Value| value.as_object().map(|map| message(map, inner)).unwrap_or_default();
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let one_or_more = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    match shape {
        Shape::Text => put_bytes(out, number, value.as_str().unwrap_or("").as_bytes()),
        Shape::Bool => integer(out, number, u64::from(value.as_bool().unwrap_or(false))),
        Shape::Integer => integer(out, number, value.as_u64().unwrap_or(0)),
        Shape::Double => put_double(out, number, value.as_f64().unwrap_or(0.0)),
        Shape::Texts => {
            items.iter().filter_map(Value::as_str).for_each(|text| put_bytes(out, number, text.as_bytes()));
        }
        Shape::Message(inner) => put_bytes(out, number, &of(inner, value)),
        Shape::Messages(inner) => items.iter().for_each(|item| put_bytes(out, number, &of(inner, item))),
        Shape::Named(inside, inner) => {
            let mut all = Vec::new();
            for (name, item) in value.as_object().into_iter().flatten() {
                put_bytes(&mut all, inside, &named(name, &of(inner, item)));
            }
            put_bytes(out, number, &all);
        }
        Shape::Any => put_bytes(out, number, &any(value)),
        Shape::Anys => items.iter().for_each(|item| put_bytes(out, number, &any(item))),
        Shape::Items(inner) => {
            let mut all = Vec::new();
            one_or_more.iter().for_each(|item| put_bytes(&mut all, 1, &of(inner, item)));
            put_bytes(out, number, &all);
        }
        Shape::Additional(inner) => {
            let mut wrapped = Vec::new();
            match value {
                Value::Bool(yes) => integer(&mut wrapped, 2, u64::from(*yes)),
                schema => put_bytes(&mut wrapped, 1, &of(inner, schema)),
            }
            put_bytes(out, number, &wrapped);
        }
        Shape::Types => {
            let mut all = Vec::new();
            one_or_more.iter().filter_map(Value::as_str).for_each(|name| put_bytes(&mut all, 1, name.as_bytes()));
            put_bytes(out, number, &all);
        }
        Shape::Scalar => put_bytes(out, number, &scalar(value)),
    }
}

fn integer(out: &mut Vec<u8>, number: u8, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

fn scalar(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Number(number) => put_double(&mut out, 1, number.as_f64().unwrap_or(0.0)),
        Value::Bool(yes) => integer(&mut out, 2, u64::from(*yes)),
        Value::String(text) => put_bytes(&mut out, 3, text.as_bytes()),
        Value::Null | Value::Array(_) | Value::Object(_) => {}
    }
    out
}

/// Any value: its JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    const YAML: u8 = 2;
    let mut out = Vec::new();
    put_bytes(&mut out, YAML, format!("{value}\n").as_bytes());
    out
}
