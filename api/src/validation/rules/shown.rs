//! Errors that show a value as the reference's internal type prints, or not at all.

use serde_json::Value;

use crate::field::{FieldError, Path};
use crate::go::internal;
use crate::validation::at::At;

/// A label selector that is wrong as a whole, shown with its fields in the reference's order.
pub(crate) fn invalid_selector(at: &At<'_>, detail: impl Into<String>) -> FieldError {
    invalid_as(at, "*metav1.LabelSelector", detail)
}

/// An invalid value, shown as its internal type.
pub(crate) fn invalid_as(at: &At<'_>, form: &str, detail: impl Into<String>) -> FieldError {
    FieldError::invalid_text(&at.path, internal::shown(form, at.value), detail)
}

/// An unsupported value, shown as its internal type.
pub(crate) fn not_supported_as(at: &At<'_>, form: &str, supported: &[&str]) -> FieldError {
    let shown = internal::shown(form, at.value);
    FieldError { value: Some(shown), ..FieldError::not_supported(&at.path, Value::Null, supported) }
}

/// A value that stands twice, shown as its internal type.
pub(crate) fn duplicate_as(at: &At<'_>, form: &str) -> FieldError {
    FieldError { value: Some(internal::shown(form, at.value)), ..FieldError::duplicate(&at.path, Value::Null) }
}

/// An invalid value that the message does not show.
pub(crate) fn invalid_without_value(path: &Path, detail: impl Into<String>) -> FieldError {
    FieldError { value: None, ..FieldError::invalid(path, Value::Null, detail) }
}
