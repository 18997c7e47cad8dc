//! Storage classes.

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;

pub use super::core::claims::spec as claim_spec;

/// `ValidateStorageClass` and `ValidateStorageClassUpdate`
pub fn class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let provisioner = new.get("provisioner");
    if rules::required(&provisioner, errors) {
        rules::invalid_each(&provisioner, names::label_key(&provisioner.text().to_lowercase()), errors);
    }
    rules::required_one_of(&new.get("reclaimPolicy"), &["Delete", "Retain"], "", errors);
    rules::required_one_of(&new.get("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"], "", errors);
    let Some(old) = old else { return };
    let absent_is_empty = |at: &At<'_>| at.value.as_object().cloned().unwrap_or_default();
    let parameters = new.get("parameters");
    if absent_is_empty(&parameters) != absent_is_empty(&old.get("parameters")) {
        errors.push(FieldError::forbidden(&parameters.path, "updates to parameters are forbidden."));
    }
    for (name, what) in [("provisioner", "provisioner"), ("reclaimPolicy", "reclaimPolicy")] {
        if new.get(name).value != old.get(name).value {
            errors.push(FieldError::forbidden(&new.get(name).path, format!("updates to {what} are forbidden.")));
        }
    }
    rules::immutable(&new.get("volumeBindingMode"), &old.get("volumeBindingMode"), errors);
}
