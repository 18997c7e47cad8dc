//! The pods of a job.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::ResourceExt;

use super::{TRACKING, spec};
use crate::error::Result;
use crate::pod::{is_terminating, phase};
use crate::pod_control::pod_from_template;

/// The label and annotation of a pod's index.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The variable by which containers know it.
const INDEX_ENV: &str = "JOB_COMPLETION_INDEX";

/// Whether the end of the pod is yet to be counted.
pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|f| f == TRACKING)
}

/// The index of a pod.
pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// Whether the pod counts as failed. One that is being deleted does, unless the job waits for it to fail for real.
pub(super) fn is_failed(job: &Job, pod: &Pod) -> bool {
    let waits = job.spec.as_ref().and_then(|s| s.pod_replacement_policy.as_deref()) == Some("Failed");
    phase(pod) == "Failed" || (!waits && is_terminating(pod) && phase(pod) != "Succeeded")
}

/// A pod of the job; with an index in an indexed job.
pub(super) fn new_pod(job: &Job, index: Option<i32>) -> Result<Pod> {
    let mut pod = pod_from_template(&spec(job)?.template, job);
    pod.metadata.finalizers.get_or_insert_default().push(TRACKING.into());
    let Some(index) = index else { return Ok(pod) };
    let name = format!("{}-{index}", job.name_any());
    pod.metadata.generate_name = Some(format!("{name}-"));
    pod.metadata.annotations.get_or_insert_default().insert(INDEX.into(), index.to_string());
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
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
    let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.annotations['{INDEX}']") };
    env.push(EnvVar {
        name: INDEX_ENV.into(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    });
}
