//! Which pods to create and delete, and the status: plain functions on what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::HASH_LABEL;
use super::pods::{GENERATION_ANNOTATION, GENERATION_LABEL, suits};
use crate::percent::{Round, resolve};
use crate::pod::{is_available, is_ready, is_terminal, is_terminating, node_name, phase};

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Nodes to make a pod for.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Failed pods, to be deleted when their back-off is over.
    pub(super) failed: Vec<Arc<Pod>>,
    /// Those of the pods to delete that ended well, though daemons should not end.
    pub(super) succeeded: Vec<Arc<Pod>>,
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

/// The pods of each node, those that are there before those that will be, and the oldest first. Those that ended and are
/// being deleted are nobody's concern any more (`getNodesToDaemonPods`).
pub(super) fn by_node(pods: &[Arc<Pod>]) -> ByNode {
    let mut map = ByNode::new();
    for pod in pods.iter().filter(|p| !(is_terminal(p) && is_terminating(p))) {
        if let Some(node) = target(pod) {
            map.entry(node).or_default().push(pod.clone());
        }
    }
    for pods in map.values_mut() {
        let created = |p: &Pod| p.metadata.creation_timestamp.as_ref().map(|t| t.0);
        pods.sort_by_key(|p| (node_name(p).is_empty(), created(p), p.name_any()));
    }
    map
}

fn is_new(pod: &Pod, hash: &str) -> bool {
    pod.labels().get(HASH_LABEL).is_some_and(|h| h == hash)
}

/// Whether a pod is of the set's present template: by its hash, or by the number that templates had before hashes
/// (`IsPodUpdated`).
fn is_updated(set: &DaemonSet, pod: &Pod, hash: &str) -> bool {
    let number = set.annotations().get(GENERATION_ANNOTATION).filter(|n| n.parse::<i64>().is_ok());
    is_new(pod, hash) || (number.is_some() && pod.labels().get(GENERATION_LABEL) == number)
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

/// Sees to it that suitable nodes have a pod, and others none.
pub(super) fn manage(set: &DaemonSet, nodes: &[Arc<Node>], by_node: &ByNode, hash: &str, now: Timestamp) -> Work {
    let mut work = Work::default();
    let surging = limits(set, 1).0 > 0;
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
        work.succeeded.extend(alive.iter().filter(|p| phase(p) == "Succeeded").map(|p| (*p).clone()));
        let running: Vec<_> = alive.into_iter().filter(|p| !matches!(phase(p), "Failed" | "Succeeded")).collect();
        if !surging {
            work.delete.extend(running.iter().skip(1).map(|p| (*p).clone()));
            continue;
        }
        if running.is_empty() {
            work.create.extend(wanted.then_some(name));
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
    work.delete.extend(work.succeeded.iter().cloned());
    work
}

/// The pods of a node: whether it should have one, and the new one and the old one.
struct Pair<'a> {
    node: &'a str,
    wanted: bool,
    new: Option<&'a Arc<Pod>>,
    old: Option<&'a Arc<Pod>>,
}

/// Replaces pods of an old template, a few at a time (`rollingUpdate`).
pub(super) fn update(set: &DaemonSet, nodes: &[Arc<Node>], by_node: &ByNode, hash: &str, now: Timestamp) -> Work {
    let strategy = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref()).and_then(|s| s.type_.as_deref());
    if strategy == Some("OnDelete") {
        return Work::default();
    }
    let wanted: BTreeSet<String> = nodes.iter().filter(|n| suits(set, n).0).map(|n| n.name_any()).collect();
    let desired = wanted.len();
    let (surge, max_unavailable) = limits(set, i32::try_from(desired).unwrap_or(i32::MAX));
    let none = Vec::new();
    let with_pods = by_node.iter();
    let without = wanted.iter().filter(|node| !by_node.contains_key(*node)).map(|node| (node, &none));
    let (mut pairs, mut crowded) = (Vec::new(), 0);
    for (node, pods) in with_pods.chain(without) {
        let (new, old): (Vec<_>, Vec<_>) =
            pods.iter().filter(|p| !is_terminating(p)).partition(|p| is_updated(set, p, hash));
        if new.len() > 1 || old.len() > 1 {
            // The next sync cleans up here first.
            crowded += 1;
            continue;
        }
        let (new, old) = (new.first().copied(), old.first().copied());
        pairs.push(Pair { node, wanted: wanted.contains(node), new, old });
    }
    let available = |p: &Pod| is_available(p, min_ready(set), now);
    if surge == 0 {
        replace(&pairs, max_unavailable, crowded, available)
    } else {
        exceed(&pairs, surge, crowded, desired, available)
    }
}

/// Deletes old pods so that no more than `max` nodes are without an available one; new ones are made once they are gone.
fn replace(pairs: &[Pair<'_>], max: usize, crowded: usize, available: impl Fn(&Pod) -> bool) -> Work {
    let mut unavailable = crowded;
    let (mut stale, mut candidates) = (Vec::new(), Vec::new());
    for pair in pairs {
        match (pair.new, pair.old) {
            (None, None) | (Some(_), Some(_)) => unavailable += 1,
            (Some(new), None) => unavailable += usize::from(!available(new)),
            (None, Some(old)) if !available(old) => {
                unavailable += 1;
                stale.push(old.clone());
            }
            (None, Some(old)) => candidates.push(old.clone()),
        }
    }
    candidates.truncate(max.saturating_sub(unavailable));
    stale.append(&mut candidates);
    Work { delete: stale, ..Work::default() }
}

/// Makes new pods beside at most `surge` old ones that are available. Nodes that the new template does not want get none;
/// their old pods go once as many are available as are `desired`.
fn exceed(pairs: &[Pair<'_>], surge: usize, crowded: usize, desired: usize, available: impl Fn(&Pod) -> bool) -> Work {
    let (mut surging, mut living) = (crowded, 0);
    let (mut work, mut candidates, mut unwanted) = (Work::default(), Vec::new(), Vec::new());
    for pair in pairs {
        living += usize::from(pair.old.or(pair.new).is_some_and(|pod| available(pod)));
        match (pair.new, pair.old) {
            (_, None) => {}
            (None, Some(old)) if !available(old) => match pair.wanted {
                true => work.create.push(pair.node.to_owned()),
                false => work.delete.push(old.clone()),
            },
            (None, Some(old)) if !pair.wanted => unwanted.push(old.clone()),
            (None, Some(_)) => candidates.push(pair.node.to_owned()),
            (Some(new), Some(_)) if !available(new) => surging += 1,
            (Some(_), Some(old)) => work.delete.push(old.clone()),
        }
    }
    unwanted.truncate(living.saturating_sub(desired));
    candidates.truncate(surge.saturating_sub(surging));
    work.delete.append(&mut unwanted);
    work.create.append(&mut candidates);
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
        let first = by_node.get(&node.name_any()).and_then(|pods| pods.first());
        if !suits(set, node).0 {
            status.number_misscheduled += i32::from(first.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = first else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(is_ready(pod));
        available += i32::from(is_available(pod, min_ready(set), now));
        updated += i32::from(is_updated(set, pod, hash));
    }
    let some = |n: i32| Some(n).filter(|n| *n != 0);
    status.number_available = some(available);
    status.updated_number_scheduled = some(updated);
    status.number_unavailable = some(status.desired_number_scheduled - available);
    status
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
