//! What to do next, and the status: plain functions on what is known.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity::{ordinal, revision_of};
use crate::pod::{is_available, is_ready, is_terminal, is_terminating, phase};

/// The names of the revision that pods have and of the one they should get.
pub(super) struct Revisions {
    pub(super) current: String,
    pub(super) update: String,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Create the pod of a number, from the current revision or the update.
    Create { ordinal: i32, current: bool },
    /// Delete a pod.
    Delete(Arc<Pod>),
    /// See to a pod that is there.
    Keep { pod: Arc<Pod>, condemned: bool },
}

/// Whether pods come and go one after the other.
pub(super) fn is_ordered(set: &StatefulSet) -> bool {
    set.spec.as_ref().and_then(|s| s.pod_management_policy.as_deref()) != Some("Parallel")
}

pub(super) fn replicas(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

fn start(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.ordinals.as_ref()?.start).unwrap_or(0)
}

fn min_ready(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
}

fn updates_on_delete(set: &StatefulSet) -> bool {
    let strategy = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref());
    strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete")
}

fn partition(set: &StatefulSet) -> Option<i32> {
    set.spec.as_ref()?.update_strategy.as_ref()?.rolling_update.as_ref()?.partition
}

/// Whether the pod of a number is made from the current revision and not from the update.
fn wants_current(set: &StatefulSet, ordinal: i32) -> bool {
    let kept = || set.status.as_ref().and_then(|s| s.current_replicas).unwrap_or(0);
    !updates_on_delete(set) && ordinal < start(set) + partition(set).unwrap_or_else(kept)
}

fn healthy(set: &StatefulSet, pod: &Pod, now: Timestamp) -> bool {
    phase(pod) == "Running" && is_available(pod, min_ready(set), now) && !is_terminating(pod)
}

/// The steps that can be made now. An ordered set makes one at a time and waits for its outcome.
pub(super) fn steps(set: &StatefulSet, pods: &[Arc<Pod>], revisions: &Revisions, now: Timestamp) -> Vec<Step> {
    let (first, end) = (start(set), start(set) + replicas(set));
    let ordered = is_ordered(set);
    let mut wanted: Vec<(i32, Option<&Arc<Pod>>)> = (first..end).map(|n| (n, None)).collect();
    let mut condemned: Vec<(i32, &Arc<Pod>)> = Vec::new();
    for pod in pods {
        match ordinal(set, pod) {
            Some(n) if (first..end).contains(&n) => wanted[(n - first) as usize].1 = Some(pod),
            Some(n) => condemned.push((n, pod)),
            None => {}
        }
    }
    condemned.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    let mut steps: Vec<Step> =
        condemned.iter().map(|(_, pod)| Step::Keep { pod: (*pod).clone(), condemned: true }).collect();
    for (n, pod) in &wanted {
        let Some(pod) = pod else {
            steps.push(Step::Create { ordinal: *n, current: wants_current(set, *n) });
            if ordered {
                return steps;
            }
            continue;
        };
        if is_terminal(pod) {
            steps.push(Step::Delete((*pod).clone()));
            if ordered {
                return steps;
            }
            continue;
        }
        steps.push(Step::Keep { pod: (*pod).clone(), condemned: false });
        if ordered && !healthy(set, pod, now) {
            // Nothing comes after a pod that is not well yet, as the reference has it.
            return steps;
        }
    }
    let waits = scale_down(set, &wanted, &condemned, now, &mut steps);
    if !waits && !updates_on_delete(set) {
        steps.extend(update(set, &wanted, revisions, now).map(Step::Delete));
    }
    steps
}

/// Deletes condemned pods, from the highest number down. Says whether an ordered set has to wait.
fn scale_down(
    set: &StatefulSet,
    wanted: &[(i32, Option<&Arc<Pod>>)],
    condemned: &[(i32, &Arc<Pod>)],
    now: Timestamp,
    steps: &mut Vec<Step>,
) -> bool {
    let ordered = is_ordered(set);
    let replica_sick = wanted.iter().any(|(_, p)| p.is_none_or(|p| !healthy(set, p, now)));
    let first_sick = condemned.iter().rev().find(|(_, p)| !healthy(set, p, now)).map(|(n, _)| *n);
    for (n, pod) in condemned {
        if is_terminating(pod) {
            if ordered {
                return true;
            }
            continue;
        }
        let is_first_sick = !replica_sick && first_sick == Some(*n);
        if ordered && !healthy(set, pod, now) && !is_first_sick {
            return true;
        }
        steps.push(Step::Delete((*pod).clone()));
        if ordered {
            return true;
        }
    }
    !condemned.is_empty()
}

/// The next pod to replace, from the highest number down to the partition.
fn update(
    set: &StatefulSet,
    wanted: &[(i32, Option<&Arc<Pod>>)],
    revisions: &Revisions,
    now: Timestamp,
) -> Option<Arc<Pod>> {
    let lowest = start(set) + partition(set).unwrap_or(0);
    for (n, pod) in wanted.iter().rev() {
        if *n < lowest {
            return None;
        }
        let pod = (*pod)?;
        if revision_of(pod) != revisions.update && !is_terminating(pod) {
            return Some(pod.clone());
        }
        if !healthy(set, pod, now) {
            return None;
        }
    }
    None
}

/// The status.
pub(super) fn status(set: &StatefulSet, pods: &[Arc<Pod>], revisions: &Revisions, now: Timestamp) -> StatefulSetStatus {
    let count = |wanted: &dyn Fn(&Pod) -> bool| pods.iter().filter(|p| wanted(p)).count() as i32;
    let running_ready = |p: &Pod| phase(p) == "Running" && is_ready(p);
    let of = |revision: &str| count(&|p| revision_of(p) == revision && !is_terminating(p));
    let some = |n: i32| Some(n).filter(|n| *n != 0);
    let (ready, updated) = (count(&running_ready), of(&revisions.update));
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: pods.len() as i32,
        ready_replicas: some(ready),
        available_replicas: Some(count(&|p| running_ready(p) && is_available(p, min_ready(set), now))),
        current_replicas: some(of(&revisions.current)),
        updated_replicas: some(updated),
        current_revision: Some(revisions.current.clone()),
        update_revision: Some(revisions.update.clone()),
        collision_count: None,
        conditions: set.status.as_ref().and_then(|s| s.conditions.clone()),
    };
    let complete = updated == replicas(set) && ready == replicas(set) && status.replicas == replicas(set);
    if !updates_on_delete(set) && complete {
        status.current_revision = status.update_revision.clone();
        status.current_replicas = status.updated_replicas;
    }
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(replicas: i32, policy: &str, partition: i32) -> StatefulSet {
        let s = json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas, "selector": {}, "template": {},
            "podManagementPolicy": policy,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}}});
        serde_json::from_value(s).expect("a set")
    }

    fn pod(n: i32, revision: &str, ready: bool) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        let p = json!({"metadata": {"name": format!("web-{n}"), "labels": {"controller-revision-hash": revision}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
        Arc::new(serde_json::from_value(p).expect("a pod"))
    }

    fn check(set: &StatefulSet, pods: &[Arc<Pod>], expected: &[&str]) {
        let revisions = Revisions { current: "a".into(), update: "b".into() };
        let steps = steps(set, pods, &revisions, Timestamp::UNIX_EPOCH);
        let said: Vec<_> = steps
            .iter()
            .filter_map(|s| match s {
                Step::Create { ordinal, current } => Some(format!("+{ordinal}{}", if *current { "a" } else { "b" })),
                Step::Delete(p) => Some(format!("-{}", p.metadata.name.as_deref().unwrap_or_default())),
                Step::Keep { .. } => None,
            })
            .collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn pods_come_in_order() {
        let s = set(3, "OrderedReady", 0);
        check(&s, &[], &["+0b"]);
        check(&s, &[pod(0, "b", false)], &[]);
        check(&s, &[pod(0, "b", true)], &["+1b"]);
        check(&set(3, "Parallel", 0), &[], &["+0b", "+1b", "+2b"]);
    }

    #[test]
    fn a_partition_keeps_the_old_revision() {
        let s = set(3, "OrderedReady", 2);
        check(&s, &[pod(0, "a", true)], &["+1a"]);
        check(&s, &[pod(0, "a", true), pod(1, "a", true), pod(2, "a", true)], &["-web-2"]);
        check(&s, &[pod(0, "a", true), pod(1, "a", true), pod(2, "b", true)], &[]);
    }

    #[test]
    fn an_update_goes_from_the_top_and_waits() {
        let s = set(3, "OrderedReady", 0);
        check(&s, &[pod(0, "a", true), pod(1, "a", true), pod(2, "b", true)], &["-web-1"]);
        check(&s, &[pod(0, "a", true), pod(1, "a", true), pod(2, "b", false)], &[]);
    }

    #[test]
    fn scaling_down_takes_the_highest_number() {
        check(&set(1, "OrderedReady", 0), &[pod(0, "b", true), pod(1, "b", true), pod(2, "b", true)], &["-web-2"]);
        let all = [pod(0, "b", true), pod(1, "b", true), pod(2, "b", true)];
        check(&set(1, "Parallel", 0), &all, &["-web-2", "-web-1"]);
    }
}
