//! What controllers ask of a pod, and which pod goes first.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::ResourceExt;

/// The annotation by which a user says which pods to delete first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The phase; a pod without one is pending.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}

/// Whether the pod ended and will not run again.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod is on its way out.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod counts as a replica.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

/// The condition of a type.
pub(crate) fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == type_)
}

/// Whether the pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Since when the pod is ready.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|c| c.status == "True")?.last_transition_time.as_ref().map(|t| t.0)
}

/// How long until the pod has been ready for `min_ready_seconds`; zero if it has, `None` if it is not ready.
pub(crate) fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready_seconds <= 0 {
        return Some(Duration::ZERO);
    }
    let since = ready_since(pod)?;
    let wanted = Duration::from_secs(min_ready_seconds as u64);
    let ready_for = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(wanted.saturating_sub(ready_for))
}

/// Whether the pod has been ready for `min_ready_seconds`.
pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    available_in(pod, min_ready_seconds, now) == Some(Duration::ZERO)
}

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

/// Which of two pods is deleted first (`ActivePodsWithRanks` in the reference). A rank is the number of related pods
/// on the same node.
pub(crate) fn deletion_order(a: (&Pod, usize), b: (&Pod, usize), now: Timestamp) -> Ordering {
    let ((a, rank_a), (b, rank_b)) = (a, b);
    let ready = |p: &Pod| is_ready(p);
    let by_state = (!node_name(a).is_empty())
        .cmp(&!node_name(b).is_empty())
        .then_with(|| phase_order(a).cmp(&phase_order(b)))
        .then_with(|| ready(a).cmp(&ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| rank_b.cmp(&rank_a));
    by_state
        .then_with(|| younger_first(ready_since(a), ready_since(b), (a, b), now))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| {
            let created = |p: &Pod| p.metadata.creation_timestamp.as_ref().map(|t| t.0);
            younger_first(created(a), created(b), (a, b), now)
        })
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

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|c| c.restart_count).max().unwrap_or(0)
}

/// Ages are compared by their magnitude, so that among pods of about the same age chance decides.
fn younger_first(a: Option<Timestamp>, b: Option<Timestamp>, pods: (&Pod, &Pod), now: Timestamp) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if a != b => {
            let magnitude = |t: Timestamp| (now.duration_since(t).as_nanos().max(1) as f64).log2() as i64;
            magnitude(a).cmp(&magnitude(b)).then_with(|| pods.0.metadata.uid.cmp(&pods.1.metadata.uid))
        }
        (Some(_), Some(_)) => Ordering::Equal,
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}
