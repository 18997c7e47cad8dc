//! `NodeDeclaredFeatures`: a pod goes where the node declares the features that it needs
//! (`k8s.io/component-helpers/nodedeclaredfeatures`).

use k8s_openapi::api::core::v1::PodSpec;

use super::{Plugin, Rejection};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

const RESTART_ALL: &str = "RestartAllContainersOnContainerExits";
const HOST_NETWORK: &str = "UserNamespacesHostNetworkSupport";

/// The features that a node must declare for a pod (`InferForScheduling`).
pub(crate) fn needed(spec: &PodSpec) -> Vec<&'static str> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut rules = containers.flat_map(|container| container.restart_policy_rules.iter().flatten());
    let restarts_all = rules.any(|rule| rule.action == "RestartAllContainers");
    let own_users = spec.host_network == Some(true) && spec.host_users == Some(false);
    let needed = [(restarts_all, RESTART_ALL), (own_users, HOST_NETWORK)];
    needed.into_iter().filter_map(|(is_needed, name)| is_needed.then_some(name)).collect()
}

/// Rejects a node that lacks a feature.
///
/// # Errors
/// Why the node cannot take the pod.
pub(crate) fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let declared = node.declared_features();
    if pod.wanted.features.iter().all(|needed| declared.iter().any(|name| name == needed)) {
        return Ok(());
    }
    Err(Rejection::final_(Plugin::NodeDeclaredFeatures, "node(s) didn't match Pod's required features"))
}
