//! Which pods to create and delete, and the status: plain functions on what is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::HASH_LABEL;
use super::pods::suits;
use crate::percent::{Round, resolve};
use crate::pod::{is_available, is_ready, is_terminating, node_name, phase};

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Nodes to make a pod for.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Failed pods, to be deleted when their back-off is over.
    pub(super) failed: Vec<Arc<Pod>>,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }
}

pub(super) type ByNode = BTreeMap<String, Vec<Arc<Pod>>>;

/// The node that a pod is on, or will be on once it is scheduled.
fn target(pod: &Pod) -> Option<String> {
    let bound = node_name(pod);
    if !bound.is_empty() {
        return Some(bound.to_owned());
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|t| t.match_fields.iter().flatten());
    fields.filter(|f| f.key == "metadata.name").find_map(|f| f.values.as_ref()?.first().cloned())
}

/// The pods of each node, the oldest first.
pub(super) fn by_node(pods: &[Arc<Pod>]) -> ByNode {
    let mut map = ByNode::new();
    for pod in pods {
        map.entry(target(pod).unwrap_or_default()).or_default().push(pod.clone());
    }
    for pods in map.values_mut() {
        let created = |p: &Pod| p.metadata.creation_timestamp.as_ref().map(|t| t.0);
        pods.sort_by_key(|p| (node_name(p).is_empty(), phase(p) == "Pending", created(p), p.name_any()));
    }
    map
}

fn is_new(pod: &Pod, hash: &str) -> bool {
    pod.labels().get(HASH_LABEL).is_some_and(|h| h == hash)
}

fn min_ready(set: &DaemonSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
}

/// How many new pods may be made beside old ones, and how many nodes may be without a pod, of `desired` nodes.
fn limits(set: &DaemonSet, desired: i32) -> (usize, usize) {
    let rolling = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref()?.rolling_update.as_ref());
    let surge = resolve(rolling.and_then(|r| r.max_surge.as_ref()), desired, Round::Up);
    let unavailable = match rolling.and_then(|r| r.max_unavailable.as_ref()) {
        Some(value) => resolve(Some(value), desired, Round::Up),
        None => 1,
    };
    let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
    (usize::try_from(surge).unwrap_or(0), usize::try_from(unavailable).unwrap_or(0))
}

fn desired(set: &DaemonSet, nodes: &[Arc<Node>]) -> i32 {
    nodes.iter().filter(|n| suits(set, n).0).count() as i32
}

/// Sees to it that suitable nodes have a pod, and others none.
pub(super) fn manage(set: &DaemonSet, nodes: &[Arc<Node>], by_node: &ByNode, hash: &str, now: Timestamp) -> Work {
    let mut work = Work::default();
    let surging = limits(set, desired(set, nodes)).0 > 0;
    let none = Vec::new();
    for node in nodes {
        let name = node.name_any();
        let pods = by_node.get(&name).unwrap_or(&none);
        let (wanted, may_stay) = suits(set, node);
        if !may_stay {
            work.delete.extend(pods.iter().filter(|p| !is_terminating(p)).cloned());
            continue;
        }
        if pods.is_empty() {
            work.create.extend(wanted.then_some(name));
            continue;
        }
        let alive: Vec<_> = pods.iter().filter(|p| !is_terminating(p)).collect();
        work.failed.extend(alive.iter().filter(|p| phase(p) == "Failed").map(|p| (*p).clone()));
        work.delete.extend(alive.iter().filter(|p| phase(p) == "Succeeded").map(|p| (*p).clone()));
        let running: Vec<_> = alive.into_iter().filter(|p| !matches!(phase(p), "Failed" | "Succeeded")).collect();
        if !surging {
            work.delete.extend(running.iter().skip(1).map(|p| (*p).clone()));
            continue;
        }
        if running.is_empty() && wanted && pods.iter().all(|p| is_terminating(p)) {
            work.create.push(name);
            continue;
        }
        let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|p| is_new(p, hash));
        work.delete.extend(new.iter().skip(1).chain(old.iter().skip(1)).map(|p| (*p).clone()));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!is_ready(old) || is_available(new, min_ready(set), now))
        {
            work.delete.push((*old).clone());
        }
    }
    // Pods bound to nodes that are gone are the pod collector's; those that wait for one are ours.
    for (name, pods) in by_node {
        if !nodes.iter().any(|n| n.name_any() == *name) {
            let waiting = pods.iter().filter(|p| node_name(p).is_empty() && !is_terminating(p));
            work.delete.extend(waiting.cloned());
        }
    }
    work
}

/// Replaces pods of an old template, a few at a time.
pub(super) fn update(set: &DaemonSet, nodes: &[Arc<Node>], by_node: &ByNode, hash: &str, now: Timestamp) -> Work {
    let mut work = Work::default();
    let strategy = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref()).and_then(|s| s.type_.as_deref());
    if strategy == Some("OnDelete") {
        return work;
    }
    let (surge, max_unavailable) = limits(set, desired(set, nodes));
    let available = |p: &Pod| is_available(p, min_ready(set), now);
    let (mut unavailable, mut surging) = (0, 0);
    let mut stale: Vec<(String, Arc<Pod>)> = Vec::new();
    let mut candidates: Vec<(String, Arc<Pod>)> = Vec::new();
    for (node, pods) in by_node {
        let alive = || pods.iter().filter(|p| !is_terminating(p));
        let new = alive().find(|p| is_new(p, hash));
        let old = alive().find(|p| !is_new(p, hash));
        match (new, old) {
            (None, None) | (Some(_), Some(_)) => {
                unavailable += 1;
                surging += 1;
            }
            (Some(new), None) => unavailable += usize::from(!available(new)),
            (None, Some(old)) if !available(old) => {
                unavailable += 1;
                stale.push((node.clone(), old.clone()));
            }
            (None, Some(old)) => candidates.push((node.clone(), old.clone())),
        }
    }
    if surge == 0 {
        candidates.truncate(max_unavailable.saturating_sub(unavailable));
        work.delete = stale.into_iter().chain(candidates).map(|(_, pod)| pod).collect();
    } else {
        candidates.truncate(surge.saturating_sub(surging));
        work.create = stale.into_iter().chain(candidates).map(|(node, _)| node).collect();
    }
    work
}

/// The status.
pub(super) fn status(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    by_node: &ByNode,
    hash: &str,
    now: Timestamp,
) -> DaemonSetStatus {
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|s| s.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut available, mut updated) = (0, 0);
    for node in nodes {
        let bound = by_node.get(&node.name_any()).into_iter().flatten().find(|p| !node_name(p).is_empty());
        if !suits(set, node).0 {
            status.number_misscheduled += i32::from(bound.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = bound else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(is_ready(pod));
        available += i32::from(is_available(pod, min_ready(set), now));
        updated += i32::from(is_new(pod, hash));
    }
    let some = |n: i32| Some(n).filter(|n| *n != 0);
    status.number_available = some(available);
    status.updated_number_scheduled = some(updated);
    status.number_unavailable = some(status.desired_number_scheduled - available);
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(rolling: serde_json::Value) -> DaemonSet {
        let s = json!({"metadata": {"name": "d"}, "spec": {"selector": {}, "template": {"spec": {"containers": [],
            "nodeSelector": {"ok": "yes"}}}, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}});
        serde_json::from_value(s).expect("a set")
    }

    fn node(name: &str, ok: &str) -> Arc<Node> {
        let n = json!({"metadata": {"name": name, "labels": {"ok": ok}}});
        Arc::new(serde_json::from_value(n).expect("a node"))
    }

    fn pod(node: &str, hash: &str, ready: bool) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        let p = json!({"metadata": {"name": format!("{node}-{hash}"), "labels": {"controller-revision-hash": hash}},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
        Arc::new(serde_json::from_value(p).expect("a pod"))
    }

    fn names(work: &Work) -> (Vec<String>, Vec<String>) {
        (work.create.clone(), work.delete.iter().map(|p| p.name_any()).collect())
    }

    #[test]
    fn suitable_nodes_have_one_pod() {
        let nodes = [node("a", "yes"), node("b", "no"), node("c", "yes")];
        let pods = by_node(&[pod("b", "x", true), pod("c", "x", true)]);
        let work = manage(&set(json!({})), &nodes, &pods, "x", Timestamp::UNIX_EPOCH);
        assert_eq!(names(&work), (vec!["a".to_owned()], vec!["b-x".to_owned()]));
    }

    #[test]
    fn an_update_keeps_to_its_limit() {
        let nodes = [node("a", "yes"), node("b", "yes"), node("c", "yes")];
        let pods = by_node(&[pod("a", "x", true), pod("b", "x", true), pod("c", "x", true)]);
        let one = update(&set(json!({"maxUnavailable": 1})), &nodes, &pods, "y", Timestamp::UNIX_EPOCH);
        assert_eq!(names(&one).1.len(), 1);
        let surge = json!({"maxUnavailable": 0, "maxSurge": 2});
        let two = update(&set(surge), &nodes, &pods, "y", Timestamp::UNIX_EPOCH);
        assert_eq!((two.create.len(), two.delete.len()), (2, 0));
        let waiting = by_node(&[pod("a", "y", false), pod("b", "x", true), pod("c", "x", true)]);
        let none = update(&set(json!({"maxUnavailable": 1})), &nodes, &waiting, "y", Timestamp::UNIX_EPOCH);
        assert!(none.is_empty(), "one is unavailable already");
    }
}
