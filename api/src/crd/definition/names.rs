//! The names that a definition asks for.

use serde_json::Value;

use super::{items, text};
use crate::field::{ErrorList, FieldError, Path};
use crate::names::dns1035_label;

pub(super) fn required(names: &Value, path: &Path, errors: &mut ErrorList) {
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(names, name).is_empty() {
            errors.push(FieldError::required(&path.child(name), ""));
        }
    }
}

pub(super) fn validate(names: &Value, path: &Path, errors: &mut ErrorList) {
    for name in ["plural", "singular"] {
        let value = text(names, name);
        let problems = dns1035_label(value);
        if !value.is_empty() && !problems.is_empty() {
            errors.push(FieldError::invalid(&path.child(name), value, problems.join(",")));
        }
    }
    for name in ["kind", "listKind"] {
        let value = text(names, name);
        let problems = dns1035_label(&value.to_lowercase());
        if !value.is_empty() && !problems.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
            errors.push(FieldError::invalid(&path.child(name), value, why));
        }
    }
    let labels = |name: &str, errors: &mut ErrorList| {
        for (i, value) in items(names, name).iter().enumerate() {
            let value = value.as_str().unwrap_or("");
            let problems = dns1035_label(value);
            if !problems.is_empty() {
                errors.push(FieldError::invalid(&path.child(name).index(i), value, problems.join(",")));
            }
        }
    };
    labels("shortNames", errors);
    let kind = text(names, "kind");
    if !kind.is_empty() && kind == text(names, "listKind") {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&path.child("listKind"), kind, why));
    }
    labels("categories", errors);
}
