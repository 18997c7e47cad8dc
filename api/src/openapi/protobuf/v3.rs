//! The messages of version 3.

use serde_json::Value;

use super::{Message, Shape, extended, plain};

/// The bytes of a document.
pub(in crate::openapi) fn encode(document: &Value) -> Vec<u8> {
    super::encode(document, &DOCUMENT)
}

static DOCUMENT: Message = extended(
    9,
    &[
        ("openapi", 1, Shape::Text),
        ("info", 2, Shape::Message(&INFO)),
        ("paths", 4, Shape::Named(1, &PATH_ITEM)),
        ("components", 5, Shape::Message(&COMPONENTS)),
    ],
);

static INFO: Message =
    extended(7, &[("title", 1, Shape::Text), ("description", 2, Shape::Text), ("version", 6, Shape::Text)]);

static COMPONENTS: Message = extended(
    10,
    &[
        ("schemas", 1, Shape::Named(1, &SCHEMA_OR_REFERENCE)),
        ("securitySchemes", 7, Shape::Named(1, &SECURITY_SCHEME_OR_REFERENCE)),
    ],
);

static SECURITY_SCHEME_OR_REFERENCE: Message = Message::OrReference(&SECURITY_SCHEME);

static SECURITY_SCHEME: Message = extended(
    9,
    &[
        ("type", 1, Shape::Text),
        ("description", 2, Shape::Text),
        ("name", 3, Shape::Text),
        ("in", 4, Shape::Text),
        ("scheme", 5, Shape::Text),
        ("bearerFormat", 6, Shape::Text),
    ],
);

static PATH_ITEM: Message = extended(
    14,
    &[
        ("summary", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("get", 4, Shape::Message(&OPERATION)),
        ("put", 5, Shape::Message(&OPERATION)),
        ("post", 6, Shape::Message(&OPERATION)),
        ("delete", 7, Shape::Message(&OPERATION)),
        ("options", 8, Shape::Message(&OPERATION)),
        ("head", 9, Shape::Message(&OPERATION)),
        ("patch", 10, Shape::Message(&OPERATION)),
        ("parameters", 13, Shape::Messages(&PARAMETER_OR_REFERENCE)),
    ],
);

static OPERATION: Message = extended(
    13,
    &[
        ("tags", 1, Shape::Texts),
        ("summary", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("operationId", 5, Shape::Text),
        ("parameters", 6, Shape::Messages(&PARAMETER_OR_REFERENCE)),
        ("requestBody", 7, Shape::Message(&REQUEST_BODY_OR_REFERENCE)),
        ("responses", 8, Shape::Named(2, &RESPONSE_OR_REFERENCE)),
        ("deprecated", 10, Shape::Bool),
    ],
);

static PARAMETER_OR_REFERENCE: Message = Message::OrReference(&PARAMETER);

static PARAMETER: Message = extended(
    14,
    &[
        ("name", 1, Shape::Text),
        ("in", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("required", 4, Shape::Bool),
        ("schema", 10, Shape::Message(&SCHEMA_OR_REFERENCE)),
    ],
);

static REQUEST_BODY_OR_REFERENCE: Message = Message::OrReference(&REQUEST_BODY);

static REQUEST_BODY: Message = extended(
    4,
    &[("description", 1, Shape::Text), ("content", 2, Shape::Named(1, &MEDIA_TYPE)), ("required", 3, Shape::Bool)],
);

static RESPONSE_OR_REFERENCE: Message = Message::OrReference(&RESPONSE);

static RESPONSE: Message =
    extended(5, &[("description", 1, Shape::Text), ("content", 3, Shape::Named(1, &MEDIA_TYPE))]);

static MEDIA_TYPE: Message = extended(5, &[("schema", 1, Shape::Message(&SCHEMA_OR_REFERENCE))]);

static SCHEMA_OR_REFERENCE: Message = Message::OrReference(&SCHEMA);

static EXTERNAL_DOCUMENTS: Message = plain(&[("description", 1, Shape::Text), ("url", 2, Shape::Text)]);

static SCHEMA: Message = extended(
    36,
    &[
        ("nullable", 1, Shape::Bool),
        ("readOnly", 3, Shape::Bool),
        ("writeOnly", 4, Shape::Bool),
        ("externalDocs", 6, Shape::Message(&EXTERNAL_DOCUMENTS)),
        ("example", 7, Shape::Any),
        ("deprecated", 8, Shape::Bool),
        ("title", 9, Shape::Text),
        ("multipleOf", 10, Shape::Double),
        ("maximum", 11, Shape::Double),
        ("exclusiveMaximum", 12, Shape::Bool),
        ("minimum", 13, Shape::Double),
        ("exclusiveMinimum", 14, Shape::Bool),
        ("maxLength", 15, Shape::Integer),
        ("minLength", 16, Shape::Integer),
        ("pattern", 17, Shape::Text),
        ("maxItems", 18, Shape::Integer),
        ("minItems", 19, Shape::Integer),
        ("uniqueItems", 20, Shape::Bool),
        ("maxProperties", 21, Shape::Integer),
        ("minProperties", 22, Shape::Integer),
        ("required", 23, Shape::Texts),
        ("enum", 24, Shape::Anys),
        ("type", 25, Shape::Text),
        ("allOf", 26, Shape::Messages(&SCHEMA_OR_REFERENCE)),
        ("oneOf", 27, Shape::Messages(&SCHEMA_OR_REFERENCE)),
        ("anyOf", 28, Shape::Messages(&SCHEMA_OR_REFERENCE)),
        ("not", 29, Shape::Message(&SCHEMA)),
        ("items", 30, Shape::Items(&SCHEMA_OR_REFERENCE)),
        ("properties", 31, Shape::Named(1, &SCHEMA_OR_REFERENCE)),
        ("additionalProperties", 32, Shape::Additional(&SCHEMA_OR_REFERENCE)),
        ("default", 33, Shape::Scalar),
        ("description", 34, Shape::Text),
        ("format", 35, Shape::Text),
    ],
);
