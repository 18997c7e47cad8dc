//! `NodeName` and `NodeAffinity`: the pod names nodes, or labels that they must or should have.

use client::node_fit::{selector_matches, term_matches};

use super::{Plugin, Rejection, normalize};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Rejects every node but the one that `spec.nodeName` names.
///
/// # Errors
/// Why the node cannot take the pod.
pub(crate) fn filter_name(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let wanted = &*pod.node_name;
    if !wanted.is_empty() && wanted != node.name() {
        return Err(Rejection::final_(Plugin::NodeName, "node(s) didn't match the requested node name"));
    }
    Ok(())
}

/// Rejects a node that the pod's node selector or required affinity does not match.
///
/// # Errors
/// Why the node cannot take the pod.
pub(crate) fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    if matches(pod, node) {
        return Ok(());
    }
    Err(Rejection::final_(Plugin::NodeAffinity, "node(s) didn't match Pod's node affinity/selector"))
}

/// Whether the pod's node selector and required affinity match the node.
pub(crate) fn matches(pod: &PodInfo, node: &NodeInfo) -> bool {
    let labels = node.labels();
    let selected = pod.wanted.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = pod.wanted.node_affinity.as_ref();
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|selector| selector_matches(selector, labels, node.name()))
}

/// Prefers nodes that match preferred terms, by the sum of their weights.
pub(crate) fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
    let preferred = pod.wanted.node_affinity.as_ref()?.preferred_during_scheduling_ignored_during_execution.as_ref()?;
    let weigh = |node: &&NodeInfo| {
        let matching = preferred.iter().filter(|term| term_matches(&term.preference, node.labels(), node.name()));
        matching.map(|term| i64::from(term.weight)).sum()
    };
    let mut scores: Vec<i64> = nodes.iter().map(weigh).collect();
    normalize(&mut scores, false);
    Some(scores)
}
