//! The number of a pod, and what follows from it.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::spec;
use crate::error::Result;
use crate::owner::controller_reference;

/// The label of the revision that a pod was made from.
pub(super) const REVISION_LABEL: &str = "controller-revision-hash";
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The number of a pod, if its name is one that the set gives.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let name = pod.metadata.name.as_deref()?;
    let number = name.strip_prefix(set.metadata.name.as_deref()?)?.strip_prefix('-')?;
    let ordinal: i32 = number.parse().ok()?;
    (ordinal >= 0 && ordinal.to_string() == number).then_some(ordinal)
}

/// The revision that a pod was made from.
pub(super) fn revision_of(pod: &Pod) -> &str {
    pod.labels().get(REVISION_LABEL).map(String::as_str).unwrap_or_default()
}

/// The claims of a pod: for each template the name of the volume and of the claim.
pub(super) fn claim_names(set: &StatefulSet, ordinal: i32) -> Vec<(String, String)> {
    let templates = set.spec.as_ref().and_then(|s| s.volume_claim_templates.as_ref()).into_iter().flatten();
    let set_name = set.name_any();
    templates.map(|t| (t.name_any(), format!("{}-{set_name}-{ordinal}", t.name_any()))).collect()
}

/// The pod of a number.
pub(super) fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, ordinal: i32, revision: &str) -> Result<Pod> {
    let meta = template.metadata.clone().unwrap_or_default();
    let name = format!("{}-{ordinal}", set.name_any());
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(REVISION_LABEL.into(), revision.into());
    let mut pod = Pod {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: set.namespace(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    };
    label(&mut pod, &name, ordinal);
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(name);
    pod_spec.subdomain = spec(set)?.service_name.clone().filter(|s| !s.is_empty());
    let claims = claim_names(set, ordinal);
    let mut volumes = pod_spec.volumes.take().unwrap_or_default();
    volumes.retain(|v| !claims.iter().any(|(volume, _)| *volume == v.name));
    for (name, claim_name) in claims {
        let source = PersistentVolumeClaimVolumeSource { claim_name, ..Default::default() };
        volumes.push(Volume { name, persistent_volume_claim: Some(source), ..Volume::default() });
    }
    pod_spec.volumes = Some(volumes).filter(|v| !v.is_empty());
    Ok(pod)
}

fn label(pod: &mut Pod, name: &str, ordinal: i32) {
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(NAME_LABEL.into(), name.into());
    labels.insert(INDEX_LABEL.into(), ordinal.to_string());
}

/// The pod with the labels it should have, if it lacks them (it was adopted).
pub(super) fn fix(set: &StatefulSet, pod: &Pod) -> Option<Pod> {
    let mut fixed = pod.clone();
    label(&mut fixed, &pod.name_any(), ordinal(set, pod)?);
    (fixed != *pod).then_some(fixed)
}
