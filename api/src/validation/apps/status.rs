//! What the controllers of workloads may write into their statuses.

use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::rules;

/// Counts that must not be negative, in the order of the reference's checks.
fn counts(status: &At<'_>, names: &[&str], errors: &mut ErrorList) {
    for name in names {
        rules::nonnegative(&status.get(name), errors);
    }
}

/// Each of the counts may be no more than the one it is a part of.
fn parts(status: &At<'_>, parts: &[(&str, &str, &str)], errors: &mut ErrorList) {
    let count = |name: &str| status.get(name).number().unwrap_or(0);
    for (part, whole, shown) in parts.iter().filter(|(part, whole, _)| count(part) > count(whole)) {
        debug_assert!(!whole.is_empty(), "every part is of a whole");
        let detail = format!("cannot be greater than {shown}");
        errors.push(FieldError::invalid(&status.get(part).path, count(part), detail));
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
pub fn deployment_status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
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
    const PARTS: [(&str, &str, &str); 4] = [
        ("updatedReplicas", "replicas", "status.replicas"),
        ("readyReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ];
    counts(&new.get("status"), &COUNTS, errors);
    parts(&new.get("status"), &PARTS, errors);
    collisions(new, old, errors);
}

/// `ValidateReplicaSetStatusUpdate`
pub fn replica_set_status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    const COUNTS: [&str; 6] = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    const PARTS: [(&str, &str, &str); 4] = [
        ("fullyLabeledReplicas", "replicas", "status.replicas"),
        ("readyReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ];
    counts(&new.get("status"), &COUNTS, errors);
    parts(&new.get("status"), &PARTS, errors);
}

/// `ValidateStatefulSetStatusUpdate`
pub fn stateful_set_status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    const COUNTS: [&str; 7] = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    const PARTS: [(&str, &str, &str); 5] = [
        ("readyReplicas", "replicas", "status.replicas"),
        ("currentReplicas", "replicas", "status.replicas"),
        ("updatedReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "readyReplicas", "status.readyReplicas"),
    ];
    counts(&new.get("status"), &COUNTS, errors);
    parts(&new.get("status"), &PARTS, errors);
    collisions(new, old, errors);
}

/// `ValidateDaemonSetStatusUpdate`
pub fn daemon_set_status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
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
    counts(&new.get("status"), &COUNTS, errors);
    collisions(new, old, errors);
}
