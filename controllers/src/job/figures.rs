//! What is counted of jobs, from their statuses before and after.

use std::sync::Arc;
use std::time::Duration;

use api::conditions;
use client::Informer;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use metrics::Counter;

use super::ends::totals;
use super::indexes;
use super::plan::{self, Plan};
use super::pods::is_tracked;
use crate::figures::Jobs;
use crate::pod::is_terminal;

impl Jobs {
    /// A sync of a job that had not ended is over.
    pub(super) fn synced(&self, job: &Job, did: &str, ok: bool, took: Duration) {
        let labels = [mode(job), if ok { "success" } else { "error" }, did];
        self.syncs.with(labels, Counter::add_one);
        self.sync_durations.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }

    /// A pod was made, or could not be (`recordJobPodsCreationTotal`).
    pub(super) fn created(&self, job: &Job, plan: &Plan, ok: bool) {
        let (_, failed) = totals(&plan.status);
        let policy = job.spec.as_ref().and_then(|spec| spec.pod_replacement_policy.as_deref());
        let reason = match () {
            () if policy == Some("Failed") && failed > 0 => "recreate_failed",
            () if failed > 0 || plan.status.terminating.unwrap_or(0) > 0 => "recreate_terminating_or_failed",
            () => "new",
        };
        self.creations.with([reason, if ok { "succeeded" } else { "failed" }], Counter::add_one);
    }

    /// The status of a job was written (`recordJobPodFinished`, `recordJobFinished`).
    pub(super) fn written(&self, before: &Job, after: &Job, plan: &Plan) {
        let none = JobStatus::default();
        let (was, is) = (before.status.as_ref().unwrap_or(&none), after.status.as_ref().unwrap_or(&none));
        let more = |was: usize, is: usize| is.saturating_sub(was) as u64;
        let number = |number: Option<i32>| usize::try_from(number.unwrap_or(0)).unwrap_or(0);
        let mut succeeded = more(number(was.succeeded), number(is.succeeded));
        if let Some(spec) = after.spec.as_ref().filter(|spec| plan::is_indexed(spec)) {
            let limit = if spec.backoff_limit_per_index.is_some() { "perIndex" } else { "global" };
            let completions = spec.completions.unwrap_or(0);
            let count = |text: Option<&String>| text.map_or(0, |text| indexes::parse(text, completions).len());
            succeeded = more(count(was.completed_indexes.as_ref()), count(is.completed_indexes.as_ref()));
            let failed = more(count(was.failed_indexes.as_ref()), count(is.failed_indexes.as_ref()));
            self.indexes.with(["succeeded", limit], |counter| counter.add(succeeded));
            if failed > 0 {
                self.indexes.with(["failed", limit], |counter| counter.add(failed));
            }
        }
        let failed = more(number(was.failed), number(is.failed));
        self.pods_finished.with([mode(after), "succeeded"], |counter| counter.add(succeeded));
        self.pods_finished.with([mode(after), "failed"], |counter| counter.add(failed));
        plan.by_policy.iter().for_each(|action| self.by_policy.with([action], Counter::add_one));
        let end = conditions::job_end(is.conditions.iter().flatten());
        if let Some(end) = end.filter(|_| !plan::is_finished(before)) {
            let result = if end.type_ == "Complete" { "succeeded" } else { "failed" };
            let labels = [mode(after), result, end.reason.as_deref().unwrap_or("")];
            self.finished.with(labels, Counter::add_one);
        }
    }
}

/// Counts the pods that have ended and wait to be counted by their job.
pub(super) fn count_ends(pods: &Informer<Pod>, figures: &Arc<Jobs>) {
    let (figures, waits) = (figures.clone(), |pod: &Pod| is_terminal(pod) && is_tracked(pod));
    pods.on_change(move |change| {
        let was = change.old().is_some_and(|old| waits(old));
        let is = !change.is_delete() && waits(change.object());
        if was != is {
            figures.tracked.with([if is { "add" } else { "delete" }], Counter::add_one);
        }
    });
}

fn mode(job: &Job) -> &'static str {
    if job.spec.as_ref().is_some_and(plan::is_indexed) { "Indexed" } else { "NonIndexed" }
}

#[cfg(test)]
mod tests {
    use metrics::{Collect, Text};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_status_tells_anew_is_counted() {
        let job = |status| -> Job {
            let spec = json!({"completionMode": "Indexed", "completions": 5, "template": {}});
            serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).expect("a job")
        };
        let before = job(json!({"completedIndexes": "0", "succeeded": 1, "failed": 1}));
        let conditions = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]);
        let after = job(json!({"completedIndexes": "0,3", "succeeded": 2, "failed": 4, "conditions": conditions}));
        let figures = Jobs::default();
        let plan = Plan { by_policy: vec!["Count".into()], ..Plan::default() };
        figures.written(&before, &after, &plan);
        figures.written(&after, &after, &Plan::default());
        figures.created(&after, &Plan { status: after.status.clone().unwrap_or_default(), ..Plan::default() }, false);
        let mut text = Text::default();
        figures.collect(&mut text);
        let text = text.finish();
        for line in [
            "job_pods_finished_total{completion_mode=\"Indexed\",result=\"failed\"} 3",
            "job_pods_finished_total{completion_mode=\"Indexed\",result=\"succeeded\"} 1",
            "job_finished_indexes_total{backoffLimit=\"global\",status=\"succeeded\"} 1",
            "jobs_finished_total{completion_mode=\"Indexed\",reason=\"BackoffLimitExceeded\",result=\"failed\"} 1",
            "pod_failures_handled_by_failure_policy_total{action=\"Count\"} 1",
            "job_pods_creation_total{reason=\"recreate_terminating_or_failed\",status=\"failed\"} 1",
        ] {
            let line = format!("job_controller_{line}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}
