//! How CEL sees the schema of a custom resource: its types, and how large its values can be (`SchemaDeclType` in apiserver).

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::cel::{Declared, REQUEST_BYTES_MAX, Type, escape};
use crate::crd::definition::{given, items, text};

/// The declaration of a schema under a name; none if CEL cannot see it. `root` schemas have kind and metadata.
pub(in crate::crd) fn declare(schema: &Value, name: &str, root: bool) -> Option<Declared> {
    let most = |default: i64, factor: i64| {
        schema.get("maxLength").and_then(Value::as_i64).map_or(default, |max| max.max(0).saturating_mul(factor))
    };
    let yes = |key: &str| schema.get(key).and_then(Value::as_bool) == Some(true);
    if yes("x-kubernetes-int-or-string") {
        return Some(Declared::simple(Type::Dyn, most(REQUEST_BYTES_MAX - 2, 4), 1));
    }
    let kind = if root { "object" } else { text(schema, "type") };
    match kind {
        "array" => {
            let of_item = given(schema, "items")?;
            let item = declare(of_item, &format!("{name}.@idx"), embedded(of_item))?;
            let default = (REQUEST_BYTES_MAX - 2) / (item.bytes_min + 1);
            let max = schema.get("maxItems").and_then(Value::as_i64).unwrap_or(default);
            let ty = Type::list(item.ty.clone());
            Some(Declared::simple(ty, max, 2).of(item))
        }
        "object" => object(schema, name, root),
        "string" => Some(match text(schema, "format") {
            "byte" => Declared::simple(Type::Bytes, most(REQUEST_BYTES_MAX - 2, 1), 2),
            "duration" => Declared::simple(Type::Duration, 32, 3),
            "date" => Declared::simple(Type::Timestamp, 12, 12),
            "date-time" => Declared::simple(Type::Timestamp, 32, 21),
            _ => Declared::simple(Type::String, most(longest(schema), 4), 2),
        }),
        "boolean" => Some(Declared::simple(Type::Bool, 0, 4)),
        "number" => Some(Declared::simple(Type::Double, 0, 1)),
        "integer" => Some(Declared::simple(Type::Int, 0, 1)),
        _ => None,
    }
}

/// The longest value of an enumeration, or what fits a request.
fn longest(schema: &Value) -> i64 {
    let allowed = items(schema, "enum");
    let longest = allowed.iter().filter_map(Value::as_str).map(str::len).max().unwrap_or(0);
    if allowed.is_empty() { REQUEST_BYTES_MAX - 2 } else { longest as i64 }
}

fn embedded(schema: &Value) -> bool {
    schema.get("x-kubernetes-embedded-resource").and_then(Value::as_bool) == Some(true)
}

fn object(schema: &Value, name: &str, root: bool) -> Option<Declared> {
    if let Some(of_value) = given(schema, "additionalProperties").filter(|a| a.is_object()) {
        let value = declare(of_value, &format!("{name}.@elem"), embedded(of_value))?;
        let default = (REQUEST_BYTES_MAX - 2) / (value.bytes_min + 6);
        let max = schema.get("maxProperties").and_then(Value::as_i64).unwrap_or(default);
        return Some(Declared::simple(Type::map(Type::String, value.ty.clone()), max, 2).of(value));
    }
    let required: Vec<&str> = items(schema, "required").iter().filter_map(Value::as_str).collect();
    let named = schema.get("properties").and_then(Value::as_object);
    let always = root.then(|| of_every_object(named));
    let all = named.into_iter().flatten().filter(|(name, _)| always.as_ref().is_none_or(|a| !a.contains_key(*name)));
    let mut fields = HashMap::new();
    let mut bytes_min = 2;
    for (field, of_field) in all.chain(always.iter().flatten()) {
        let escaped = escape(field);
        let path = format!("{name}.{}", escaped.as_deref().unwrap_or(field));
        let Some(declared) = declare(of_field, &path, embedded(of_field)) else { continue };
        if required.contains(&field.as_str()) && given(of_field, "default").is_none() {
            bytes_min += field.len() as i64 + declared.bytes_min + 4;
        }
        if let Some(escaped) = escaped {
            fields.insert(escaped, declared);
        }
    }
    Some(Declared::simple(Type::object(name, fields), 0, bytes_min))
}

/// The fields that rules always see at the root of an object, unless the schema has them all by itself.
fn of_every_object(named: Option<&Map<String, Value>>) -> Map<String, Value> {
    let string = serde_json::json!({"type": "string"});
    let is = |schema: Option<&Value>, kind: &str| schema.is_some_and(|s| text(s, "type") == kind);
    let field = |name: &str| named.and_then(|n| n.get(name));
    let of_metadata = |name: &str| field("metadata").and_then(|m| m["properties"].get(name));
    let complete = is(field("kind"), "string")
        && is(field("apiVersion"), "string")
        && is(field("metadata"), "object")
        && is(of_metadata("name"), "string")
        && is(of_metadata("generateName"), "string");
    if complete {
        return Map::new();
    }
    let metadata = serde_json::json!({"type": "object", "properties": {"name": string, "generateName": string}});
    Map::from_iter([("kind".into(), string.clone()), ("apiVersion".into(), string), ("metadata".into(), metadata)])
}
