//! What a job needs next, and its status: plain functions on what is known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use k8s_openapi::api::batch::v1::{
    Job, JobCondition, JobSpec, JobStatus, PodFailurePolicyRule, UncountedTerminatedPods,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::pods::{index_of, is_failed, is_tracked};
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
    pub(super) delete: Vec<Arc<Pod>>,
    /// Pods whose end the status tells.
    pub(super) counted: Vec<Arc<Pod>>,
    pub(super) new_failures: u32,
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
    let ignored = count_ends(job, spec, pods, &mut plan);
    let active: Vec<Arc<Pod>> = pods.iter().filter(|p| is_active(p)).cloned().collect();
    let terminating = pods.iter().filter(|p| is_terminating(p) && !is_terminal(p)).count() as i32;
    plan.status.terminating = Some(terminating);
    plan.status.ready = Some(active.iter().filter(|p| is_ready(p)).count() as i32);
    let suspended = spec.suspend.unwrap_or(false);
    judge(job, spec, pods, &active, ignored, &mut plan, now);
    let failing = has(&plan.status, "FailureTarget");
    let ending = failing || has(&plan.status, "SuccessCriteriaMet");
    if ending || suspended {
        plan.delete = active.clone();
    } else {
        balance(spec, &active, terminating, &mut plan, now);
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

/// Takes new ends into the status. Returns how many failures the failure policy ignores in this round.
fn count_ends(job: &Job, spec: &JobSpec, pods: &[Arc<Pod>], plan: &mut Plan) -> i32 {
    let status = &mut plan.status;
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
    let mut ignored = 0;
    for pod in pods.iter().filter(|p| is_tracked(p)) {
        let uid = pod.uid().unwrap_or_default();
        if phase(pod) == "Succeeded" {
            if indexed {
                let fresh = index_of(pod).filter(|i| *i < completions).is_some_and(|i| done.insert(i));
                plan.new_successes += u32::from(fresh);
            } else if !uncounted.succeeded.iter().flatten().any(|u| *u == uid) {
                uncounted.succeeded.get_or_insert_default().push(uid);
                plan.new_successes += 1;
            }
            plan.counted.push(pod.clone());
        } else if is_failed(job, pod) {
            let known = uncounted.failed.iter().flatten().any(|u| *u == uid);
            if !known && matching_rule(spec, pod).is_some_and(|r| r.action == "Ignore") {
                ignored += 1;
            } else if !known {
                uncounted.failed.get_or_insert_default().push(uid);
                plan.new_failures += 1;
            }
            plan.counted.push(pod.clone());
        }
    }
    if indexed {
        status.completed_indexes = Some(indexes::write(&done)).filter(|t| !t.is_empty());
        status.succeeded = Some(done.len() as i32).filter(|n| *n != 0);
    }
    let list = |l: Option<Vec<String>>| l.filter(|l| !l.is_empty());
    status.uncounted_terminated_pods =
        Some(UncountedTerminatedPods { failed: list(uncounted.failed), succeeded: list(uncounted.succeeded) });
    ignored
}

fn totals(status: &JobStatus) -> (i32, i32) {
    let uncounted = status.uncounted_terminated_pods.as_ref();
    let more = |list: Option<&Vec<String>>| list.map_or(0, Vec::len) as i32;
    (
        status.succeeded.unwrap_or(0) + more(uncounted.and_then(|u| u.succeeded.as_ref())),
        status.failed.unwrap_or(0) + more(uncounted.and_then(|u| u.failed.as_ref())),
    )
}

/// Decides whether the job has failed or succeeded.
fn judge(job: &Job, spec: &JobSpec, pods: &[Arc<Pod>], active: &[Arc<Pod>], ignored: i32, plan: &mut Plan, now: &Time) {
    if has(&plan.status, "FailureTarget") || has(&plan.status, "SuccessCriteriaMet") {
        return;
    }
    let (succeeded, failed) = totals(&plan.status);
    let limit = spec.backoff_limit.unwrap_or(BACKOFF_LIMIT);
    let restarts = || active.iter().map(|p| restarts(p)).sum::<i32>();
    let on_failure = spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) == Some("OnFailure");
    let deadline = deadline_left(spec, plan, now);
    let fatal = pods.iter().filter(|p| is_tracked(p) && phase(p) == "Failed").find_map(|p| {
        let rule = matching_rule(spec, p).filter(|r| r.action == "FailJob")?;
        let at = spec.pod_failure_policy.as_ref()?.rules.iter().position(|r| r == rule)?;
        Some(format!("Pod {}/{} matching FailJob rule at index {at}", p.namespace().unwrap_or_default(), p.name_any()))
    });
    if let Some(said) = fatal {
        set(&mut plan.status, "FailureTarget", "True", "PodFailurePolicy", &said, now);
    } else if (plan.new_failures > 0 && ignored < failed && failed > limit)
        || (on_failure && restarts() > 0 && restarts() >= limit)
    {
        let said = "Job has reached the specified backoff limit";
        set(&mut plan.status, "FailureTarget", "True", "BackoffLimitExceeded", said, now);
    } else if deadline.is_some_and(|left| left.is_zero()) {
        let said = "Job was active longer than specified deadline";
        set(&mut plan.status, "FailureTarget", "True", "DeadlineExceeded", said, now);
    } else {
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

/// The first rule of the failure policy that a failed pod matches.
fn matching_rule<'a>(spec: &'a JobSpec, pod: &Pod) -> Option<&'a PodFailurePolicyRule> {
    if phase(pod) != "Failed" {
        return None;
    }
    spec.pod_failure_policy.as_ref()?.rules.iter().find(|rule| {
        let by_code = rule.on_exit_codes.as_ref().is_some_and(|wanted| {
            let status = pod.status.as_ref();
            let init = status.and_then(|s| s.init_container_statuses.as_ref()).into_iter().flatten();
            let main = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
            init.chain(main).filter(|c| wanted.container_name.as_ref().is_none_or(|n| *n == c.name)).any(|c| {
                let ended = c.state.as_ref().and_then(|s| s.terminated.as_ref());
                ended.filter(|e| e.exit_code != 0).is_some_and(|e| match wanted.operator.as_str() {
                    "In" => wanted.values.contains(&e.exit_code),
                    _ => !wanted.values.contains(&e.exit_code),
                })
            })
        });
        let by_condition = rule.on_pod_conditions.iter().flatten().any(|wanted| {
            let status = wanted.status.as_deref().unwrap_or("True");
            crate::pod::condition(pod, &wanted.type_).is_some_and(|c| c.status == status)
        });
        by_code || by_condition
    })
}

/// Creates what is missing and deletes what is too much.
fn balance(spec: &JobSpec, active: &[Arc<Pod>], terminating: i32, plan: &mut Plan, now: &Time) {
    let (succeeded, _) = totals(&plan.status);
    let parallelism = spec.parallelism.unwrap_or(1);
    let running = active.len() as i32;
    let wanted = match spec.completions {
        None if succeeded > 0 => running.min(parallelism),
        None => parallelism,
        Some(completions) => parallelism.min((completions - succeeded).max(0)),
    };
    // A job that replaces failed pods only waits for those that are ending.
    let ending = if spec.pod_replacement_policy.as_deref() == Some("Failed") { terminating } else { 0 };
    if running > wanted {
        let mut victims = active.to_vec();
        victims.sort_by(|a, b| deletion_order((a, 0), (b, 0), now.0));
        victims.truncate((running - wanted) as usize);
        plan.delete = victims;
        return;
    }
    let missing = usize::try_from(wanted - running - ending).unwrap_or(0);
    if !is_indexed(spec) {
        plan.create = vec![None; missing];
        return;
    }
    let completions = spec.completions.unwrap_or(0);
    let done = indexes::parse(plan.status.completed_indexes.as_deref().unwrap_or_default(), completions);
    let taken: BTreeSet<i32> = active.iter().filter_map(|p| index_of(p)).collect();
    let free = (0..completions).filter(|i| !done.contains(i) && !taken.contains(i));
    plan.create = free.take(missing).map(Some).collect();
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
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(spec: Value) -> Job {
        let mut j = json!({"metadata": {"name": "j", "namespace": "ns"}, "spec": {"template": {}}});
        for (key, value) in spec.as_object().expect("fields") {
            j["spec"][key] = value.clone();
        }
        serde_json::from_value(j).expect("a job")
    }

    fn pod(name: &str, phase: &str, index: Option<i32>) -> Arc<Pod> {
        let mut p = json!({"metadata": {"name": name, "uid": name, "finalizers": ["batch.kubernetes.io/job-tracking"]},
            "status": {"phase": phase}});
        if let Some(index) = index {
            p["metadata"]["annotations"] = json!({"batch.kubernetes.io/job-completion-index": index.to_string()});
        }
        Arc::new(serde_json::from_value(p).expect("a pod"))
    }

    fn now() -> Time {
        Time("2026-01-01T00:00:00Z".parse().expect("a time"))
    }

    #[test]
    fn pods_are_made_until_enough_succeed() {
        let j = job(json!({"parallelism": 2, "completions": 3}));
        assert_eq!(of(&j, &[], &now()).expect("a plan").create.len(), 2);
        let pods = [pod("a", "Succeeded", None), pod("b", "Running", None)];
        let plan = of(&j, &pods, &now()).expect("a plan");
        assert_eq!((plan.create.len(), plan.counted.len()), (1, 1));
        assert_eq!(totals(&plan.status), (1, 0));
    }

    #[test]
    fn an_end_is_counted_once_and_then_the_job_completes() {
        let mut j = job(json!({"parallelism": 1, "completions": 1}));
        let first = of(&j, &[pod("a", "Succeeded", None)], &now()).expect("a plan");
        assert!(has(&first.status, "SuccessCriteriaMet") && !has(&first.status, "Complete"));
        j.status = Some(first.status);
        let mut counted = (*pod("a", "Succeeded", None)).clone();
        counted.metadata.finalizers = None;
        let second = of(&j, &[Arc::new(counted)], &now()).expect("a plan");
        assert!(has(&second.status, "Complete"));
        assert_eq!(second.status.succeeded, Some(1));
    }

    #[test]
    fn too_many_failures_end_it() {
        let j = job(json!({"parallelism": 1, "completions": 1, "backoffLimit": 1}));
        let one = of(&j, &[pod("a", "Failed", None)], &now()).expect("a plan");
        assert!(!has(&one.status, "FailureTarget"));
        let two = of(&j, &[pod("a", "Failed", None), pod("b", "Failed", None)], &now()).expect("a plan");
        assert!(has(&two.status, "FailureTarget"));
    }

    #[test]
    fn an_indexed_job_fills_its_gaps() {
        let j = job(json!({"parallelism": 3, "completions": 4, "completionMode": "Indexed"}));
        let pods = [pod("a", "Succeeded", Some(0)), pod("b", "Running", Some(2))];
        let plan = of(&j, &pods, &now()).expect("a plan");
        assert_eq!(plan.create, [Some(1), Some(3)]);
        assert_eq!(plan.status.completed_indexes.as_deref(), Some("0"));
    }

    #[test]
    fn a_suspended_job_has_no_pods() {
        let j = job(json!({"suspend": true, "parallelism": 1, "completions": 1}));
        let plan = of(&j, &[pod("a", "Running", None)], &now()).expect("a plan");
        assert_eq!((plan.create.len(), plan.delete.len()), (0, 1));
        assert!(plan.status.start_time.is_none());
    }
}
