//! The messages of version 2.

use serde_json::{Map, Value};

use super::{Message, Shape, extended, message, named};
use crate::protobuf::put_bytes;

/// The bytes of a document.
pub(in crate::openapi) fn encode(document: &Value) -> Vec<u8> {
    super::encode(document, &DOCUMENT)
}

static DOCUMENT: Message = extended(
    16,
    &[
        ("swagger", 1, Shape::Text),
        ("info", 2, Shape::Message(&INFO)),
        ("host", 3, Shape::Text),
        ("basePath", 4, Shape::Text),
        ("schemes", 5, Shape::Texts),
        ("consumes", 6, Shape::Texts),
        ("produces", 7, Shape::Texts),
        ("paths", 8, Shape::Named(2, &PATH_ITEM)),
        ("definitions", 9, Shape::Named(1, &SCHEMA)),
        ("parameters", 10, Shape::Named(1, &SHARED_PARAMETER)),
        ("security", 12, Shape::Messages(&REQUIREMENT)),
        ("securityDefinitions", 13, Shape::Named(1, &SECURITY_DEFINITION)),
    ],
);

static INFO: Message =
    extended(7, &[("title", 1, Shape::Text), ("version", 2, Shape::Text), ("description", 3, Shape::Text)]);

static PATH_ITEM: Message = extended(
    10,
    &[
        ("get", 2, Shape::Message(&OPERATION)),
        ("put", 3, Shape::Message(&OPERATION)),
        ("post", 4, Shape::Message(&OPERATION)),
        ("delete", 5, Shape::Message(&OPERATION)),
        ("options", 6, Shape::Message(&OPERATION)),
        ("head", 7, Shape::Message(&OPERATION)),
        ("patch", 8, Shape::Message(&OPERATION)),
        ("parameters", 9, Shape::Messages(&PARAMETER)),
    ],
);

static OPERATION: Message = extended(
    13,
    &[
        ("tags", 1, Shape::Texts),
        ("summary", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("operationId", 5, Shape::Text),
        ("produces", 6, Shape::Texts),
        ("consumes", 7, Shape::Texts),
        ("parameters", 8, Shape::Messages(&PARAMETER)),
        ("responses", 9, Shape::Named(1, &RESPONSE_VALUE)),
        ("schemes", 10, Shape::Texts),
        ("deprecated", 11, Shape::Bool),
    ],
);

static BODY_PARAMETER: Message = extended(
    6,
    &[
        ("description", 1, Shape::Text),
        ("name", 2, Shape::Text),
        ("in", 3, Shape::Text),
        ("required", 4, Shape::Bool),
        ("schema", 5, Shape::Message(&SCHEMA)),
    ],
);

static QUERY_PARAMETER: Message = extended(
    23,
    &[
        ("required", 1, Shape::Bool),
        ("in", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("name", 4, Shape::Text),
        ("type", 6, Shape::Text),
        ("format", 7, Shape::Text),
        ("default", 10, Shape::Any),
        ("uniqueItems", 20, Shape::Bool),
    ],
);

/// Of the path and of headers.
static PATH_PARAMETER: Message = extended(
    22,
    &[
        ("required", 1, Shape::Bool),
        ("in", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("name", 4, Shape::Text),
        ("type", 5, Shape::Text),
        ("format", 6, Shape::Text),
        ("default", 9, Shape::Any),
        ("uniqueItems", 19, Shape::Bool),
    ],
);

static RESPONSE: Message = extended(5, &[("description", 1, Shape::Text), ("schema", 2, Shape::Message(&SCHEMA_ITEM))]);

static RESPONSE_VALUE: Message = Message::Inside(1, &RESPONSE);

static SCHEMA_ITEM: Message = Message::Inside(1, &SCHEMA);

static API_KEY: Message = extended(
    5,
    &[("type", 1, Shape::Text), ("name", 2, Shape::Text), ("in", 3, Shape::Text), ("description", 4, Shape::Text)],
);

static SECURITY_DEFINITION: Message = Message::Inside(2, &API_KEY);

static SCHEMA: Message = extended(
    31,
    &[
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
        ("additionalProperties", 21, Shape::Additional(&SCHEMA)),
        ("type", 22, Shape::Types),
        ("items", 23, Shape::Items(&SCHEMA)),
        ("allOf", 24, Shape::Messages(&SCHEMA)),
        ("properties", 25, Shape::Named(1, &SCHEMA)),
        ("discriminator", 26, Shape::Text),
        ("readOnly", 27, Shape::Bool),
        ("example", 30, Shape::Any),
    ],
);

/// A parameter inside the messages that tell its sort, or a reference to one.
static PARAMETER: Message = Message::Special(|map| {
    let mut out = Vec::new();
    match map.get("$ref").and_then(Value::as_str) {
        Some(link) => {
            let mut reference = Vec::new();
            put_bytes(&mut reference, 1, link.as_bytes());
            put_bytes(&mut out, 2, &reference);
        }
        None => put_bytes(&mut out, 1, &sorted(map)),
    }
    out
});

static SHARED_PARAMETER: Message = Message::Special(sorted);

fn sorted(map: &Map<String, Value>) -> Vec<u8> {
    const QUERY: u8 = 3;
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
    sort
}

static REQUIREMENT: Message = Message::Special(requirement);

fn requirement(map: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, scopes) in map {
        let mut list = Vec::new();
        for scope in scopes.as_array().into_iter().flatten().filter_map(Value::as_str) {
            put_bytes(&mut list, 1, scope.as_bytes());
        }
        put_bytes(&mut out, 1, &named(name, &list));
    }
    out
}
