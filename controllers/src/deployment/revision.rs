//! Revisions: the annotations that tell the history of a deployment.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{Resource, ResourceExt};

use super::rolling;

/// The number of a revision, on the deployment and its ReplicaSets.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// The earlier revisions at which a ReplicaSet was the current one.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The size of the deployment when it last scaled the ReplicaSet.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// That size with the surge.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that a ReplicaSet does not inherit.
const OWN: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// The longest history (`maxRevHistoryLengthInChars` in the reference).
const HISTORY_BYTES_MAX: usize = 2000;

/// The revision of an object, or zero.
pub(super) fn of<K: Resource>(object: &K) -> i64 {
    object.annotations().get(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// Gives a ReplicaSet the annotations of its deployment and at least `revision`. Says whether anything changed.
pub(super) fn annotate(d: &Deployment, set: &mut ReplicaSet, revision: i64) -> bool {
    let current = of(set);
    let before = set.metadata.annotations.clone().unwrap_or_default();
    let annotations = set.metadata.annotations.get_or_insert_default();
    for (key, value) in d.annotations() {
        if !OWN.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    // What was current before and becomes so again keeps the history of its earlier revisions.
    if current < revision
        && let Some(old) = annotations.insert(REVISION.into(), revision.to_string())
    {
        let history = annotations.get(HISTORY).map(String::as_str).unwrap_or_default();
        let mut entries: Vec<&str> = history.split(',').filter(|e| !e.is_empty()).chain([old.as_str()]).collect();
        while entries.iter().map(|e| e.len() + 1).sum::<usize>() > HISTORY_BYTES_MAX {
            entries.remove(0);
        }
        let history = entries.join(",");
        annotations.insert(HISTORY.into(), history);
    }
    *annotations != before
}

/// Notes the size of the deployment on a ReplicaSet. Says whether anything changed.
pub(super) fn set_replica_annotations(d: &Deployment, set: &mut ReplicaSet) -> bool {
    let (desired, max) = (rolling::wanted(d), rolling::wanted(d) + rolling::surge(d));
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (key, value) in [(DESIRED, desired.to_string()), (MAX, max.to_string())] {
        changed |= annotations.get(key) != Some(&value);
        annotations.insert(key.into(), value);
    }
    changed
}

/// Notes the revision of the new ReplicaSet on the deployment.
pub(super) fn copy_to_deployment(d: &mut Deployment, new: &ReplicaSet) {
    if let Some(revision) = new.annotations().get(REVISION) {
        d.metadata.annotations.get_or_insert_default().insert(REVISION.into(), revision.clone());
    }
}
