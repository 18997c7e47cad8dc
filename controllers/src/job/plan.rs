//! What a job needs next, and its status: plain functions on what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::conditions;
use client::EventType;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::ends::{self, totals};
use super::failure_policy::first_match;
use super::per_index::{self, PerIndex};
use super::pods::{Failures, index_of, is_failed, is_tracked, replaces_failed_only};
use super::{Said, removal, spec};
use crate::error::Result;
use crate::pod::{is_active, is_ready, is_terminal, is_terminating};

/// The backoff limit of a job that sets none.
const BACKOFF_LIMIT: i32 = 6;

/// What to do.
#[derive(Default)]
pub(super) struct Plan {
    /// The status. Its pods are counted as they are now, before any is created or deleted.
    pub(super) status: JobStatus,
    /// Pods to create, each with its index in an indexed job.
    pub(super) create: Vec<Option<i32>>,
    /// What the pods to create carry of the failures of their index, where the job limits those.
    pub(super) failures: Option<BTreeMap<i32, Failures>>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Whether the pods to delete are let go before, as they run for nothing: their end is no failure of the job.
    pub(super) lets_go: bool,
    /// Pods whose end the status tells.
    pub(super) counted: Vec<Arc<Pod>>,
    /// The actions that the failure policy asks for because of new failures.
    pub(super) by_policy: Vec<String>,
    /// Whether there are ends that found no room in the status.
    pub(super) unnamed: bool,
    /// When the new failures and successes were.
    pub(super) failed_at: Vec<Timestamp>,
    pub(super) succeeded_at: Vec<Timestamp>,
    pub(super) look_again: Option<Duration>,
    pub(super) events: Vec<Said>,
}

/// Whether a condition is true.
pub(super) fn has(status: &JobStatus, type_: &str) -> bool {
    conditions::is_true(status.conditions.iter().flatten(), type_)
}

/// Whether the job has ended for good.
pub(super) fn is_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|s| conditions::job_end(s.conditions.iter().flatten()).is_some())
}

pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

fn is_suspended(spec: &JobSpec) -> bool {
    spec.suspend.unwrap_or(false)
}

/// The plan for a job that has not ended, in the order of `syncJob`. A job that is not `settled` waits for what it has
/// created and deleted: it does neither, and decides nothing that depends on them.
pub(super) fn of(job: &Job, pods: &[Arc<Pod>], settled: bool, now: &Time) -> Result<Plan> {
    let spec = spec(job)?;
    let mut plan = Plan { status: job.status.clone().unwrap_or_default(), ..Plan::default() };
    if !is_suspended(spec) && plan.status.start_time.is_none() {
        plan.status.start_time = Some(now.clone());
    }
    let per_index = ends::count(job, spec, pods, &mut plan);
    let active: Vec<Arc<Pod>> = pods.iter().filter(is_active).cloned().collect();
    let terminating = pods.iter().filter(|p| is_terminating(p) && !is_terminal(p)).count() as i32;
    plan.status.active = Some(active.len() as i32);
    plan.status.terminating = Some(terminating);
    plan.status.ready = Some(active.iter().filter(is_ready).count() as i32);
    let seen = Seen { job, spec, pods, active: &active, per_index: per_index.as_ref() };
    let verdict = judge(seen, &mut plan, now);
    let ending = has(&plan.status, "FailureTarget") || has(&plan.status, "SuccessCriteriaMet");
    if ending || verdict.is_some() {
        plan.delete = active.clone();
        if settled {
            end(seen, verdict, &mut plan, now);
        }
    } else {
        go_on(seen, settled && job.metadata.deletion_timestamp.is_none(), &mut plan, now);
    }
    let failing = has(&plan.status, "FailureTarget");
    let over = failing || has(&plan.status, "SuccessCriteriaMet");
    let counted = !plan.unnamed && !ends::any_uncounted(&plan.status);
    if over && counted && active.is_empty() && terminating == 0 {
        finish(spec, &mut plan, failing, now);
    }
    ends::tidy(&mut plan.status);
    Ok(plan)
}

/// The condition that ends a job: its type, reason and message.
type Verdict = (&'static str, &'static str, String);

/// The job ends, and its pods with it.
fn end(seen: Seen<'_>, verdict: Option<Verdict>, plan: &mut Plan, now: &Time) {
    if let Some((type_, reason, said)) = verdict {
        set(&mut plan.status, type_, "True", reason, &said, now);
    }
    seen.active.iter().filter(|p| is_tracked(p)).for_each(|pod| ends::end_with_job(seen.spec, pod, plan));
}

/// The job goes on: pods come and go, and it may turn out complete.
fn go_on(seen: Seen<'_>, may_manage: bool, plan: &mut Plan, now: &Time) {
    let Seen { spec, active, .. } = seen;
    if may_manage {
        balance(seen, plan, now);
    }
    let left = active.len() - plan.delete.len();
    let (succeeded, _) = totals(&plan.status);
    let complete = left == 0 && spec.completions.map_or(succeeded > 0, |wanted| succeeded >= wanted);
    if complete {
        plan.create.clear();
        let said = "Reached expected number of succeeded pods";
        set(&mut plan.status, "SuccessCriteriaMet", "True", "CompletionsReached", said, now);
    } else if may_manage {
        suspend_or_resume(spec, plan, now);
    }
}

fn suspend_or_resume(spec: &JobSpec, plan: &mut Plan, now: &Time) {
    if is_suspended(spec) && !has(&plan.status, "Suspended") {
        set(&mut plan.status, "Suspended", "True", "JobSuspended", "Job suspended", now);
        plan.status.start_time = None;
        plan.events.push((EventType::Normal, "Suspended", "Job suspended".into()));
    } else if !is_suspended(spec) && has(&plan.status, "Suspended") {
        set(&mut plan.status, "Suspended", "False", "JobResumed", "Job resumed", now);
        plan.status.start_time = Some(now.clone());
        plan.events.push((EventType::Normal, "Resumed", "Job resumed".into()));
    }
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

/// Whether the job ends by failing or by its success policy, unless that is decided already.
fn judge(seen: Seen<'_>, plan: &mut Plan, now: &Time) -> Option<Verdict> {
    if has(&plan.status, "FailureTarget") || has(&plan.status, "SuccessCriteriaMet") {
        return None;
    }
    let deadline = deadline_left(seen.spec, plan, now);
    plan.look_again = deadline;
    let failed = failure(seen, plan, deadline).map(|(reason, said)| ("FailureTarget", reason, said));
    failed.or_else(|| {
        let said = per_index::succeeds(seen.spec, &plan.status)?;
        Some(("SuccessCriteriaMet", "SuccessPolicy", said))
    })
}

/// Why the job fails.
fn failure(seen: Seen<'_>, plan: &Plan, deadline: Option<Duration>) -> Option<(&'static str, String)> {
    let Seen { job, spec, pods, per_index, .. } = seen;
    let (succeeded, failed) = totals(&plan.status);
    let fatal = pods.iter().filter(|p| is_tracked(p) && is_failed(job, p)).find_map(|p| {
        let found = first_match(spec, p).filter(|found| found.asks("FailJob"))?;
        Some(found.said())
    });
    if let Some(said) = fatal {
        return Some(("PodFailurePolicy", said));
    }
    let limit = spec.backoff_limit.unwrap_or(BACKOFF_LIMIT);
    let restarts = pods.iter().filter(|p| !is_terminal(p)).map(|p| restarts(p)).sum::<i32>();
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
    let since = plan.status.start_time.as_ref().filter(|_| !is_suspended(spec))?;
    let ran = Duration::try_from(now.0.duration_since(since.0)).unwrap_or_default();
    Some(Duration::from_secs(deadline).saturating_sub(ran))
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let init = status.and_then(|s| s.init_container_statuses.as_ref()).into_iter().flatten();
    let main = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
    init.chain(main).map(|c| c.restart_count).sum()
}

/// Creates what is missing and deletes what is too much (`manageJob`).
fn balance(seen: Seen<'_>, plan: &mut Plan, now: &Time) {
    let Seen { spec, pods, active, per_index, .. } = seen;
    let (succeeded, _) = totals(&plan.status);
    let parallelism = spec.parallelism.unwrap_or(1);
    let running = active.len() as i32;
    let wanted = match spec.completions {
        _ if is_suspended(spec) => 0,
        None if succeeded > 0 => running,
        None => parallelism,
        Some(completions) => parallelism.min((completions - succeeded).max(0)),
    };
    let least = usize::try_from(running - wanted).unwrap_or(0);
    plan.delete = removal::choose(active, spec.completions.filter(|_| is_indexed(spec)), least);
    if !plan.delete.is_empty() || is_suspended(spec) {
        plan.lets_go = true;
        return;
    }
    // A job that replaces failed pods only waits for those that are ending.
    let waits = replaces_failed_only(spec);
    let ending: Vec<&Arc<Pod>> = pods.iter().filter(|p| waits && is_terminating(p) && !is_terminal(p)).collect();
    let missing = usize::try_from(wanted - running - ending.len() as i32).unwrap_or(0);
    if !is_indexed(spec) {
        plan.create = vec![None; missing];
        return;
    }
    let completions = spec.completions.unwrap_or(0);
    let done = super::indexes::parse(plan.status.completed_indexes.as_deref().unwrap_or_default(), completions);
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

fn finish(spec: &JobSpec, plan: &mut Plan, failing: bool, now: &Time) {
    let target = if failing { "FailureTarget" } else { "SuccessCriteriaMet" };
    let why = plan.status.conditions.iter().flatten().find(|c| c.type_ == target).cloned();
    let (reason, said) = why.map(|c| (c.reason.unwrap_or_default(), c.message.unwrap_or_default())).unwrap_or_default();
    if failing {
        set(&mut plan.status, "Failed", "True", &reason, &said, now);
        plan.events.push((EventType::Warning, event_reason(&reason), said));
    } else {
        set(&mut plan.status, "Complete", "True", &reason, &said, now);
        plan.status.completion_time = Some(now.clone());
        if spec.completions.is_some_and(|wanted| plan.status.succeeded.unwrap_or(0) > wanted) {
            let said = "Too many succeeded pods running after completion count reached";
            plan.events.push((EventType::Warning, "TooManySucceededPods", said.into()));
        }
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
