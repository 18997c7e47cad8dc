//! `NodeUnschedulable`: a cordoned node takes only pods that tolerate it.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerates;
use super::{Plugin, Rejection};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Rejects a cordoned node.
///
/// # Errors
/// Why the node cannot take the pod.
pub(crate) fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let cordon =
        || Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
    if node.unschedulable() && !tolerates(pod, &cordon()) {
        return Err(Rejection::final_(Plugin::NodeUnschedulable, "node(s) were unschedulable"));
    }
    Ok(())
}
