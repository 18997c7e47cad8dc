//! What makes the defaults of a schema valid.

use serde_json::Value;

use crate::crd::definition::given;
use crate::crd::node::Node;
use crate::crd::{rules, values};
use crate::field::{ErrorList, FieldError, Path};

/// Defaults must be valid values.
pub(super) fn each(schema: &Value, path: &Path, is_root: bool, errors: &mut ErrorList) {
    if let Some(default) = schema.get("default").filter(|d| !d.is_null()) {
        default_value(schema, default, &path.child("default"), is_root, errors);
    }
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        each(below, &path.child("properties").key(name), false, errors);
    }
    // What stands below additionalProperties the reference does not look at.
    if let Some(below) = given(schema, "items").filter(|b| b.is_object()) {
        each(below, &path.child("items"), false, errors);
    }
}

/// The default of a whole object says what it is (`schemaobjectmeta.Validate`).
pub(super) fn root(default: &Value, path: &Path, errors: &mut ErrorList) {
    for name in ["apiVersion", "kind"] {
        let at = path.child(name);
        match default.get(name) {
            None | Some(Value::Null) => errors.push(FieldError::required(&at, "")),
            Some(Value::String(text)) if text.is_empty() => errors.push(FieldError::required(&at, "")),
            Some(Value::String(_)) => {}
            Some(other) => errors.push(FieldError::invalid(&at, other.clone(), "must be a string")),
        }
    }
}

fn default_value(schema: &Value, default: &Value, path: &Path, is_root: bool, errors: &mut ErrorList) {
    // A number or text may have any default.
    if schema["x-kubernetes-int-or-string"].as_bool() == Some(true) {
        return;
    }
    let mut own = default.clone();
    if let Some(map) = own.as_object_mut().filter(|_| is_root) {
        map.retain(|name, _| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    if is_unpruned(schema, &own) {
        errors.push(FieldError::invalid(path, default.clone(), "must not have unknown fields"));
    }
    let node = Node::new(schema);
    let found = values::validate(&node, default, path);
    if found.is_empty() && node.has_rules {
        // Once as what it was before, once as what was not there.
        let mut of_rules = rules::validate(&node, default, Some(default), path, true).errors;
        if of_rules.is_empty() {
            of_rules = rules::validate(&node, default, None, path, true).errors;
        }
        errors.extend(of_rules);
    }
    errors.extend(found);
}

/// Whether a value has fields that its schema does not name.
fn is_unpruned(schema: &Value, value: &Value) -> bool {
    let keeps = schema["x-kubernetes-preserve-unknown-fields"].as_bool() == Some(true);
    match value {
        Value::Object(map) => map.iter().any(|(name, value)| {
            let additional = given(schema, "additionalProperties");
            match (schema["properties"].get(name), additional) {
                (Some(below), _) => is_unpruned(below, value),
                (None, Some(below)) if below.is_object() => is_unpruned(below, value),
                (None, Some(Value::Bool(true))) => false,
                _ => !keeps,
            }
        }),
        Value::Array(all) => all.iter().any(|item| is_unpruned(&schema["items"], item)),
        _ => false,
    }
}
