//! The fields of a custom resource that field selectors may name.

use std::collections::HashSet;

use serde_json::Value;

use super::definition::{given, text};
use crate::field::{ErrorList, FieldError, Path};

/// Most fields that can be selected on.
const FIELDS_MAX: usize = 8;

pub(super) fn validate(fields: &Value, schema: &Value, path: &Path, errors: &mut ErrorList) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, field) in fields.as_array().into_iter().flatten().enumerate() {
        let json_path = text(field, "jsonPath");
        let at = path.index(i).child("jsonPath");
        if json_path.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        let found = match find(json_path, schema, false) {
            Ok(found) => found,
            Err(why) => {
                errors.push(FieldError::invalid(&at, json_path, format!("is an invalid path: {why}")));
                continue;
            }
        };
        if json_path == ".metadata" || json_path.starts_with(".metadata.") {
            errors.push(FieldError::invalid(&at, json_path, "must not point to fields in metadata"));
        }
        if !matches!(text(found, "type"), "string" | "boolean" | "integer") {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                       formats are allowed.";
            errors.push(FieldError::invalid(&at, json_path, why));
        }
        if !seen.insert(json_path) {
            errors.push(FieldError::duplicate(&at, json_path));
        }
    }
    if seen.len() > FIELDS_MAX {
        errors.push(FieldError::too_many(path, seen.len(), FIELDS_MAX));
    }
}

/// The schema at a path of fields and map keys (`ValidFieldPath` of the reference's CEL package).
pub(super) fn find<'s>(path: &str, schema: &'s Value, brackets: bool) -> Result<&'s Value, String> {
    let mut schema = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix('.') {
            if after.is_empty() {
                return Err("unexpected end of JSON path".into());
            }
            let end = after.find(['.', '[']).unwrap_or(after.len());
            (name, rest) = (after[..end].to_string(), &after[end..]);
        } else if let Some(after) = rest.strip_prefix('[') {
            if !brackets {
                return Err("array notation is not allowed".into());
            }
            let end = after.find(']').ok_or("unexpected end of JSON path")?;
            let quoted = &after[..end];
            let inner = quoted.strip_prefix('\'').and_then(|q| q.strip_suffix('\''));
            let inner = inner.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?;
            (name, rest) = (inner.replace("\\'", "'"), &after[end + 1..]);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            return Err(format!("expected [ or . but got: {}", &rest[..end]));
        }
        schema = match (given(schema, "properties"), given(schema, "additionalProperties")) {
            (Some(properties), _) => properties.get(&name),
            (None, additional) => additional.filter(|a| a.is_object()),
        }
        .ok_or("does not refer to a valid field")?;
    }
    Ok(schema)
}
