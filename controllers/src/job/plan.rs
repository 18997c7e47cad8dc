//! What a job needs next, and its status: plain functions on what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::failure_policy::{counts, first_match};
use super::per_index::{self, PerIndex};
use super::pods::{Failures, finished_at, index_of, is_failed, is_tracked};
use super::{Said, indexes, spec};
use crate::error::Result;
use crate::pod::{deletion_order, is_active, is_ready, is_terminal, is_terminating, phase};

/// The backoff limit of a job that sets none.
const BACKOFF_LIMIT: i32 = 6;

/// What to do.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) status: JobStatus,
    /// Pods to create, each with its index in an indexed job.
    pub(super) create: Vec<Option<i32>>,
    /// What the pods to create carry of the failures of their index, where the job limits those.
    pub(super) failures: Option<BTreeMap<i32, Failures>>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Pods whose end the status tells.
    pub(super) counted: Vec<Arc<Pod>>,
    pub(super) new_failures: u32,
    /// When the last of the new failures was.
    pub(super) failed_at: Option<Timestamp>,
    pub(super) new_successes: u32,
    pub(super) look_again: Option<Duration>,
    pub(super) events: Vec<Said>,
}

fn has(status: &JobStatus, type_: &str) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == type_ && c.status == "True")
}

/// Whether the job has ended for good.
pub(super) fn is_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|s| has(s, "Complete") || has(s, "Failed"))
}

fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// The plan for a job that has not ended.
pub(super) fn of(job: &Job, pods: &[Arc<Pod>], now: &Time) -> Result<Plan> {
    let spec = spec(job)?;
    let mut plan = Plan { status: job.status.clone().unwrap_or_default(), ..Plan::default() };
    suspend_or_start(spec, &mut plan, now);
    let per_index = count_ends(job, spec, pods, &mut plan);
    let active: Vec<Arc<Pod>> = pods.iter().filter(|p| is_active(p)).cloned().collect();
    let terminating = pods.iter().filter(|p| is_terminating(p) && !is_terminal(p)).count() as i32;
    plan.status.terminating = Some(terminating);
    plan.status.ready = Some(active.iter().filter(|p| is_ready(p)).count() as i32);
    let suspended = spec.suspend.unwrap_or(false);
    let seen = Seen { job, spec, pods, active: &active, per_index: per_index.as_ref() };
    judge(seen, &mut plan, now);
    let failing = has(&plan.status, "FailureTarget");
    let ending = failing || has(&plan.status, "SuccessCriteriaMet");
    if ending || suspended {
        plan.delete = active.clone();
    } else {
        balance(seen, &mut plan, now);
    }
    let left = active.len() - plan.delete.len().min(active.len());
    plan.status.active = Some(left as i32).filter(|n| *n != 0);
    let uncounted = plan.status.uncounted_terminated_pods.as_ref();
    let all_counted =
        uncounted.is_none_or(|u| u.failed.iter().flatten().chain(u.succeeded.iter().flatten()).next().is_none());
    if ending && all_counted && active.is_empty() && terminating == 0 {
        finish(&mut plan, failing, now);
    }
    Ok(plan)
}

fn suspend_or_start(spec: &JobSpec, plan: &mut Plan, now: &Time) {
    let suspended = spec.suspend.unwrap_or(false);
    if suspended && !has(&plan.status, "Suspended") {
        set(&mut plan.status, "Suspended", "True", "JobSuspended", "Job suspended", now);
        plan.status.start_time = None;
        plan.events.push((EventType::Normal, "Suspended", "Job suspended".into()));
    } else if !suspended && has(&plan.status, "Suspended") {
        set(&mut plan.status, "Suspended", "False", "JobResumed", "Job resumed", now);
        plan.events.push((EventType::Normal, "Resumed", "Job resumed".into()));
    }
    if !suspended && plan.status.start_time.is_none() {
        plan.status.start_time = Some(now.clone());
    }
}

/// Takes new ends into the status. Returns what is known of each index, where failures are counted by index.
fn count_ends(job: &Job, spec: &JobSpec, pods: &[Arc<Pod>], plan: &mut Plan) -> Option<PerIndex> {
    let status = &mut plan.status;
    let ending = has(status, "FailureTarget") || has(status, "SuccessCriteriaMet");
    let mut uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
    let held = |uid: &String| pods.iter().any(|p| p.metadata.uid.as_ref() == Some(uid) && is_tracked(p));
    let indexed = is_indexed(spec);
    let settle = |list: &mut Option<Vec<String>>, number: &mut Option<i32>, counts: bool| {
        let (keep, done): (Vec<_>, Vec<_>) = list.take().unwrap_or_default().into_iter().partition(held);
        if counts && !done.is_empty() {
            *number = Some(number.unwrap_or(0) + done.len() as i32);
        }
        *list = Some(keep);
    };
    settle(&mut uncounted.succeeded, &mut status.succeeded, !indexed);
    settle(&mut uncounted.failed, &mut status.failed, true);
    let completions = spec.completions.unwrap_or(0);
    let mut done = indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions);
    for pod in pods.iter().filter(|p| is_tracked(p) && phase(p) == "Succeeded") {
        let uid = pod.uid().unwrap_or_default();
        if indexed {
            let fresh = index_of(pod).filter(|i| *i < completions).is_some_and(|i| done.insert(i));
            plan.new_successes += u32::from(fresh);
        } else if !uncounted.succeeded.iter().flatten().any(|u| *u == uid) {
            uncounted.succeeded.get_or_insert_default().push(uid);
            plan.new_successes += 1;
        }
        plan.counted.push(pod.clone());
    }
    let per_index = per_index::of(job, spec, pods, &done);
    let waits = |pod: &Pod| !ending && per_index.as_ref().is_some_and(|state| state.waits(pod));
    // A job that ends waits for no pod that is on its way out; if it fails, they have failed with it.
    let failing = has(status, "FailureTarget");
    for pod in pods.iter().filter(|p| is_tracked(p) && phase(p) != "Succeeded" && !waits(p)) {
        let failed = is_failed(job, pod);
        if !(failed || ending && is_terminating(pod)) {
            continue;
        }
        let uid = pod.uid().unwrap_or_default();
        let counted = (failing || failed) && counts(spec, pod);
        if counted && !uncounted.failed.iter().flatten().any(|u| *u == uid) {
            uncounted.failed.get_or_insert_default().push(uid);
            plan.new_failures += 1;
            plan.failed_at = plan.failed_at.max(Some(finished_at(pod)));
        }
        plan.counted.push(pod.clone());
    }
    if indexed {
        status.completed_indexes = Some(indexes::write(&done)).filter(|t| !t.is_empty());
        status.succeeded = Some(done.len() as i32).filter(|n| *n != 0);
    }
    if let Some(state) = &per_index {
        status.failed_indexes = Some(indexes::write(&state.failed));
    }
    let list = |l: Option<Vec<String>>| l.filter(|l| !l.is_empty());
    status.uncounted_terminated_pods =
        Some(UncountedTerminatedPods { failed: list(uncounted.failed), succeeded: list(uncounted.succeeded) });
    per_index
}

fn totals(status: &JobStatus) -> (i32, i32) {
    let uncounted = status.uncounted_terminated_pods.as_ref();
    let more = |list: Option<&Vec<String>>| list.map_or(0, Vec::len) as i32;
    (
        status.succeeded.unwrap_or(0) + more(uncounted.and_then(|u| u.succeeded.as_ref())),
        status.failed.unwrap_or(0) + more(uncounted.and_then(|u| u.failed.as_ref())),
    )
}

/// A job and its pods, as a plan is made of them.
#[derive(Clone, Copy)]
struct Seen<'a> {
    job: &'a Job,
    spec: &'a JobSpec,
    pods: &'a [Arc<Pod>],
    /// Those of the pods that have not ended and are not asked to.
    active: &'a [Arc<Pod>],
    /// What is known of each index, where failures are counted by index.
    per_index: Option<&'a PerIndex>,
}

/// Decides whether the job has failed or succeeded, in the order of `syncJob`.
fn judge(seen: Seen<'_>, plan: &mut Plan, now: &Time) {
    let Seen { job, spec, active, .. } = seen;
    if has(&plan.status, "FailureTarget") || has(&plan.status, "SuccessCriteriaMet") {
        return;
    }
    let deadline = deadline_left(spec, plan, now);
    if let Some((reason, said)) = failure(seen, plan, deadline) {
        set(&mut plan.status, "FailureTarget", "True", reason, &said, now);
        return;
    }
    if let Some(said) = per_index::succeeds(spec, &plan.status) {
        set(&mut plan.status, "SuccessCriteriaMet", "True", "SuccessPolicy", &said, now);
        return;
    }
    let (succeeded, _) = totals(&plan.status);
    let complete = match spec.completions {
        None => succeeded > 0 && active.is_empty(),
        Some(wanted) => succeeded >= wanted,
    };
    let suspended_early = spec.suspend.unwrap_or(false) && job.status.is_none();
    if complete && !suspended_early {
        let said = "Reached expected number of succeeded pods";
        set(&mut plan.status, "SuccessCriteriaMet", "True", "CompletionsReached", said, now);
    }
    plan.look_again = deadline;
}

/// Why the job fails.
fn failure(seen: Seen<'_>, plan: &Plan, deadline: Option<Duration>) -> Option<(&'static str, String)> {
    let Seen { job, spec, pods, active, per_index } = seen;
    let (succeeded, failed) = totals(&plan.status);
    let fatal = pods.iter().filter(|p| is_tracked(p) && is_failed(job, p)).find_map(|p| {
        let found = first_match(spec, p).filter(|found| found.asks("FailJob"))?;
        Some(found.said())
    });
    if let Some(said) = fatal {
        return Some(("PodFailurePolicy", said));
    }
    let limit = spec.backoff_limit.unwrap_or(BACKOFF_LIMIT);
    let restarts = active.iter().map(|p| restarts(p)).sum::<i32>();
    let on_failure = spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) == Some("OnFailure");
    let waiting = per_index.map_or(0, |state| state.uncounted(spec));
    if failed + waiting > limit || (on_failure && restarts > 0 && restarts >= limit) {
        return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".into()));
    }
    if deadline.is_some_and(|left| left.is_zero()) {
        return Some(("DeadlineExceeded", "Job was active longer than specified deadline".into()));
    }
    let (reason, said) = per_index?.verdict(spec, usize::try_from(succeeded).unwrap_or(0))?;
    Some((reason, said.into()))
}

fn deadline_left(spec: &JobSpec, plan: &Plan, now: &Time) -> Option<Duration> {
    let deadline = u64::try_from(spec.active_deadline_seconds?).ok()?;
    let since = plan.status.start_time.as_ref().filter(|_| !spec.suspend.unwrap_or(false))?;
    let ran = Duration::try_from(now.0.duration_since(since.0)).unwrap_or_default();
    Some(Duration::from_secs(deadline).saturating_sub(ran))
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let init = status.and_then(|s| s.init_container_statuses.as_ref()).into_iter().flatten();
    let main = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
    init.chain(main).map(|c| c.restart_count).sum()
}

/// Creates what is missing and deletes what is too much.
fn balance(seen: Seen<'_>, plan: &mut Plan, now: &Time) {
    let Seen { spec, pods, active, per_index, .. } = seen;
    let (succeeded, _) = totals(&plan.status);
    let parallelism = spec.parallelism.unwrap_or(1);
    let running = active.len() as i32;
    let wanted = match spec.completions {
        None if succeeded > 0 => running.min(parallelism),
        None => parallelism,
        Some(completions) => parallelism.min((completions - succeeded).max(0)),
    };
    if running > wanted {
        let mut victims = active.to_vec();
        victims.sort_by(|a, b| deletion_order((a, 0), (b, 0), now.0));
        victims.truncate((running - wanted) as usize);
        plan.delete = victims;
        return;
    }
    // A job that replaces failed pods only waits for those that are ending.
    let waits = spec.pod_replacement_policy.as_deref() == Some("Failed");
    let ending: Vec<&Arc<Pod>> = pods.iter().filter(|p| waits && is_terminating(p) && !is_terminal(p)).collect();
    let missing = usize::try_from(wanted - running - ending.len() as i32).unwrap_or(0);
    if !is_indexed(spec) {
        plan.create = vec![None; missing];
        return;
    }
    let completions = spec.completions.unwrap_or(0);
    let done = indexes::parse(plan.status.completed_indexes.as_deref().unwrap_or_default(), completions);
    let taken: BTreeSet<i32> = active.iter().chain(ending).filter_map(|p| index_of(p)).collect();
    let failed = |i: &i32| per_index.is_some_and(|state| state.failed.contains(i));
    let free = (0..completions).filter(|i| !done.contains(i) && !taken.contains(i) && !failed(i)).take(missing);
    let Some(state) = per_index else {
        plan.create = free.map(Some).collect();
        return;
    };
    let mut failures = BTreeMap::new();
    for index in free {
        match state.wait(index, now.0) {
            Some(wait) => plan.look_again = plan.look_again.into_iter().chain([wait]).min(),
            None => {
                plan.create.push(Some(index));
                failures.insert(index, state.failures(spec, index));
            }
        }
    }
    plan.failures = Some(failures);
}

fn finish(plan: &mut Plan, failing: bool, now: &Time) {
    let target = if failing { "FailureTarget" } else { "SuccessCriteriaMet" };
    let why = plan.status.conditions.iter().flatten().find(|c| c.type_ == target).cloned();
    let (reason, said) = why.map(|c| (c.reason.unwrap_or_default(), c.message.unwrap_or_default())).unwrap_or_default();
    if failing {
        set(&mut plan.status, "Failed", "True", &reason, &said, now);
        plan.events.push((EventType::Warning, event_reason(&reason), said));
    } else {
        set(&mut plan.status, "Complete", "True", &reason, &said, now);
        plan.status.completion_time = Some(now.clone());
        plan.events.push((EventType::Normal, "Completed", "Job completed".into()));
    }
    plan.look_again = None;
}

fn event_reason(reason: &str) -> &'static str {
    match reason {
        "BackoffLimitExceeded" => "BackoffLimitExceeded",
        "DeadlineExceeded" => "DeadlineExceeded",
        "PodFailurePolicy" => "PodFailurePolicy",
        "MaxFailedIndexesExceeded" => "MaxFailedIndexesExceeded",
        "FailedIndexes" => "FailedIndexes",
        _ => "Failed",
    }
}

fn set(status: &mut JobStatus, type_: &str, value: &str, reason: &str, message: &str, now: &Time) {
    let conditions = status.conditions.get_or_insert_default();
    let condition = JobCondition {
        type_: type_.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    };
    match conditions.iter_mut().find(|c| c.type_ == type_) {
        Some(c) if c.status == value => {}
        Some(c) => *c = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
