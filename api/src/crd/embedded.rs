//! Objects inside of objects (`x-kubernetes-embedded-resource`): they have a kind and good metadata of their own.

use serde_json::{Map, Value};

use super::node::{Additional, Node};
use crate::Object;
use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::validation::metadata::{self, NameRule};

/// Everything that is wrong with the embedded objects of an object (`schemaobjectmeta.Validate`).
pub(super) fn validate_object(schema: &Node, whole: &Object, errors: &mut ErrorList) {
    if schema.has_embedded {
        fields(schema, &whole.0, &Path::root(), errors);
    }
}

fn validate(schema: &Node, value: &Value, path: &Path, errors: &mut ErrorList) {
    if !schema.has_embedded {
        return;
    }
    match value {
        Value::Object(map) => {
            if schema.embedded {
                object(map, path, errors);
            }
            fields(schema, map, path, errors);
        }
        Value::Array(items) => {
            let Some(below) = &schema.items else { return };
            items.iter().enumerate().for_each(|(i, item)| validate(below, item, &path.index(i), errors));
        }
        _ => {}
    }
}

fn fields(schema: &Node, map: &Map<String, Value>, path: &Path, errors: &mut ErrorList) {
    for (name, value) in map {
        match (schema.properties.get(name), &schema.additional) {
            (Some(below), _) => validate(below, value, &path.child(name), errors),
            (None, Additional::Schema(below)) => validate(below, value, &path.key(name), errors),
            _ => {}
        }
    }
}

fn object(map: &Map<String, Value>, path: &Path, errors: &mut ErrorList) {
    for name in ["apiVersion", "kind"] {
        let at = path.child(name);
        match map.get(name) {
            None => errors.push(FieldError::required(&at, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(&at, "", "must not be empty"));
            }
            Some(Value::String(text)) if name == "kind" => {
                let problems = names::dns1035_label(&text.to_lowercase());
                if !problems.is_empty() {
                    let why = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
                    errors.push(FieldError::invalid(&at, text.as_str(), why));
                }
            }
            Some(Value::String(text)) if text.matches('/').count() > 1 => {
                let why = format!("unexpected GroupVersion string: {text}");
                errors.push(FieldError::invalid(&at, text.as_str(), why));
            }
            Some(Value::String(_)) => {}
            Some(other) => errors.push(FieldError::invalid(&at, other.clone(), "must be a string")),
        }
    }
    let Some(Value::Object(of_object)) = map.get("metadata") else { return };
    let mut of_object = of_object.clone();
    of_object.entry("name").or_insert_with(|| "fakename".into());
    let namespaced = of_object.contains_key("namespace");
    let whole = Object(Map::from_iter([("metadata".to_string(), Value::Object(of_object))]));
    for error in metadata::validate(&whole, namespaced, NameRule::PathSegment) {
        errors.push(FieldError { path: path.child(error.path.as_str()), ..error });
    }
}
