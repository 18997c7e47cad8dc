//! Conditions of the shared type (`metav1.Condition`).

use std::collections::BTreeSet;

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;

const REASON_FORMAT: &str = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";
const REASON_LENGTH_MAX: usize = 1024;
const MESSAGE_LENGTH_MAX: usize = 32 * 1024;

/// `ValidateConditions`
pub(crate) fn all(list: &At<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for condition in list.items() {
        let type_ = condition.field("type");
        if !seen.insert(type_.text()) {
            errors.push(FieldError::duplicate(&type_.path, type_.text()));
        }
        self::condition(&condition, errors);
    }
}

/// `ValidateCondition`
fn condition(at: &At<'_>, errors: &mut ErrorList) {
    let (type_, status) = (at.field("type"), at.field("status"));
    for message in names::label_key(type_.text()) {
        errors.push(FieldError::invalid(&type_.path, type_.text(), message));
    }
    let supported = ["False", "True", "Unknown"];
    if !supported.contains(&status.text()) {
        errors.push(FieldError::not_supported(&status.path, status.text(), &supported));
    }
    let generation = at.field("observedGeneration");
    if let Some(number) = generation.number().filter(|number| *number < 0) {
        errors.push(FieldError::invalid(&generation.path, number, "must be greater than or equal to zero"));
    }
    rules::required(&at.field("lastTransitionTime"), errors);
    let (reason, message) = (at.field("reason"), at.field("message"));
    if rules::required(&reason, errors) {
        if !is_reason(reason.text()) {
            let detail = names::regex_error(
                "a condition reason must start with alphabetic character, optionally followed by a string of \
                 alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
                REASON_FORMAT,
                &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
            );
            errors.push(FieldError::invalid(&reason.path, reason.text(), detail));
        }
        if reason.text().len() > REASON_LENGTH_MAX {
            errors.push(FieldError::too_long(&reason.path, REASON_LENGTH_MAX));
        }
    }
    if message.text().len() > MESSAGE_LENGTH_MAX {
        errors.push(FieldError::too_long(&message.path, MESSAGE_LENGTH_MAX));
    }
}

fn is_reason(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b',' | b':');
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(inner)
}
