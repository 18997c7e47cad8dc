//! Replication controllers.

use super::at::At;
use super::{pod, rules};
use crate::field::{ErrorList, FieldError};

/// `ValidateReplicationController`
pub fn replication_controller(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    rules::nonnegative(&spec.get("minReadySeconds"), errors);
    let wanted = spec.get("selector");
    if wanted.is_empty() {
        errors.push(FieldError::required(&wanted.path, ""));
    }
    rules::nonnegative(&spec.get("replicas"), errors);
    let labels = spec.at(&["template", "metadata", "labels"]);
    let selects = wanted.entries().all(|(key, value)| labels.value.get(key) == Some(value.value));
    if spec.get("template").is_absent() {
        errors.push(FieldError::required(&spec.get("template").path, ""));
        return;
    }
    if !wanted.is_empty() && !selects {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value.clone(), detail));
    }
    pod::template(&spec.get("template"), errors);
    let policy = spec.at(&["template", "spec", "restartPolicy"]);
    if policy.text() != "Always" {
        errors.push(FieldError::not_supported(&policy.path, policy.text(), &["Always"]));
    }
    let deadline = spec.at(&["template", "spec", "activeDeadlineSeconds"]);
    if deadline.is_set() {
        let detail = "activeDeadlineSeconds in ReplicationController is not Supported";
        errors.push(FieldError::forbidden(&deadline.path, detail));
    }
}

/// `ValidateReplicationControllerStatusUpdate`
pub fn replication_controller_status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let status = new.get("status");
    for name in ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"] {
        rules::nonnegative(&status.get(name), errors);
    }
    let number = |name: &str| status.get(name).number().unwrap_or(0);
    let bounds = [
        ("fullyLabeledReplicas", "replicas", "cannot be greater than status.replicas"),
        ("readyReplicas", "replicas", "cannot be greater than status.replicas"),
        ("availableReplicas", "replicas", "cannot be greater than status.replicas"),
        ("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas"),
    ];
    for (name, _, detail) in bounds.iter().filter(|(name, bound, _)| number(name) > number(bound)) {
        errors.push(FieldError::invalid(&status.get(name).path, number(name), *detail));
    }
}
