//! The status of a deployment, and how long its rollout may take.

use std::sync::Arc;
use std::time::Duration;

use api::conditions;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::Sets;
use super::rolling::{available, max_unavailable, replicas, wanted};

const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// Whether the rollout has a deadline.
pub(super) fn has_deadline(d: &Deployment) -> bool {
    deadline(d).is_some()
}

fn deadline(d: &Deployment) -> Option<i32> {
    d.spec.as_ref().and_then(|s| s.progress_deadline_seconds).filter(|s| *s != i32::MAX)
}

/// The condition of a type.
pub(super) fn condition<'a>(d: &'a Deployment, type_: &str) -> Option<&'a DeploymentCondition> {
    conditions::find(d.status.as_ref()?.conditions.iter().flatten(), type_)
}

fn is_reason(d: &Deployment, type_: &str, reason: &str) -> bool {
    condition(d, type_).is_some_and(|c| c.reason.as_deref() == Some(reason))
}

fn remove(d: &mut Deployment, type_: &str) {
    let status = d.status.get_or_insert_default();
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.type_ != type_);
    }
    status.conditions = status.conditions.take().filter(|c| !c.is_empty());
}

/// Sets a condition, unless it is there with this status and reason.
pub(super) fn set(d: &mut Deployment, type_: &str, status: &str, reason: &str, message: String, now: &Time) {
    let old = condition(d, type_).cloned();
    if old.as_ref().is_some_and(|c| c.status == status && c.reason.as_deref() == Some(reason)) {
        return;
    }
    let since = old.filter(|c| c.status == status).and_then(|c| c.last_transition_time);
    remove(d, type_);
    d.status.get_or_insert_default().conditions.get_or_insert_default().push(DeploymentCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
    });
}

/// Notes that the deployment was paused or resumed, so that the time of the pause does not count as lack of progress.
pub(super) fn note_pause(d: &mut Deployment, now: &Time) {
    if !has_deadline(d) || is_reason(d, "Progressing", TIMED_OUT) {
        return;
    }
    let paused = d.spec.as_ref().is_some_and(|s| s.paused.unwrap_or(false));
    let noted = is_reason(d, "Progressing", "DeploymentPaused");
    if paused && !noted {
        set(d, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".into(), now);
    } else if !paused && noted {
        set(d, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".into(), now);
    }
}

/// Whether every wanted pod is of the new template and available, and no other is left.
pub(super) fn is_complete(d: &Deployment, sets: &Sets) -> bool {
    let counted = count(d, sets);
    complete(d, &counted)
}

fn complete(d: &Deployment, s: &DeploymentStatus) -> bool {
    let all = |n: Option<i32>| n.unwrap_or(0) == wanted(d);
    all(s.updated_replicas) && all(s.replicas) && all(s.available_replicas)
}

fn count(d: &Deployment, sets: &Sets) -> DeploymentStatus {
    let all = sets.all();
    let sum = |of: &dyn Fn(&ReplicaSet) -> i32, sets: &[Arc<ReplicaSet>]| sets.iter().map(|s| of(s)).sum::<i32>();
    let actual = |s: &ReplicaSet| s.status.as_ref().map_or(0, |s| s.replicas);
    let ready = |s: &ReplicaSet| s.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0);
    let available = sum(&available, &all);
    let some = |n: i32| Some(n).filter(|n| *n != 0);
    let terminating: Option<Vec<i32>> =
        all.iter().map(|s| s.status.as_ref().and_then(|s| s.terminating_replicas)).collect();
    let old = d.status.clone().unwrap_or_default();
    DeploymentStatus {
        observed_generation: d.metadata.generation,
        replicas: some(sum(&actual, &all)),
        updated_replicas: some(sets.new.as_ref().map_or(0, |s| actual(s))),
        ready_replicas: some(sum(&ready, &all)),
        available_replicas: some(available),
        unavailable_replicas: some((sum(&replicas, &all) - available).max(0)),
        terminating_replicas: terminating.map(|t| t.iter().sum()),
        collision_count: old.collision_count,
        conditions: old.conditions,
    }
}

/// Computes the status. Returns when to look again because the rollout may time out.
pub(super) fn update(d: &mut Deployment, sets: &Sets, rolling_out: bool, now: &Time) -> Option<Duration> {
    let before = d.status.clone().unwrap_or_default();
    let counted = count(d, sets);
    d.status = Some(counted.clone());
    if counted.available_replicas.unwrap_or(0) >= wanted(d) - max_unavailable(d) {
        let said = "Deployment has minimum availability.".into();
        set(d, "Available", "True", "MinimumReplicasAvailable", said, now);
    } else {
        let said = "Deployment does not have minimum availability.".into();
        set(d, "Available", "False", "MinimumReplicasUnavailable", said, now);
    }
    if !rolling_out {
        return None;
    }
    report_progress(d, sets, &before, now);
    report_failure(d, sets);
    next_check(d, &counted, now)
}

fn report_progress(d: &mut Deployment, sets: &Sets, before: &DeploymentStatus, now: &Time) {
    if !has_deadline(d) {
        return remove(d, "Progressing");
    }
    let counted = d.status.clone().unwrap_or_default();
    let resting = counted.replicas == counted.updated_replicas && is_reason(d, "Progressing", COMPLETE);
    if resting {
        return;
    }
    let who = match &sets.new {
        Some(new) => format!("ReplicaSet \"{}\"", new.name_any()),
        None => format!("Deployment \"{}\"", d.name_any()),
    };
    if complete(d, &counted) {
        set(d, "Progressing", "True", COMPLETE, format!("{who} has successfully progressed."), now);
    } else if progressed(before, &counted) {
        let since =
            condition(d, "Progressing").filter(|c| c.status == "True").and_then(|c| c.last_transition_time.clone());
        // Each progress renews the time from which the deadline counts.
        remove(d, "Progressing");
        set(d, "Progressing", "True", "ReplicaSetUpdated", format!("{who} is progressing."), now);
        if let Some(since) = since
            && let Some(last) = d.status.as_mut().and_then(|s| s.conditions.as_mut()?.last_mut())
        {
            last.last_transition_time = Some(since);
        }
    } else if left(d, now).is_some_and(|left| left.is_zero()) {
        set(d, "Progressing", "False", TIMED_OUT, format!("{who} has timed out progressing."), now);
    }
}

fn progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let n = |v: Option<i32>| v.unwrap_or(0);
    let old = |s: &DeploymentStatus| n(s.replicas) - n(s.updated_replicas);
    n(after.updated_replicas) > n(before.updated_replicas)
        || old(after) < old(before)
        || n(after.ready_replicas) > n(before.ready_replicas)
        || n(after.available_replicas) > n(before.available_replicas)
}

/// What is left of the deadline, if it runs.
fn left(d: &Deployment, now: &Time) -> Option<Duration> {
    let running = condition(d, "Progressing").filter(|c| c.reason.as_deref() != Some(COMPLETE))?;
    let until = Duration::from_secs(u64::try_from(deadline(d)?).ok()?);
    let since = Duration::try_from(now.0.duration_since(running.last_update_time.as_ref()?.0)).unwrap_or_default();
    Some(until.saturating_sub(since))
}

fn next_check(d: &Deployment, counted: &DeploymentStatus, now: &Time) -> Option<Duration> {
    if complete(d, counted) || is_reason(d, "Progressing", TIMED_OUT) {
        return None;
    }
    // One second more, because the condition's time has whole seconds only.
    left(d, now).map(|left| left + Duration::from_secs(1))
}

/// Passes on why ReplicaSets cannot create pods, the new one's reason first.
fn report_failure(d: &mut Deployment, sets: &Sets) {
    let failure =
        sets.new.iter().chain(&sets.old).find_map(|s| {
            s.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == "ReplicaFailure").cloned()
        });
    match failure {
        None => remove(d, "ReplicaFailure"),
        Some(c) => {
            let at = c.last_transition_time.unwrap_or(Time(jiff::Timestamp::UNIX_EPOCH));
            let (reason, message) = (c.reason.unwrap_or_default(), c.message.unwrap_or_default());
            set(d, "ReplicaFailure", &c.status, &reason, message, &at);
        }
    }
}
