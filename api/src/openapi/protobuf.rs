//! The OpenAPI v2 document as protobuf, in the messages of gnostic's `OpenAPIv2.proto`, which client libraries ask for.

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
    /// A message with a name and a message each, inside a message that has nothing else.
    Named(&'static Message),
    /// Any value, as YAML.
    Any,
    /// Any values.
    Anys,
    /// What one schema or several are inside of.
    Items,
    /// A schema or a boolean.
    Additional,
    /// One type or several.
    Types,
    /// Parameters, of which there are several messages.
    Parameters,
    /// Names with scopes.
    Security,
    /// A message in field 1 of another.
    Inside(&'static Message),
    /// A message in field 2 of another.
    InsideSecond(&'static Message),
}

/// The fields of a message by their names in JSON, and the number under which extensions go.
struct Message {
    fields: &'static [(&'static str, u8, Shape)],
    extensions: u8,
}

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Shape::Text),
        ("info", 2, Shape::Message(&INFO)),
        ("host", 3, Shape::Text),
        ("basePath", 4, Shape::Text),
        ("schemes", 5, Shape::Texts),
        ("consumes", 6, Shape::Texts),
        ("produces", 7, Shape::Texts),
        ("definitions", 9, Shape::Named(&SCHEMA)),
        ("security", 12, Shape::Security),
        ("securityDefinitions", 13, Shape::Named(&SECURITY_DEFINITION)),
    ],
    extensions: 16,
};

static INFO: Message = Message {
    fields: &[("title", 1, Shape::Text), ("version", 2, Shape::Text), ("description", 3, Shape::Text)],
    extensions: 7,
};

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Shape::Message(&OPERATION)),
        ("put", 3, Shape::Message(&OPERATION)),
        ("post", 4, Shape::Message(&OPERATION)),
        ("delete", 5, Shape::Message(&OPERATION)),
        ("options", 6, Shape::Message(&OPERATION)),
        ("head", 7, Shape::Message(&OPERATION)),
        ("patch", 8, Shape::Message(&OPERATION)),
        ("parameters", 9, Shape::Parameters),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Shape::Texts),
        ("summary", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("operationId", 5, Shape::Text),
        ("produces", 6, Shape::Texts),
        ("consumes", 7, Shape::Texts),
        ("parameters", 8, Shape::Parameters),
        ("schemes", 10, Shape::Texts),
        ("deprecated", 11, Shape::Bool),
    ],
    extensions: 13,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Shape::Text),
        ("name", 2, Shape::Text),
        ("in", 3, Shape::Text),
        ("required", 4, Shape::Bool),
        ("schema", 5, Shape::Message(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Shape::Bool),
        ("in", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("name", 4, Shape::Text),
        ("type", 6, Shape::Text),
        ("format", 7, Shape::Text),
        ("default", 10, Shape::Any),
        ("uniqueItems", 20, Shape::Bool),
    ],
    extensions: 23,
};

/// Of the path and of headers.
static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Shape::Bool),
        ("in", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("name", 4, Shape::Text),
        ("type", 5, Shape::Text),
        ("format", 6, Shape::Text),
        ("default", 9, Shape::Any),
        ("uniqueItems", 19, Shape::Bool),
    ],
    extensions: 22,
};

static RESPONSE: Message =
    Message { fields: &[("description", 1, Shape::Text), ("schema", 2, Shape::Inside(&SCHEMA))], extensions: 5 };

static RESPONSE_VALUE: Message = Message { fields: &[("", 1, Shape::Message(&RESPONSE))], extensions: 0 };

static API_KEY: Message = Message {
    fields: &[
        ("type", 1, Shape::Text),
        ("name", 2, Shape::Text),
        ("in", 3, Shape::Text),
        ("description", 4, Shape::Text),
    ],
    extensions: 5,
};

static SECURITY_DEFINITION: Message = Message { fields: &[("", 2, Shape::InsideSecond(&API_KEY))], extensions: 0 };

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Shape::Text),
        ("format", 2, Shape::Text),
        ("title", 3, Shape::Text),
        ("description", 4, Shape::Text),
        ("default", 5, Shape::Any),
        ("multipleOf", 6, Shape::Double),
        ("maximum", 7, Shape::Double),
        ("exclusiveMaximum", 8, Shape::Bool),
        ("minimum", 9, Shape::Double),
        ("exclusiveMinimum", 10, Shape::Bool),
        ("maxLength", 11, Shape::Integer),
        ("minLength", 12, Shape::Integer),
        ("pattern", 13, Shape::Text),
        ("maxItems", 14, Shape::Integer),
        ("minItems", 15, Shape::Integer),
        ("uniqueItems", 16, Shape::Bool),
        ("maxProperties", 17, Shape::Integer),
        ("minProperties", 18, Shape::Integer),
        ("required", 19, Shape::Texts),
        ("enum", 20, Shape::Anys),
        ("additionalProperties", 21, Shape::Additional),
        ("type", 22, Shape::Types),
        ("items", 23, Shape::Items),
        ("allOf", 24, Shape::Messages(&SCHEMA)),
        ("properties", 25, Shape::Named(&SCHEMA)),
        ("discriminator", 26, Shape::Text),
        ("readOnly", 27, Shape::Bool),
        ("example", 30, Shape::Any),
    ],
    extensions: 31,
};

/// The bytes of a document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let empty = Map::new();
    let root = document.as_object().unwrap_or(&empty);
    let mut out = message(root, &DOCUMENT);
    let paths = root.get("paths").and_then(Value::as_object).unwrap_or(&empty);
    let mut all = Vec::new();
    for (path, item) in paths {
        put_bytes(&mut all, 2, &named(path, &path_item(item)));
    }
    put_bytes(&mut out, 8, &all);
    out
}

/// A path item, whose operations have responses, named by their codes.
fn path_item(item: &Value) -> Vec<u8> {
    let empty = Map::new();
    message(item.as_object().unwrap_or(&empty), &PATH_ITEM)
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 16);
    put_bytes(&mut out, 1, name.as_bytes());
    put_bytes(&mut out, 2, value);
    out
}

fn message(map: &Map<String, Value>, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, number, shape) in message.fields {
        if name.is_empty() {
            // A message that only wraps another.
            field(&mut out, *number, *shape, &Value::Object(map.clone()));
        } else if let Some(value) = map.get(*name) {
            field(&mut out, *number, *shape, value);
        }
    }
    if std::ptr::eq(message, &raw const OPERATION) {
        responses(&mut out, map);
    }
    for (name, value) in map.iter().filter(|(name, _)| message.extensions > 0 && name.starts_with("x-")) {
        put_bytes(&mut out, message.extensions, &named(name, &any(value)));
    }
    out
}

fn responses(out: &mut Vec<u8>, operation: &Map<String, Value>) {
    const RESPONSES: u8 = 9;
    let Some(Value::Object(codes)) = operation.get("responses") else { return };
    let mut all = Vec::new();
    for (code, response) in codes {
        if let Value::Object(response) = response {
            put_bytes(&mut all, 1, &named(code, &message(response, &RESPONSE_VALUE)));
        }
    }
    put_bytes(out, RESPONSES, &all);
}

fn field(out: &mut Vec<u8>, number: u8, shape: Shape, value: &Value) {
    let of =
        |inner: &'static Message, value: &Value| value.as_object().map(|map| message(map, inner)).unwrap_or_default();
    match shape {
        Shape::Text => put_bytes(out, number, value.as_str().unwrap_or("").as_bytes()),
        Shape::Bool => integer(out, number, u64::from(value.as_bool().unwrap_or(false))),
        Shape::Integer => integer(out, number, value.as_u64().unwrap_or(0)),
        Shape::Double => put_double(out, number, value.as_f64().unwrap_or(0.0)),
        Shape::Texts => {
            for text in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
                put_bytes(out, number, text.as_bytes());
            }
        }
        Shape::Message(inner) => put_bytes(out, number, &of(inner, value)),
        Shape::Messages(inner) => {
            value.as_array().into_iter().flatten().for_each(|item| put_bytes(out, number, &of(inner, item)));
        }
        Shape::Named(inner) => {
            let mut all = Vec::new();
            for (name, item) in value.as_object().into_iter().flatten() {
                put_bytes(&mut all, 1, &named(name, &of(inner, item)));
            }
            put_bytes(out, number, &all);
        }
        Shape::Any => put_bytes(out, number, &any(value)),
        Shape::Anys => value.as_array().into_iter().flatten().for_each(|item| put_bytes(out, number, &any(item))),
        Shape::Items => {
            let mut all = Vec::new();
            let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            items.iter().for_each(|item| put_bytes(&mut all, 1, &of(&SCHEMA, item)));
            put_bytes(out, number, &all);
        }
        Shape::Additional => {
            let mut inner = Vec::new();
            match value {
                Value::Bool(yes) => integer(&mut inner, 2, u64::from(*yes)),
                schema => put_bytes(&mut inner, 1, &of(&SCHEMA, schema)),
            }
            put_bytes(out, number, &inner);
        }
        Shape::Types => {
            let mut all = Vec::new();
            let types = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            types.iter().filter_map(Value::as_str).for_each(|name| put_bytes(&mut all, 1, name.as_bytes()));
            put_bytes(out, number, &all);
        }
        Shape::Parameters => {
            value.as_array().into_iter().flatten().for_each(|item| put_bytes(out, number, &parameter(item)));
        }
        Shape::Security => {
            value.as_array().into_iter().flatten().for_each(|item| put_bytes(out, number, &requirement(item)));
        }
        Shape::Inside(inner) => {
            let mut wrapped = Vec::new();
            put_bytes(&mut wrapped, 1, &of(inner, value));
            put_bytes(out, number, &wrapped);
        }
        Shape::InsideSecond(inner) => put_bytes(out, number, &of(inner, value)),
    }
}

fn integer(out: &mut Vec<u8>, number: u8, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Any value: its JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    const YAML: u8 = 2;
    let mut out = Vec::new();
    put_bytes(&mut out, YAML, format!("{value}\n").as_bytes());
    out
}

/// A parameter inside the messages that tell its sort.
fn parameter(value: &Value) -> Vec<u8> {
    const QUERY: u8 = 3;
    let empty = Map::new();
    let map = value.as_object().unwrap_or(&empty);
    let mut sort = Vec::new();
    let place = map.get("in").and_then(Value::as_str).unwrap_or("");
    if place == "body" {
        put_bytes(&mut sort, 1, &message(map, &BODY_PARAMETER));
    } else {
        let mut inner = Vec::new();
        match place {
            "query" => put_bytes(&mut inner, QUERY, &message(map, &QUERY_PARAMETER)),
            "header" => put_bytes(&mut inner, 1, &message(map, &PATH_PARAMETER)),
            _ => put_bytes(&mut inner, 4, &message(map, &PATH_PARAMETER)),
        }
        put_bytes(&mut sort, 2, &inner);
    }
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &sort);
    out
}

fn requirement(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, scopes) in value.as_object().into_iter().flatten() {
        let mut list = Vec::new();
        for scope in scopes.as_array().into_iter().flatten().filter_map(Value::as_str) {
            put_bytes(&mut list, 1, scope.as_bytes());
        }
        put_bytes(&mut out, 1, &named(name, &list));
    }
    out
}
