//! What the controllers of workloads may write into their statuses.

use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::rules;

/// Counts that must not be negative, in the order of the reference's checks.
fn counts<const N: usize>(counts: [At<'_>; N], errors: &mut ErrorList) {
    for count in &counts {
        rules::nonnegative(count, errors);
    }
}

/// Each of the counts may be no more than all replicas, and those that are available no more than those that are ready.
fn parts(status: &At<'_>, parts: &[At<'_>], ready_shown: &str, errors: &mut ErrorList) {
    let count = |at: &At<'_>| at.number().unwrap_or(0);
    let [all, ready, available] = status.fields(["replicas", "readyReplicas", "availableReplicas"]);
    let of_all = parts.iter().chain([&available]).map(|part| (part, &all, "status.replicas"));
    for (part, whole, shown) in of_all.chain([(&available, &ready, ready_shown)]) {
        if count(part) > count(whole) {
            let detail = format!("cannot be greater than {shown}");
            errors.push(FieldError::invalid(&part.path, count(part), detail));
        }
    }
}

/// `IsDecremented`: a collision count that was set only grows.
fn collisions(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let at = new.at(&["status", "collisionCount"]);
    let before = old.and_then(|old| old.at(&["status", "collisionCount"]).number());
    if before.is_some_and(|before| at.number().is_none_or(|now| now < before)) {
        errors.push(FieldError::invalid(&at.path, at.number().unwrap_or(0), "cannot be decremented"));
    }
}

/// `ValidateDeploymentStatusUpdate`
pub(crate) fn deployment_status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    const COUNTS: [&str; 8] = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    let status = new.field("status");
    counts(status.fields(COUNTS), errors);
    parts(&status, &status.fields(["updatedReplicas", "readyReplicas"]), "readyReplicas", errors);
    collisions(new, old, errors);
}

/// `ValidateReplicaSetStatusUpdate`
pub(crate) fn replica_set_status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    const COUNTS: [&str; 6] = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    let status = new.field("status");
    counts(status.fields(COUNTS), errors);
    parts(&status, &status.fields(["fullyLabeledReplicas", "readyReplicas"]), "readyReplicas", errors);
}

/// `ValidateStatefulSetStatusUpdate`
pub(crate) fn stateful_set_status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    const COUNTS: [&str; 7] = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    let status = new.field("status");
    counts(status.fields(COUNTS), errors);
    parts(
        &status,
        &status.fields(["readyReplicas", "currentReplicas", "updatedReplicas"]),
        "status.readyReplicas",
        errors,
    );
    collisions(new, old, errors);
}

/// `ValidateDaemonSetStatusUpdate`
pub(crate) fn daemon_set_status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    const COUNTS: [&str; 9] = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    let status = new.field("status");
    counts(status.fields(COUNTS), errors);
    collisions(new, old, errors);
}
