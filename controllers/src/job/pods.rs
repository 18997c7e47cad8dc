//! The pods of a job.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::ResourceExt;

use super::{TRACKING, spec};
use crate::error::Result;
use crate::pod::{condition, is_sidecar, is_terminating, phase};
use crate::pod_control::pod_from_template;

/// The label and annotation of a pod's index.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The variable by which containers know it.
const INDEX_ENV: &str = "JOB_COMPLETION_INDEX";

/// The annotations that tell how often an index failed before this pod: what counts, and what the failure policy ignores.
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// How often an index failed before a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// Failures that count.
    pub(super) counted: i32,
    /// Failures that the failure policy ignores.
    pub(super) ignored: i32,
}

impl Failures {
    /// Those that a pod carries.
    pub(super) fn of(pod: &Pod) -> Self {
        let number = |name: &str| pod.annotations().get(name).and_then(|n| n.parse::<i32>().ok());
        let number = |name: &str| number(name).filter(|n| *n >= 0).unwrap_or(0);
        Self { counted: number(FAILURES), ignored: number(IGNORED_FAILURES) }
    }

    /// All of them.
    pub(super) fn all(self) -> i32 {
        self.counted.saturating_add(self.ignored)
    }
}

/// When a pod that ended did so (`getFinishedTime`): when its last container did, or when it was no longer ready, or when
/// it was deleted.
pub(super) fn finished_at(pod: &Pod) -> Timestamp {
    let status = pod.status.as_ref();
    let containers = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let sidecars = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    let sidecars = sidecars.iter().filter(|c| is_sidecar(pod, &c.name));
    let ends =
        containers.iter().chain(sidecars).map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0));
    let ends: Option<Vec<Timestamp>> = ends.collect();
    let last = ends.and_then(|ends| ends.into_iter().max());
    let unready =
        || condition(pod, "Ready").filter(|c| c.status == "False")?.last_transition_time.as_ref().map(|t| t.0);
    let deleted = || {
        let at = pod.metadata.deletion_timestamp.as_ref()?.0;
        at.checked_sub(SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0))).ok()
    };
    let created = || pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
    last.or_else(unready).or_else(deleted).or_else(created).unwrap_or_default()
}

/// Whether the end of the pod is yet to be counted.
pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|f| f == TRACKING)
}

/// The index of a pod.
pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// Whether pods are replaced only once they have failed for real (`onlyReplaceFailedPods`).
pub(super) fn replaces_failed_only(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// Whether the pod counts as failed. One that is being deleted does, unless the job waits for it to fail for real.
pub(super) fn is_failed(job: &Job, pod: &Pod) -> bool {
    let waits = job.spec.as_ref().is_some_and(replaces_failed_only);
    phase(pod) == "Failed" || (!waits && is_terminating(pod) && phase(pod) != "Succeeded")
}

/// A pod of the job; with an index in an indexed job, and the failures of the index where the job limits those.
pub(super) fn new_pod(job: &Job, index: Option<i32>, failures: Option<Failures>) -> Result<Pod> {
    let mut pod = pod_from_template(&spec(job)?.template, job);
    pod.metadata.finalizers.get_or_insert_default().push(TRACKING.into());
    let Some(index) = index else { return Ok(pod) };
    let name = format!("{}-{index}", job.name_any());
    pod.metadata.generate_name = Some(format!("{name}-"));
    pod.metadata.annotations.get_or_insert_default().insert(INDEX.into(), index.to_string());
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
    if let Some(failures) = failures {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(FAILURES.into(), failures.counted.to_string());
        if failures.ignored > 0 {
            annotations.insert(IGNORED_FAILURES.into(), failures.ignored.to_string());
        }
    }
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(tell_index);
    Ok(pod)
}

fn tell_index(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|e| e.name == INDEX_ENV) {
        return;
    }
    let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{INDEX}']") };
    env.push(EnvVar {
        name: INDEX_ENV.into(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    });
}
