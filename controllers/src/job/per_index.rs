//! Indexed jobs that limit the failures of each index, and those that succeed with some of their indexes.
//!
//! How often an index failed stands on its newest pod. So the last failed pod of an index keeps its finalizer, and is not
//! counted, until there is another pod that carries the number on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::failure_policy::{counts, first_match};
use super::pods::{Failures, finished_at, index_of, is_failed, is_tracked};
use super::{indexes, pause};
use crate::pod::is_active;

/// The failed indexes, and the failed pods that wait for others in their place.
#[derive(Default)]
pub(super) struct PerIndex {
    pub(super) failed: BTreeSet<i32>,
    waiting: BTreeMap<i32, Arc<Pod>>,
}

/// What is known of each index; none if the job does not count by index. `succeeded` are the indexes that are done.
pub(super) fn of(job: &Job, spec: &JobSpec, pods: &[Arc<Pod>], succeeded: &BTreeSet<i32>) -> Option<PerIndex> {
    let limit = spec.backoff_limit_per_index?;
    let completions = spec.completions.unwrap_or(0);
    let noted = job.status.as_ref().and_then(|s| s.failed_indexes.as_deref()).unwrap_or_default();
    let mut state = PerIndex { failed: indexes::parse(noted, completions), ..PerIndex::default() };
    let failures = || {
        let open = pods.iter().filter(|p| is_tracked(p) && is_failed(job, p));
        open.filter_map(|p| Some((index_of(p).filter(|i| *i < completions)?, p)))
    };
    for (index, pod) in failures() {
        let fails = first_match(spec, pod).is_some_and(|found| found.asks("FailIndex"));
        if fails || (counts(spec, pod) && Failures::of(pod).counted >= limit) {
            state.failed.insert(index);
        }
    }
    let active: BTreeSet<i32> = pods.iter().filter(is_active).filter_map(|p| index_of(p)).collect();
    for (index, pod) in failures() {
        if succeeded.contains(&index) || state.failed.contains(&index) || active.contains(&index) {
            continue;
        }
        let rank = |pod: &Pod| (Failures::of(pod).all(), finished_at(pod));
        if state.waiting.get(&index).is_none_or(|other| rank(other) <= rank(pod)) {
            state.waiting.insert(index, pod.clone());
        }
    }
    Some(state)
}

impl PerIndex {
    /// Whether the pod waits for another in its place.
    pub(super) fn waits(&self, pod: &Pod) -> bool {
        let waiting = index_of(pod).and_then(|index| self.waiting.get(&index));
        waiting.is_some_and(|other| other.metadata.uid == pod.metadata.uid)
    }

    /// How many failures that count are not in the status yet because their pods wait.
    pub(super) fn uncounted(&self, spec: &JobSpec) -> i32 {
        self.waiting.values().filter(|pod| counts(spec, pod)).count() as i32
    }

    /// The failures that the next pod of an index carries.
    pub(super) fn failures(&self, spec: &JobSpec, index: i32) -> Failures {
        let Some(pod) = self.waiting.get(&index) else { return Failures::default() };
        let before = Failures::of(pod);
        match counts(spec, pod) {
            true => Failures { counted: before.counted + 1, ..before },
            false => Failures { ignored: before.ignored + 1, ..before },
        }
    }

    /// How long an index has to wait for its next pod.
    pub(super) fn wait(&self, index: i32, now: Timestamp) -> Option<Duration> {
        let pod = self.waiting.get(&index)?;
        let failures = u32::try_from(Failures::of(pod).all() + 1).unwrap_or(1);
        pause(failures, finished_at(pod), now)
    }

    /// Whether the job fails because of its failed indexes: the reason, and the message.
    pub(super) fn verdict(&self, spec: &JobSpec, succeeded: usize) -> Option<(&'static str, &'static str)> {
        let all = usize::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
        let max = spec.max_failed_indexes.and_then(|max| usize::try_from(max).ok());
        if max.is_some_and(|max| self.failed.len() > max) {
            let said = "Job has exceeded the specified maximal number of failed indexes";
            return Some(("MaxFailedIndexesExceeded", said));
        }
        let ended = !self.failed.is_empty() && self.failed.len() + succeeded >= all;
        ended.then_some(("FailedIndexes", "Job has failed indexes"))
    }
}

/// What a job says that succeeds by its success policy.
pub(super) fn succeeds(spec: &JobSpec, status: &JobStatus) -> Option<String> {
    let completions = spec.completions.unwrap_or(0);
    let done = indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions);
    if done.is_empty() {
        return None;
    }
    let rules = &spec.success_policy.as_ref()?.rules;
    let enough = |wanted: Option<i32>, count: usize| wanted.is_some_and(|wanted| count as i64 >= i64::from(wanted));
    let at = rules.iter().position(|rule| match &rule.succeeded_indexes {
        Some(text) => {
            let wanted = indexes::parse(text, completions);
            let both = wanted.intersection(&done).count();
            !wanted.is_empty() && (both == wanted.len() || enough(rule.succeeded_count, both))
        }
        None => enough(rule.succeeded_count, done.len()),
    })?;
    Some(format!("Matched rules at index {at}"))
}
