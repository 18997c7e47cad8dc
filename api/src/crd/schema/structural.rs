//! Structural schemas: every field has a type of its own, and what stands below `allOf`, `anyOf`, `oneOf` and `not`
//! only restricts values (`schema.ValidateStructural` in apiextensions).

use serde_json::{Value, json};

use super::super::definition::{given, items, text};
use crate::field::{ErrorList, FieldError, Path};
use crate::go::regexp;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Whether there is something in a schema that has no structural form; it is refused in other words.
pub(super) fn is_foreign(schema: &Value) -> bool {
    const FOREIGN: [&str; 7] =
        ["id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"];
    let set = |name: &&str| match given(schema, name) {
        None => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(map)) => !map.is_empty() || **name == *"additionalItems",
        Some(_) => true,
    };
    let nested = ["allOf", "anyOf", "oneOf"].iter().flat_map(|name| items(schema, name)).chain(given(schema, "not"));
    FOREIGN.iter().any(set)
        || schema["items"].is_array()
        || schema["x-kubernetes-preserve-unknown-fields"].as_bool() == Some(false)
        || below(schema).iter().any(|(_, _, schema)| is_foreign(schema))
        || nested.into_iter().any(is_foreign)
}

pub(super) fn validate(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let mut found = ErrorList::new();
    invariants(schema, Level::Root, path, &mut found);
    complete(schema, path, &mut found);
    found.sort_by_key(ToString::to_string);
    errors.extend(found);
}

fn yes(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool) == Some(true)
}

fn below(schema: &Value) -> Vec<(Path, Level, &Value)> {
    let mut all = Vec::new();
    if let Some(of_item) = given(schema, "items") {
        all.push((Path::new("items"), Level::Item, of_item));
    }
    for (name, of_field) in schema["properties"].as_object().into_iter().flatten() {
        all.push((Path::new("properties").key(name), Level::Field, of_field));
    }
    if let Some(additional) = given(schema, "additionalProperties").filter(|a| a.is_object()) {
        all.push((Path::new("additionalProperties"), Level::Field, additional));
    }
    all
}

fn invariants(schema: &Value, level: Level, path: &Path, errors: &mut ErrorList) {
    let kind = text(schema, "type");
    if kind == "array" && given(schema, "items").is_none() {
        errors.push(FieldError::required(&path.child("items"), "must be specified"));
    }
    for (at, level, schema) in below(schema) {
        invariants(schema, level, &path.child(at.as_str()), errors);
    }
    if level == Level::Root && given(schema, "additionalProperties").is_some() {
        errors.push(FieldError::forbidden(&path.child("additionalProperties"), "must not be used at the root"));
    }
    extensions(schema, path, errors);
    value_validation(schema, path, errors);
    types(schema, kind, level, path, errors);
    if let Some(metadata) = schema["properties"].get("metadata") {
        of_metadata(metadata, level, yes(schema, "x-kubernetes-embedded-resource"), path, errors);
    }
}

fn extensions(schema: &Value, path: &Path, errors: &mut ErrorList) {
    for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if yes(schema, "x-kubernetes-int-or-string") && yes(schema, name) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(&path.child(name), true, why));
        }
    }
}

fn types(schema: &Value, kind: &str, level: Level, path: &Path, errors: &mut ErrorList) {
    let at = path.child("type");
    let embedded = yes(schema, "x-kubernetes-embedded-resource");
    let free = yes(schema, "x-kubernetes-int-or-string") || yes(schema, "x-kubernetes-preserve-unknown-fields");
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() { FieldError::required(&at, why) } else { FieldError::invalid(&at, kind, why) });
    } else if kind.is_empty() && !free {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(&at, why));
    }
    if embedded && given(schema, "additionalProperties").is_some() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(&path.child("additionalProperties"), why));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(&at, kind, "must be object at the root"));
    }
    let no_fields = schema["properties"].as_object().is_none_or(serde_json::Map::is_empty);
    if embedded && no_fields && !yes(schema, "x-kubernetes-preserve-unknown-fields") {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(&path.child("properties"), why));
    }
    if level == Level::Root || embedded {
        for name in ["kind", "apiVersion"] {
            if let Some(of_field) = schema["properties"].get(name).filter(|f| text(f, "type") != "string") {
                let at = path.child("properties").key(name).child("type");
                errors.push(FieldError::invalid(&at, text(of_field, "type"), "must be string"));
            }
        }
    }
}

fn of_metadata(metadata: &Value, level: Level, embedded: bool, path: &Path, errors: &mut ErrorList) {
    let at = path.child("properties").key("metadata");
    if (level == Level::Root || embedded) && text(metadata, "type") != "object" {
        errors.push(FieldError::invalid(&at.child("type"), text(metadata, "type"), "must be object"));
    }
    if level != Level::Root {
        return;
    }
    let fields = metadata["properties"].as_object();
    let named = fields.is_none_or(|f| f.keys().all(|k| k == "name" || k == "generateName"));
    let only = metadata
        .as_object()
        .is_none_or(|m| m.keys().all(|k| matches!(k.as_str(), "type" | "properties" | "description" | "default")));
    if !named || !only {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(&at, why));
    }
}

fn is_int_or_string(any_of: &Value) -> bool {
    *any_of == json!([{"type": "integer"}, {"type": "string"}])
}

fn value_validation(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let skip_any = is_int_or_string(&schema["anyOf"]);
    let skip_first = items(schema, "allOf").first().is_some_and(|first| is_int_or_string(&first["anyOf"]));
    junctors(schema, skip_any, skip_first, path, errors);
}

fn junctors(schema: &Value, skip_any: bool, skip_first: bool, path: &Path, errors: &mut ErrorList) {
    for name in ["anyOf", "allOf", "oneOf"] {
        if name == "anyOf" && skip_any {
            continue;
        }
        for (i, one) in items(schema, name).iter().enumerate() {
            nested(one, name == "allOf" && skip_first && i == 0, &path.child(name).index(i), errors);
        }
    }
    if let Some(not) = given(schema, "not") {
        nested(not, false, &path.child("not"), errors);
    }
    let pattern = text(schema, "pattern");
    if let (false, Err(error)) = (pattern.is_empty(), regexp::compile(pattern)) {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(&path.child("pattern"), pattern, why));
    }
}

fn nested(schema: &Value, skip_any: bool, path: &Path, errors: &mut ErrorList) {
    junctors(schema, skip_any, false, path, errors);
    if let Some(of_item) = given(schema, "items") {
        nested(of_item, false, &path.child("items"), errors);
    }
    for (name, of_field) in schema["properties"].as_object().into_iter().flatten() {
        nested(of_field, false, &path.child("properties").key(name), errors);
    }
    let mut forbid = |name: &str, why: &str| {
        let set = match given(schema, name) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(all)) => !all.is_empty(),
            Some(_) => true,
        };
        if set {
            errors.push(FieldError::forbidden(&path.child(name), format!("must be {why} to be structural")));
        }
    };
    forbid("type", "empty");
    forbid("additionalProperties", "undefined");
    forbid("default", "undefined");
    forbid("title", "empty");
    forbid("description", "empty");
    forbid("nullable", "false");
    forbid("x-kubernetes-preserve-unknown-fields", "false");
    forbid("x-kubernetes-embedded-resource", "false");
    forbid("x-kubernetes-int-or-string", "false");
    forbid("x-kubernetes-list-map-keys", "empty");
    forbid("x-kubernetes-list-type", "undefined");
    forbid("x-kubernetes-map-type", "undefined");
    forbid("x-kubernetes-validations", "empty");
    if schema["properties"].get("metadata").is_some() {
        let at = path.child("properties").key("metadata");
        errors.push(FieldError::forbidden(&at, "must not be specified in a nested context"));
    }
}

/// What a junctor at the root restricts must be declared outside of it.
fn complete(schema: &Value, path: &Path, errors: &mut ErrorList) {
    declared_in(schema, schema, path, path, errors);
}

fn declared_in(restricts: &Value, schema: &Value, path: &Path, at: &Path, errors: &mut ErrorList) {
    for name in ["allOf", "anyOf", "oneOf"] {
        for (i, one) in items(restricts, name).iter().enumerate() {
            declared(one, Some(schema), path, &at.child(name).index(i), errors);
        }
    }
    if let Some(not) = given(restricts, "not") {
        declared(not, Some(schema), path, &at.child("not"), errors);
    }
}

fn declared(restricts: &Value, schema: Option<&Value>, path: &Path, at: &Path, errors: &mut ErrorList) {
    let Some(schema) = schema else {
        errors.push(FieldError::required(path, format!("because it is defined in {at}")));
        return;
    };
    declared_in(restricts, schema, path, at, errors);
    if let Some(of_item) = given(restricts, "items") {
        declared(of_item, given(schema, "items"), &path.child("items"), &at.child("items"), errors);
    }
    for (name, of_field) in restricts["properties"].as_object().into_iter().flatten() {
        let (path, at) = (path.child("properties").key(name), at.child("properties").key(name));
        declared(of_field, schema["properties"].get(name), &path, &at, errors);
    }
}
