//! The pods of a daemon set.

use client::node_fit::{is_chosen, repels};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};
use kube::ResourceExt;

use super::{HASH_LABEL, spec};
use crate::error::Result;
use crate::pod_control::pod_from_template;

/// What daemons bear: trouble of the node is no reason for them to leave.
const BORNE: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// What those bear besides that use the node's own network.
const BORNE_ON_HOST: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The old number of a template's version, on the set and on its pods.
pub(super) const GENERATION_ANNOTATION: &str = "deprecated.daemonset.template.generation";
pub(super) const GENERATION_LABEL: &str = "pod-template-generation";

fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    let host = spec.host_network.unwrap_or(false).then_some(BORNE_ON_HOST);
    for (key, effect) in BORNE.iter().copied().chain(host) {
        let borne = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !all.iter().any(|t| t.key == borne.key && t.effect == borne.effect) {
            all.push(borne);
        }
    }
    all
}

/// Whether a pod should be made on the node, and whether one that is there may stay.
pub(super) fn suits(set: &DaemonSet, node: &Node) -> (bool, bool) {
    let Some(spec) = set.spec.as_ref().and_then(|s| s.template.spec.as_ref()) else { return (false, false) };
    if !is_chosen(spec, node) {
        return (false, false);
    }
    let tolerations = tolerations(spec);
    if repels(node, &tolerations, &["NoSchedule", "NoExecute"]) {
        return (false, !repels(node, &tolerations, &["NoExecute"]));
    }
    (true, true)
}

/// The pod for a node. The scheduler binds it there, because its affinity names that node and no other.
pub(super) fn new_pod(set: &DaemonSet, node: &str, hash: &str) -> Result<Pod> {
    let mut pod = pod_from_template(&spec(set)?.template, set);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.into());
    if let Some(generation) = set.annotations().get(GENERATION_ANNOTATION) {
        labels.insert(GENERATION_LABEL.into(), generation.clone());
    }
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let requirement =
        NodeSelectorRequirement { key: "metadata.name".into(), operator: "In".into(), values: Some(vec![node.into()]) };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    let required = &mut affinity.required_during_scheduling_ignored_during_execution;
    // Whatever else the affinity asks for was checked against this very node already.
    let term = NodeSelectorTerm { match_expressions: None, match_fields: Some(vec![requirement]) };
    *required = Some(NodeSelector { node_selector_terms: vec![term] });
    debug_assert_eq!(pod.namespace(), set.namespace());
    Ok(pod)
}
