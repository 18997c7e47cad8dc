//! `TaintToleration`: a tainted node takes only pods that tolerate its taints.

use client::tolerations;
use k8s_openapi::api::core::v1::Taint;

use super::{Plugin, Rejection, normalize};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Rejects a node with a `NoSchedule` or `NoExecute` taint that the pod does not tolerate.
///
/// # Errors
/// Why the node cannot take the pod.
pub(crate) fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let refuses = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    if node.taints().iter().filter(refuses).any(|taint| !tolerates(pod, taint)) {
        return Err(Rejection::final_(Plugin::TaintToleration, "node(s) had untolerated taint(s)"));
    }
    Ok(())
}

/// Prefers nodes with fewer `PreferNoSchedule` taints that the pod does not tolerate.
pub(crate) fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
    let avoids = |taint: &&Taint| taint.effect == "PreferNoSchedule" && !tolerates(pod, taint);
    let count = |node: &&NodeInfo| node.taints().iter().filter(avoids).count();
    let mut scores: Vec<i64> = nodes.iter().map(|node| i64::try_from(count(node)).unwrap_or(i64::MAX)).collect();
    if scores.iter().all(|score| *score == 0) {
        return None;
    }
    normalize(&mut scores, true);
    Some(scores)
}

/// Whether one of the pod's tolerations covers the taint.
pub(crate) fn tolerates(pod: &PodInfo, taint: &Taint) -> bool {
    pod.wanted.tolerations.iter().any(|toleration| tolerations::tolerates(toleration, taint))
}
