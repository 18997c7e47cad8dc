//! What controllers ask of a pod, and which pod goes first.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

pub(crate) use api::pods::{
    available_in, condition, is_active, is_available, is_ready, is_terminal, is_terminating, phase, ready_since,
};

/// The annotation by which a user says which pods to delete first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The shortest wait until another of `pods` becomes available.
pub(crate) fn next_available<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    min_ready_seconds: i32,
    now: Timestamp,
) -> Option<Duration> {
    pods.filter_map(|p| available_in(p, min_ready_seconds, now)).filter(|d| !d.is_zero()).min()
}

/// The node a pod is bound to, or nothing.
pub(crate) fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

/// What speaks for keeping a pod, the weightiest first: of several pods the least goes first. An order by derivation, so
/// that it is total whatever pods say of themselves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Worth {
    assigned: bool,
    phase: u8,
    ready: bool,
    deletion_cost: i32,
    crowd: Reverse<usize>,
    ready_for: Age,
    restarts: Reverse<(i32, i32)>,
    age: Age,
    /// Chance decides among equals; it also spreads over pods of about the same age.
    uid: Option<String>,
}

/// An age that grows; one that nobody knows is the least.
type Age = Option<i128>;

impl Worth {
    /// To a ReplicaSet (`ActivePodsWithRanks` in the reference). `crowd` is the number of related pods on the same node.
    /// Ages count by their magnitude, so that among pods of about the same age chance decides.
    pub(crate) fn to_set(pod: &Pod, crowd: usize, now: Timestamp) -> Self {
        let magnitude = |since: Timestamp| {
            let age = now.duration_since(since).as_nanos();
            if age > 0 { i128::from(age.ilog2()) } else { -1 }
        };
        Self::new(pod, deletion_cost(pod), crowd, magnitude)
    }

    /// To a Job, which looks neither at costs nor at nodes (`ActivePods` in the reference).
    pub(crate) fn to_job(pod: &Pod) -> Self {
        Self::new(pod, 0, 0, |since| -since.as_nanosecond())
    }

    fn new(pod: &Pod, deletion_cost: i32, crowd: usize, age: impl Fn(Timestamp) -> i128) -> Self {
        Self {
            assigned: !node_name(pod).is_empty(),
            phase: phase_order(pod),
            ready: is_ready(pod),
            deletion_cost,
            crowd: Reverse(crowd),
            ready_for: ready_since(pod).map(&age),
            restarts: Reverse(restarts(pod)),
            age: pod.metadata.creation_timestamp.as_ref().map(|t| age(t.0)),
            uid: pod.uid(),
        }
    }
}

fn phase_order(pod: &Pod) -> u8 {
    match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    pod.annotations().get(DELETION_COST).and_then(|c| c.parse().ok()).unwrap_or(0)
}

/// Whether an init container of this name goes on beside the others.
pub(crate) fn is_sidecar(pod: &Pod, name: &str) -> bool {
    let mut init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    init.any(|c| c.name == name && api::pods::is_sidecar(c.restart_policy.as_deref()))
}

/// The restarts of the container, and of the sidecar, that has most.
fn restarts(pod: &Pod) -> (i32, i32) {
    let status = pod.status.as_ref();
    let main = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let sidecars = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    let sidecars = sidecars.iter().filter(|c| is_sidecar(pod, &c.name)).map(|c| c.restart_count);
    (main.iter().map(|c| c.restart_count).max().unwrap_or(0), sidecars.max().unwrap_or(0))
}

#[cfg(test)]
#[path = "pod_tests.rs"]
mod tests;
