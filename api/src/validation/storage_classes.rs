//! Storage classes and classes of volume attributes.

use std::collections::{BTreeMap, BTreeSet};

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;

const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 * 1024;

/// `ValidateStorageClass` and `ValidateStorageClassUpdate`
pub(crate) fn storage_class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    created(new, errors);
    let Some(old) = old else { return };
    for name in new.known(["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"]) {
        let form = if &*name == "provisioner" { "\"\"" } else { "null" };
        if new.get(name).value != old.get(name).value {
            errors.push(rules::invalid_as(&new.get(name), form, rules::IMMUTABLE));
        }
    }
}

fn created(new: &At<'_>, errors: &mut ErrorList) {
    provisioner(&new.field("provisioner"), errors);
    parameters(&new.field("parameters"), errors);
    let policy = new.field("reclaimPolicy");
    if !policy.is_empty() {
        rules::one_of(&policy, &["Delete", "Retain"], errors);
    }
    let mode = new.field("volumeBindingMode");
    if mode.is_absent() {
        errors.push(FieldError::required(&mode.path, ""));
    }
    rules::one_of(&mode, &["Immediate", "WaitForFirstConsumer"], errors);
    topologies(&new.field("allowedTopologies"), errors);
}

/// `validateProvisioner`
fn provisioner(at: &At<'_>, errors: &mut ErrorList) {
    if rules::required(at, errors) {
        let name = at.text().to_lowercase();
        for message in names::label_key(&name) {
            errors.push(FieldError::invalid(&at.path, name.as_str(), message));
        }
    }
}

/// `validateParameters`
fn parameters(at: &At<'_>, errors: &mut ErrorList) {
    if at.len() > PARAMETERS_MAX {
        errors.push(FieldError::too_long(&at.path, PARAMETERS_MAX));
        return;
    }
    let mut size = 0;
    for (key, value) in at.entries() {
        if key.is_empty() {
            errors.push(FieldError::invalid(&at.path, "", "field can not be empty."));
        }
        size += key.len() + value.text().len();
    }
    if size > PARAMETERS_BYTES_MAX {
        errors.push(FieldError::too_long(&at.path, PARAMETERS_BYTES_MAX));
    }
}

/// `validateAllowedTopologies`
fn topologies(at: &At<'_>, errors: &mut ErrorList) {
    let mut seen: BTreeMap<BTreeMap<&str, BTreeSet<&str>>, usize> = BTreeMap::new();
    for term in at.items() {
        let expressions = term.field("matchLabelExpressions");
        let found = topology(&expressions, errors);
        // Terms that say nothing are equal to the reference's empty ones before them.
        let before = seen.entry(found.clone()).or_default();
        let repeats = *before + if found.is_empty() { at.len() } else { 0 };
        *before += 1;
        for _ in 0..repeats {
            if errors.is_full() {
                break;
            }
            errors.push(FieldError::duplicate(&expressions.path, ""));
        }
    }
}

/// `ValidateTopologySelectorTerm`
fn topology<'a>(expressions: &At<'a>, errors: &mut ErrorList) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut found = BTreeMap::new();
    for expression in expressions.items() {
        let (key, values) = (expression.field("key"), expression.field("values"));
        if values.is_empty() {
            errors.push(FieldError::required(&values.path, ""));
        }
        let mut set = BTreeSet::new();
        for value in values.items() {
            if !set.insert(value.text()) {
                errors.push(FieldError::duplicate(&value.path, value.text()));
            }
        }
        rules::invalid_each(&key, names::label_key(key.text()), errors);
        if found.insert(key.text(), set).is_some() {
            errors.push(FieldError::duplicate(&key.path, key.text()));
        }
    }
    found
}

/// `ValidateVolumeAttributesClass` and `ValidateVolumeAttributesClassUpdate`
pub(crate) fn attributes_class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let values = new.field("parameters");
    if let Some(old) = old {
        for name in new.known(["driverName", "parameters"]) {
            if new.get(name).value != old.get(name).value {
                let detail = format!("updates to {name} are forbidden.");
                errors.push(FieldError::forbidden(&new.get(name).path, detail));
            }
        }
    }
    provisioner(&new.field("driverName"), errors);
    parameters(&values, errors);
    if values.is_empty() {
        errors.push(FieldError::required(&values.path, "must contain at least one key/value pair"));
    }
}
