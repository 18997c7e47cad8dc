//! The ends of a job's pods, as its status counts them.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::failure_policy::{counts, first_match};
use super::indexes;
use super::per_index::{self, PerIndex};
use super::plan::{Plan, has, is_indexed};
use super::pods::{finished_at, index_of, is_failed, is_tracked};
use crate::pod::{is_terminating, phase};

/// Ends that the status names at a time (`MaxUncountedPods` in the reference).
const UNCOUNTED_MAX: usize = 500;

/// Takes new ends into the status. Returns what is known of each index, where failures are counted by index.
pub(super) fn count(job: &Job, spec: &JobSpec, pods: &[Arc<Pod>], plan: &mut Plan) -> Option<PerIndex> {
    settle(spec, pods, &mut plan.status);
    let completions = spec.completions.unwrap_or(0);
    let mut done = indexes::parse(plan.status.completed_indexes.as_deref().unwrap_or_default(), completions);
    for pod in pods.iter().filter(|p| is_tracked(p) && phase(p) == "Succeeded") {
        succeed(spec, pod, &mut done, plan);
    }
    let per_index = per_index::of(job, spec, pods, &done);
    let ending = has(&plan.status, "FailureTarget") || has(&plan.status, "SuccessCriteriaMet");
    let waits = |pod: &Pod| !ending && per_index.as_ref().is_some_and(|state| state.waits(pod));
    for pod in pods.iter().filter(|p| is_tracked(p) && phase(p) != "Succeeded") {
        if is_failed(job, pod) {
            plan.failed_at.extend(is_news(spec, pod, &plan.status).then(|| finished_at(pod)));
            if !waits(pod) {
                fail(spec, pod, plan);
            }
        } else if ending && is_terminating(pod) {
            end_with_job(spec, pod, plan);
        }
    }
    if is_indexed(spec) {
        plan.status.completed_indexes = Some(indexes::write(&done)).filter(|t| !t.is_empty());
        plan.status.succeeded = Some(done.len() as i32).filter(|n| *n != 0);
    }
    if let Some(state) = &per_index {
        plan.status.failed_indexes = Some(indexes::write(&state.failed));
    }
    per_index
}

/// A pod ends because its job does. With a job that fails it has failed; with one that succeeds it counts as nothing.
pub(super) fn end_with_job(spec: &JobSpec, pod: &Arc<Pod>, plan: &mut Plan) {
    if has(&plan.status, "FailureTarget") {
        fail(spec, pod, plan);
    } else if has_room(plan) {
        plan.counted.push(pod.clone());
    }
}

/// Whether every end that was to be named fits into the status.
fn has_room(plan: &mut Plan) -> bool {
    plan.unnamed |= plan.counted.len() >= UNCOUNTED_MAX;
    !plan.unnamed
}

fn succeed(spec: &JobSpec, pod: &Arc<Pod>, done: &mut BTreeSet<i32>, plan: &mut Plan) {
    if !has_room(plan) {
        return;
    }
    let uid = pod.uid().unwrap_or_default();
    let uncounted = plan.status.uncounted_terminated_pods.get_or_insert_default();
    let news = if is_indexed(spec) {
        index_of(pod).filter(|i| *i < spec.completions.unwrap_or(0)).is_some_and(|i| done.insert(i))
    } else {
        let named = uncounted.succeeded.get_or_insert_default();
        let news = !named.contains(&uid);
        named.extend(news.then_some(uid));
        news
    };
    plan.succeeded_at.extend(news.then(|| finished_at(pod)));
    plan.counted.push(pod.clone());
}

fn fail(spec: &JobSpec, pod: &Arc<Pod>, plan: &mut Plan) {
    if !has_room(plan) {
        return;
    }
    let is_news = is_news(spec, pod, &plan.status);
    let rule = first_match(spec, pod).filter(|_| is_news);
    plan.by_policy.extend(rule.map(|rule| rule.action().to_owned()));
    if is_news && counts(spec, pod) {
        let uncounted = plan.status.uncounted_terminated_pods.get_or_insert_default();
        uncounted.failed.get_or_insert_default().push(pod.uid().unwrap_or_default());
    }
    plan.counted.push(pod.clone());
}

/// Whether the failure of a pod is one of the job's, and not named yet. A pod of an index that the job does not have is
/// none of its pods (`getValidPodsWithFilter`).
fn is_news(spec: &JobSpec, pod: &Pod, status: &JobStatus) -> bool {
    let valid = !is_indexed(spec) || index_of(pod).is_some_and(|index| index < spec.completions.unwrap_or(0));
    let named = status.uncounted_terminated_pods.as_ref().and_then(|u| u.failed.as_deref()).unwrap_or_default();
    valid && !named.iter().any(|uid| Some(uid) == pod.metadata.uid.as_ref())
}

/// Makes numbers of the named ends whose pods have been let go.
fn settle(spec: &JobSpec, pods: &[Arc<Pod>], status: &mut JobStatus) {
    let held: BTreeSet<&str> =
        pods.iter().filter(|p| is_tracked(p)).filter_map(|p| p.metadata.uid.as_deref()).collect();
    let settle = |list: Option<Vec<String>>, number: &mut Option<i32>, counts: bool| {
        let (keep, done): (Vec<_>, Vec<_>) = list.unwrap_or_default().into_iter().partition(|u| held.contains(&**u));
        if counts && !done.is_empty() {
            *number = Some(number.unwrap_or(0) + done.len() as i32);
        }
        Some(keep).filter(|list| !list.is_empty())
    };
    let uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
    status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
        succeeded: settle(uncounted.succeeded, &mut status.succeeded, !is_indexed(spec)),
        failed: settle(uncounted.failed, &mut status.failed, true),
    });
}

/// Drops lists that turned out empty.
pub(super) fn tidy(status: &mut JobStatus) {
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    uncounted.succeeded = uncounted.succeeded.take().filter(|list| !list.is_empty());
    uncounted.failed = uncounted.failed.take().filter(|list| !list.is_empty());
}

/// How many pods have succeeded and failed, counted or named.
pub(super) fn totals(status: &JobStatus) -> (i32, i32) {
    let uncounted = status.uncounted_terminated_pods.as_ref();
    let more = |list: Option<&Vec<String>>| list.map_or(0, Vec::len) as i32;
    (
        status.succeeded.unwrap_or(0) + more(uncounted.and_then(|u| u.succeeded.as_ref())),
        status.failed.unwrap_or(0) + more(uncounted.and_then(|u| u.failed.as_ref())),
    )
}

/// Whether an end is named that is not a number yet.
pub(super) fn any_uncounted(status: &JobStatus) -> bool {
    let uncounted = status.uncounted_terminated_pods.as_ref();
    uncounted.is_some_and(|u| u.failed.iter().chain(&u.succeeded).any(|list| !list.is_empty()))
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// How many.
    pub(super) count: u32,
    /// When the last one was.
    pub(super) last: Timestamp,
}

/// The failures in a row after new ends (`newBackoffRecord` in the reference): those before the last success are forgiven.
pub(super) fn row(before: Option<Row>, succeeded_at: &[Timestamp], failed_at: &[Timestamp]) -> Option<Row> {
    let forgiven = succeeded_at.iter().max();
    let failed: Vec<Timestamp> =
        failed_at.iter().copied().filter(|at| forgiven.is_none_or(|success| at > success)).collect();
    let before = before.filter(|_| forgiven.is_none());
    let Some(last) = failed.iter().max() else { return before };
    let more = u32::try_from(failed.len()).unwrap_or(u32::MAX);
    Some(Row { count: before.map_or(0, |row| row.count).saturating_add(more), last: *last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_forgives_what_failed_before_it() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let times = |seconds: &[i64]| seconds.iter().map(|s| at(*s)).collect::<Vec<_>>();
        let check = |before: Option<(u32, i64)>, succeeded: &[i64], failed: &[i64], expect: Option<(u32, i64)>| {
            let of = |row: (u32, i64)| Row { count: row.0, last: at(row.1) };
            assert_eq!(row(before.map(of), &times(succeeded), &times(failed)), expect.map(of));
        };
        check(None, &[], &[], None);
        check(None, &[], &[5, 3], Some((2, 5)));
        check(Some((2, 5)), &[], &[9], Some((3, 9)));
        check(Some((2, 5)), &[], &[], Some((2, 5)));
        check(Some((2, 5)), &[7], &[], None);
        check(Some((2, 5)), &[7], &[6, 8, 9], Some((2, 9)));
        check(None, &[7], &[7], None);
    }
}
