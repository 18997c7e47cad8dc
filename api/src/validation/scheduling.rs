//! Priority classes, runtime classes and leases.

use std::collections::BTreeSet;

use super::at::At;
use super::{pod, rules};
use crate::field::{ErrorList, FieldError};
use crate::names;

const SYSTEM_PREFIX: &str = "system-";
const USER_PRIORITY_MAX: i64 = 1_000_000_000;
/// The classes that every cluster has, with their values.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// `ValidatePriorityClass` and `ValidatePriorityClassUpdate`
pub(crate) fn priority_class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let (name, value) = (new.at(&["metadata", "name"]), new.field("value"));
    let policy = new.field("preemptionPolicy");
    let number = |class: &At<'_>| class.field("value").number().unwrap_or(0);
    if let Some(old) = old {
        if number(new) != number(old) {
            errors.push(FieldError::forbidden(&value.path, "may not be changed in an update."));
        }
        rules::immutable(&policy, &old.field("preemptionPolicy"), errors);
        return;
    }
    if name.text().starts_with(SYSTEM_PREFIX) {
        if let Some(problem) = system_problem(name.text(), number(new), new.field("globalDefault").is_true()) {
            let detail = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
            );
            errors.push(FieldError::forbidden(&name.path, detail));
        }
    } else if number(new) > USER_PRIORITY_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        errors.push(FieldError::forbidden(&value.path, detail));
    }
    match policy.text() {
        "" if policy.is_set() => errors.push(FieldError::required(&policy.path, "")),
        "" => {}
        _ => rules::one_of(&policy, &["PreemptLowerPriority", "Never"], errors),
    }
}

/// `IsKnownSystemPriorityClass`
fn system_problem(name: &str, value: i64, is_default: bool) -> Option<String> {
    let Some((_, wanted)) = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value != *wanted {
        return Some(format!("value of {name} PriorityClass must be {wanted}"));
    }
    is_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

/// `ValidateRuntimeClass` and `ValidateRuntimeClassUpdate`
pub(crate) fn runtime_class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let handler = new.field("handler");
    if let Some(old) = old {
        rules::immutable(&handler, &old.field("handler"), errors);
        return;
    }
    if rules::required(&handler, errors) {
        rules::invalid_each(&handler, names::dns1123_label(handler.text()), errors);
    }
    let overhead = new.field("overhead");
    if overhead.is_set() {
        let fixed = overhead.field("podFixed");
        pod::resources::limits(&fixed.moved(overhead.path), errors);
    }
    let scheduling = new.field("scheduling");
    rules::labels(&scheduling.field("nodeSelector"), errors);
    let tolerations = scheduling.field("tolerations");
    pod::affinity::tolerations(&tolerations, errors);
    let mut seen = BTreeSet::new();
    for toleration in tolerations.items() {
        if !seen.insert(toleration.fields(["key", "operator", "value", "effect"]).map(|part| part.text())) {
            errors.push(rules::duplicate_as(&toleration, "core.Toleration"));
        }
    }
}

/// `ValidateLease` and `ValidateLeaseUpdate`
pub(crate) fn lease(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let seconds = spec.field("leaseDurationSeconds");
    if seconds.number().is_some_and(|number| number <= 0) {
        errors.push(FieldError::invalid(&seconds.path, seconds.value.clone(), "must be greater than 0"));
    }
    rules::nonnegative(&spec.field("leaseTransitions"), errors);
    let strategy = spec.field("strategy");
    if strategy.is_set() {
        lease_strategy(&strategy, errors);
    }
    let preferred = spec.field("preferredHolder");
    if !preferred.is_empty() && strategy.is_empty() {
        errors.push(FieldError::forbidden(&preferred.path, "may only be specified if `strategy` is defined"));
    }
}

/// `ValidateCoordinatedLeaseStrategy`, which names the field twice.
fn lease_strategy(at: &At<'_>, errors: &mut ErrorList) {
    let path = at.path.child("strategy");
    if at.text().contains('/') {
        rules::invalid_each(&at.moved(path), names::label_key(at.text()), errors);
    } else if at.text() != "OldestEmulationVersion" {
        errors.push(FieldError::not_supported(&path, at.text(), &["OldestEmulationVersion"]));
    }
}
