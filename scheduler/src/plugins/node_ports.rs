//! `NodePorts`: host ports are taken once.

use super::{Plugin, Rejection};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Rejects a node where a host port is taken.
///
/// # Errors
/// Why the node cannot take the pod.
pub(crate) fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    if pod.host_ports.iter().any(|wanted| node.port_clashes(wanted)) {
        let reason = "node(s) didn't have free ports for the requested pod ports";
        return Err(Rejection::resolvable(Plugin::NodePorts, reason));
    }
    Ok(())
}
