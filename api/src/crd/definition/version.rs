//! What a version has beside its schema: a warning, subresources and columns.

use serde_json::Value;

use super::{given, text};
use crate::field::{ErrorList, FieldError, Path};

pub(super) fn deprecation(version: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(warning) = given(version, "deprecationWarning").and_then(Value::as_str) else { return };
    let at = path.child("deprecationWarning");
    if version["deprecated"].as_bool() != Some(true) {
        errors.push(FieldError::invalid(&at, warning, "can only be set for deprecated versions"));
        return;
    }
    if warning.len() > 256 {
        errors.push(FieldError::invalid(&at, warning, "must be <= 256 characters long"));
    }
    if warning.is_empty() {
        errors.push(FieldError::invalid(&at, warning, "must not be an empty string"));
    }
    if let Some((i, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!("must only contain printable UTF-8 characters; non-printable character found at index {i}");
        errors.push(FieldError::invalid(&at, warning, why));
    }
}

pub(super) fn subresources(value: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(scale) = given(value, "scale") else { return };
    for (name, prefix, whole) in [
        ("specReplicasPath", ".spec.", "should be a json path under .spec"),
        ("statusReplicasPath", ".status.", "should be a json path under .status"),
    ] {
        let (value, at) = (text(scale, name), path.child(&format!("scale.{name}")));
        if value.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else if simple_path(value, &at, errors) && !value.starts_with(prefix) {
            errors.push(FieldError::invalid(&at, value, whole));
        }
    }
    let (value, at) = (text(scale, "labelSelectorPath"), path.child("scale.labelSelectorPath"));
    if !value.is_empty()
        && simple_path(value, &at, errors)
        && !value.starts_with(".spec.")
        && !value.starts_with(".status.")
    {
        errors.push(FieldError::invalid(&at, value, "should be a json path under either .spec or .status"));
    }
}

fn simple_path(value: &str, path: &Path, errors: &mut ErrorList) -> bool {
    let good = value.starts_with('.');
    if !good {
        errors.push(FieldError::invalid(path, value, "must be a simple json path starting with ."));
    }
    good
}

pub(super) fn columns(value: &Value, path: &Path, errors: &mut ErrorList) {
    const KINDS: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    for (i, column) in value.as_array().into_iter().flatten().enumerate() {
        let path = path.index(i);
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        let (kind, format, json_path) = (text(column, "type"), text(column, "format"), text(column, "jsonPath"));
        let kinds = format!("must be one of {}", KINDS.join(","));
        if kind.is_empty() {
            errors.push(FieldError::required(&path.child("type"), kinds));
        } else if !KINDS.contains(&kind) {
            errors.push(FieldError::invalid(&path.child("type"), kind, kinds));
        }
        if !format.is_empty() && !FORMATS.contains(&format) {
            let why = format!("must be one of {}", FORMATS.join(","));
            errors.push(FieldError::invalid(&path.child("format"), format, why));
        }
        let at = path.child("JSONPath");
        if json_path.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else {
            simple_path(json_path, &at, errors);
        }
    }
}
