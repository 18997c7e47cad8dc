//! The scale subresource of a custom resource: where its counts are, and that they are counts.

use serde_json::Value;

use crate::Object;
use crate::field::{ErrorList, FieldError, Path};

/// `CustomResourceSubresourceScale`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scale {
    /// Where the wanted count is, such as `.spec.replicas`.
    pub spec_replicas_path: String,
    /// Where the actual count is.
    pub status_replicas_path: String,
    /// Where the label selector is, as text; empty if nowhere.
    pub label_selector_path: String,
}

impl Scale {
    /// Reads the definition's `scale`.
    pub fn new(scale: &Value) -> Self {
        let text = |name: &str| scale.get(name).and_then(Value::as_str).unwrap_or("").to_string();
        Self {
            spec_replicas_path: text("specReplicasPath"),
            status_replicas_path: text("statusReplicasPath"),
            label_selector_path: text("labelSelectorPath"),
        }
    }

    /// The names in one of the paths.
    pub fn names(path: &str) -> Vec<&str> {
        path.trim_start_matches('.').split('.').collect()
    }

    pub(super) fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = count(object, &self.spec_replicas_path);
        errors.extend(self.validate_status(object));
        errors
    }

    pub(super) fn validate_status(&self, object: &Object) -> ErrorList {
        let mut errors = count(object, &self.status_replicas_path);
        if !self.label_selector_path.is_empty() {
            match find(object, &self.label_selector_path) {
                Ok(None | Some(Value::String(_))) => {}
                Ok(Some(other)) => {
                    let why = accessor(&self.label_selector_path, other, "string");
                    errors.push(FieldError::invalid(&Path::new(&self.label_selector_path), "", why));
                }
                Err(why) => errors.push(FieldError::invalid(&Path::new(&self.label_selector_path), "", why)),
            }
        }
        errors
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn accessor(path: &str, value: &Value, wanted: &str) -> String {
    let (shown, kind) = (crate::patch::go_value(value), go_type(value));
    format!("{path} accessor error: {shown} is of the type {kind}, expected {wanted}")
}

/// The value at a path; an error if the way there is no map (`unstructured.NestedFieldNoCopy`).
fn find<'o>(object: &'o Object, path: &str) -> Result<Option<&'o Value>, String> {
    let names = Scale::names(path);
    let Some(mut value) = object.0.get(names[0]) else { return Ok(None) };
    for (i, name) in names.iter().enumerate().skip(1) {
        match value {
            Value::Object(map) => match map.get(*name) {
                Some(below) => value = below,
                None => return Ok(None),
            },
            Value::Null => return Ok(None),
            other => return Err(accessor(&format!(".{}", names[..=i].join(".")), other, "map[string]interface{}")),
        }
    }
    Ok(Some(value))
}

fn count(object: &Object, path: &str) -> ErrorList {
    let at = Path::new(path);
    match find(object, path) {
        Ok(None) => ErrorList::new(),
        Ok(Some(value)) => match value.as_i64() {
            Some(n) if n < 0 => FieldError::invalid(&at, n, "should be a non-negative integer").into(),
            Some(n) if n > i64::from(i32::MAX) => {
                FieldError::invalid(&at, n, format!("should be less than or equal to {}", i32::MAX)).into()
            }
            Some(_) => ErrorList::new(),
            None => FieldError::invalid(&at, 0, accessor(path, value, "int64")).into(),
        },
        Err(why) => FieldError::invalid(&at, 0, why).into(),
    }
}
