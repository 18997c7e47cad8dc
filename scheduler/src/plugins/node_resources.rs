//! `NodeResourcesFit` (least allocated) and `NodeResourcesBalancedAllocation`.

use super::{Plugin, Rejection, SCORE_MAX};
use crate::lookup::Lookup;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Rejects a node without room; every resource that lacks is named.
///
/// # Errors
/// Why the node cannot take the pod.
pub(crate) fn filter(pod: &PodInfo, node: &NodeInfo, lookup: &dyn Lookup) -> Result<(), Rejection> {
    let wanted = &pod.requests.exact;
    let (has, taken) = (&node.allocatable, &node.requested);
    let mut reasons = Vec::new();
    let mut resolvable = true;
    if taken.pods + 1 > has.pods {
        reasons.push("Too many pods".to_string());
    }
    let mut check = |name: &str, wanted: i64, taken: i64, has: i64| {
        if wanted > 0 && wanted > has - taken {
            reasons.push(format!("Insufficient {name}"));
            resolvable &= wanted <= has;
        }
    };
    check("cpu", wanted.cpu_milli, taken.cpu_milli, has.cpu_milli);
    check("memory", wanted.memory, taken.memory, has.memory);
    check("ephemeral-storage", wanted.ephemeral, taken.ephemeral, has.ephemeral);
    for (name, amount) in &wanted.extended {
        let of = |map: &std::collections::BTreeMap<String, i64>| map.get(name).copied().unwrap_or(0);
        // What the node does not have itself its devices may stand for (`shouldDelegateResourceToDRA`).
        let is_device = || lookup.devices().is_some_and(|devices| devices.class_of_resource(name).is_some());
        if of(&has.extended) == 0 && *amount > 0 && is_device() {
            continue;
        }
        check(name, *amount, of(&taken.extended), of(&has.extended));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Rejection { plugin: Plugin::NodeResourcesFit, reasons, resolvable, is_error: false })
}

/// Prefers nodes with more room left.
pub(crate) fn score_least_allocated(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let free = |has: i64, taken: i64| if has == 0 || taken > has { 0 } else { (has - taken) * SCORE_MAX / has };
    let score = |node: &&NodeInfo| {
        let cpu = free(node.allocatable.cpu_milli, node.nonzero_cpu_milli + pod.requests.nonzero_cpu_milli);
        let memory = free(node.allocatable.memory, node.nonzero_memory + pod.requests.nonzero_memory);
        (cpu + memory) / 2
    };
    nodes.iter().map(score).collect()
}

/// Prefers nodes whose cpu and memory would be used in like measure.
pub(crate) fn score_balanced(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let share = |has: i64, taken: i64| if has == 0 { 1.0 } else { (taken as f64 / has as f64).min(1.0) };
    let score = |node: &&NodeInfo| {
        let wanted = &pod.requests.exact;
        let cpu = share(node.allocatable.cpu_milli, node.requested.cpu_milli + wanted.cpu_milli);
        let memory = share(node.allocatable.memory, node.requested.memory + wanted.memory);
        // The standard deviation of two numbers is half their distance.
        ((1.0 - (cpu - memory).abs() / 2.0) * SCORE_MAX as f64) as i64
    };
    nodes.iter().map(score).collect()
}
