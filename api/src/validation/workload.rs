//! Replication controllers.

use super::at::At;
use super::{pod, rules};
use crate::field::{ErrorList, FieldError};

/// `ValidateReplicationController`
pub(crate) fn replication_controller(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    rules::nonnegative(&spec.field("minReadySeconds"), errors);
    let wanted = spec.field("selector");
    if wanted.is_empty() {
        errors.push(FieldError::required(&wanted.path, ""));
    }
    rules::nonnegative(&spec.field("replicas"), errors);
    let labels = spec.at(&["template", "metadata", "labels"]);
    let selects = wanted.entries().all(|(key, value)| labels.value.get(key) == Some(value.value));
    if spec.field("template").is_absent() {
        errors.push(FieldError::required(&spec.field("template").path, ""));
        return;
    }
    if !wanted.is_empty() && !selects {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value.clone(), detail));
    }
    pod::template(&spec.field("template"), errors);
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
pub(crate) fn replication_controller_status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let status = new.field("status");
    let counts =
        status.fields(["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"]);
    for count in &counts {
        rules::nonnegative(count, errors);
    }
    let [all, labelled, ready, available, _] = &counts;
    let number = |at: &At<'_>| at.number().unwrap_or(0);
    let bounds = [
        (labelled, all, "cannot be greater than status.replicas"),
        (ready, all, "cannot be greater than status.replicas"),
        (available, all, "cannot be greater than status.replicas"),
        (available, ready, "cannot be greater than readyReplicas"),
    ];
    for (part, _, detail) in bounds.iter().filter(|(part, whole, _)| number(part) > number(whole)) {
        errors.push(FieldError::invalid(&part.path, number(part), *detail));
    }
}
