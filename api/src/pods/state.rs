//! Where a pod is in its life (`pkg/api/v1/pod`, `pkg/controller`).

use std::time::Duration;

use jiff::Timestamp;

use super::view::PodView;
use crate::conditions::{self, Condition};

/// The phase; `Pending` if there is none yet.
pub fn phase(pod: &(impl PodView + ?Sized)) -> &str {
    pod.phase()
}

/// Whether all containers of a pod have ended and none will run again (`IsPodTerminal`).
pub fn is_terminal(pod: &(impl PodView + ?Sized)) -> bool {
    is_terminal_phase(pod.phase())
}

/// Whether a phase is never left (`IsPodPhaseTerminal`).
pub fn is_terminal_phase(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

/// Whether a pod is being deleted (`IsPodTerminating` has it that it did not end as well).
pub fn is_terminating(pod: &(impl PodView + ?Sized)) -> bool {
    pod.is_deleted()
}

/// Whether a pod counts as a replica (`IsPodActive`).
pub fn is_active(pod: &(impl PodView + ?Sized)) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

/// The condition of a type (`GetPodCondition`).
pub fn condition<'a, P: PodView + ?Sized>(pod: &'a P, type_: &str) -> Option<&'a P::Condition> {
    conditions::find(pod.conditions(), type_)
}

fn readiness<P: PodView + ?Sized>(pod: &P) -> Option<&P::Condition> {
    condition(pod, "Ready").filter(|condition| condition.status() == "True")
}

/// Whether a pod is ready (`IsPodReady`).
pub fn is_ready(pod: &(impl PodView + ?Sized)) -> bool {
    readiness(pod).is_some()
}

/// Since when a pod is ready.
pub fn ready_since(pod: &(impl PodView + ?Sized)) -> Option<Timestamp> {
    readiness(pod)?.since()
}

/// How long until a pod has been ready for `min_ready_seconds`: zero if it has, `None` if it is not ready.
pub fn available_in(pod: &(impl PodView + ?Sized), min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let ready = readiness(pod)?;
    let Some(wanted) = u64::try_from(min_ready_seconds).ok().filter(|seconds| *seconds > 0) else {
        return Some(Duration::ZERO);
    };
    let ready_for = Duration::try_from(now.duration_since(ready.since()?)).unwrap_or_default();
    Some(Duration::from_secs(wanted).saturating_sub(ready_for))
}

/// Whether a pod has been ready for `min_ready_seconds` (`IsPodAvailable`).
pub fn is_available(pod: &(impl PodView + ?Sized), min_ready_seconds: i32, now: Timestamp) -> bool {
    available_in(pod, min_ready_seconds, now) == Some(Duration::ZERO)
}
