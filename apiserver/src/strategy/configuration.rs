//! Config maps and secrets, which may be made immutable.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Strategy;
use crate::Context;

const WHY: &str = "field is immutable when `immutable` is set";

/// Config maps.
pub(super) struct ConfigMap;

/// Secrets.
pub(super) struct Secret;

fn immutable_errors(new: &Object, old: Option<&Object>, fields: &[&str]) -> ErrorList {
    let mut errors = ErrorList::new();
    let is_immutable = |object: &Object| object.at(&["immutable"]) == Some(&Value::Bool(true));
    let Some(old) = old.filter(|old| is_immutable(old)) else { return errors };
    if !is_immutable(new) {
        errors.push(FieldError::forbidden(&Path::new("immutable"), WHY));
    }
    let empty = |value: Option<&Value>| value.and_then(Value::as_object).is_none_or(serde_json::Map::is_empty);
    for field in fields {
        let (before, after) = (old.at(&[field]), new.at(&[field]));
        if before != after && !(empty(before) && empty(after)) {
            errors.push(FieldError::forbidden(&Path::new(field), WHY));
        }
    }
    errors
}

impl Strategy for ConfigMap {
    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        immutable_errors(new, old, &["data", "binaryData"])
    }
}

/// `stringData` is written into `data` and never stored.
fn fold_string_data(secret: &mut Object) {
    let Some(Value::Object(texts)) = secret.0.remove("stringData") else { return };
    for (key, text) in texts {
        if let Some(text) = text.as_str() {
            secret.set(&["data", &key], STANDARD.encode(text));
        }
    }
}

impl Strategy for Secret {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        fold_string_data(new);
    }

    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        fold_string_data(new);
        // An update that leaves the type out means the same type (it is defaulted before it comes here).
        if new.str_at(&["type"]).is_empty()
            && let Some(kind) = old.at(&["type"])
        {
            new.set(&["type"], kind.clone());
        }
    }

    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        let mut errors = ErrorList::new();
        if let Some(old) = old
            && old.str_at(&["type"]) != new.str_at(&["type"])
        {
            errors.push(FieldError::invalid(&Path::new("type"), new.str_at(&["type"]), "field is immutable"));
        }
        errors.extend(immutable_errors(new, old, &["data"]));
        errors
    }
}
