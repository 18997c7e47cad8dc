//! Nodes and namespaces.

use std::collections::BTreeSet;

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError, Path};
use crate::names;

/// `ValidateNode` and `ValidateNodeUpdate`
pub fn node(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    taints(&spec.get("taints"), errors);
    for name in ["capacity", "allocatable"] {
        for (_, amount) in new.at(&["status", name]).entries() {
            rules::nonnegative_quantity(&amount, errors);
        }
    }
    let ranges = spec.get("podCIDRs");
    let Some(old) = old else {
        let families: Vec<bool> =
            ranges.items().filter_map(|range| rules::cidr(&range, errors)).map(|net| net.addr().is_ipv4()).collect();
        if ranges.len() > 2 || (families.len() == 2 && families[0] == families[1]) {
            let detail = "may specify no more than one CIDR for each IP family";
            errors.push(FieldError::invalid(&ranges.path, ranges.value.clone(), detail));
        }
        return;
    };
    let mut seen = BTreeSet::new();
    for address in new.at(&["status", "addresses"]).items() {
        if !seen.insert((address.get("type").text(), address.get("address").text())) {
            errors.push(FieldError::duplicate(&address.path, address.value.clone()));
        }
    }
    let before = old.get("spec");
    if !before.get("podCIDRs").is_empty() && before.get("podCIDRs").value != ranges.value {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden(&ranges.path, detail));
    }
    let provider = spec.get("providerID");
    if !before.get("providerID").is_empty() && before.get("providerID").text() != provider.text() {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden(&provider.path, detail));
    }
    if before.get("externalID").text() != spec.get("externalID").text() {
        errors.push(FieldError::forbidden(&spec.get("externalID").path, "may not be updated"));
    }
}

/// `validateNodeTaints`, which places the taints below the metadata.
fn taints(at: &At<'_>, errors: &mut ErrorList) {
    let base = At::new(Path::new("metadata").child("taints"), at.value);
    let mut seen = BTreeSet::new();
    for taint in base.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        for message in names::label_key(key.text()) {
            errors.push(FieldError::invalid(&key.path, key.text(), message));
        }
        let wrong = names::label_value(value.text());
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(&value.path, value.text(), wrong.join(";")));
        }
        if rules::required(&effect, errors) {
            rules::one_of(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"], errors);
        }
        if !seen.insert((effect.text(), key.text())) {
            let mut error = FieldError::duplicate(&taint.path, taint.value.clone());
            error.detail = "taints must be unique by key and effect pair".into();
            errors.push(error);
        }
    }
}

/// `ValidateNamespace`
pub fn namespace(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let list = new.at(&["spec", "finalizers"]);
    for finalizer in list.items() {
        let name = finalizer.text();
        for message in names::label_key(name) {
            errors.push(FieldError::invalid(&list.path, name, message));
        }
        if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&list.path, name, detail));
        }
    }
}
