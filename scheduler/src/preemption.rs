//! `DefaultPreemption`: which pods of lower priority would have to go so that a pod fits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::cache::Cache;
use crate::cycle::FitError;
use crate::lookup::Lookup;
use crate::node::NodeInfo;
use crate::plugins::{self, CycleState};
use crate::pod::PodInfo;

/// How many nodes are tried for victims (`minCandidateNodesAbsolute`).
const CANDIDATES_MAX: usize = 100;

/// A node and the pods that must leave it.
#[derive(Debug)]
pub struct Preemption {
    /// The node.
    pub node: String,
    /// The pods, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
}

/// Finds the node where the least important pods must go.
///
/// # Errors
/// What is said of it after the reasons of the nodes.
pub fn plan(pod: &PodInfo, cache: &Cache, lookup: &dyn Lookup, error: &FitError) -> Result<Preemption, String> {
    if !pod.preempts {
        return Err("preemption: not eligible due to preemptionPolicy=Never.".into());
    }
    let hopeful: Vec<&NodeInfo> = error
        .by_node
        .iter()
        .filter(|(_, rejection)| error.all.is_none() && rejection.resolvable)
        .filter_map(|(name, _)| cache.node(name))
        .collect();
    let candidates: Vec<Preemption> =
        hopeful.iter().filter_map(|node| victims(pod, node, cache, lookup)).take(CANDIDATES_MAX).collect();
    candidates.into_iter().min_by_key(cost).ok_or_else(|| says(error.nodes, hopeful.len()))
}

fn says(nodes: usize, hopeful: usize) -> String {
    let mut counts = BTreeMap::new();
    counts.insert("No preemption victims found for incoming pod", hopeful);
    counts.insert("Preemption is not helpful for scheduling", nodes - hopeful);
    let lines: Vec<String> =
        counts.iter().filter(|(_, count)| **count > 0).map(|(reason, count)| format!("{count} {reason}")).collect();
    format!("preemption: 0/{nodes} nodes are available: {}.", lines.join(", "))
}

/// In the order of `pickOneNodeForPreemption`: the least important victim set first.
fn cost(candidate: &Preemption) -> (i32, i64, usize, Reverse<Option<jiff::Timestamp>>) {
    let highest = candidate.victims.iter().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
    let sum = candidate.victims.iter().map(|pod| i64::from(pod.priority)).sum();
    let started = candidate.victims.iter().filter(|pod| pod.priority == highest).filter_map(|pod| pod.started).min();
    (highest, sum, candidate.victims.len(), Reverse(started))
}

/// Takes away every less important pod, then puts back as many as it can, the most important first.
fn victims(pod: &PodInfo, node: &NodeInfo, cache: &Cache, lookup: &dyn Lookup) -> Option<Preemption> {
    let mut lesser: Vec<Arc<PodInfo>> =
        node.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        return None;
    }
    lesser.sort_by_key(|other| (Reverse(other.priority), other.started, other.uid.clone()));
    let mut emptier = node.clone();
    let mut absent = HashSet::new();
    for other in &lesser {
        emptier.remove(&other.uid);
        absent.insert(other.uid.clone());
    }
    if !fits(pod, &emptier, cache, lookup, &absent) {
        return None;
    }
    let mut victims = Vec::new();
    for other in lesser {
        emptier.add(other.clone());
        absent.remove(&other.uid);
        if !fits(pod, &emptier, cache, lookup, &absent) {
            emptier.remove(&other.uid);
            absent.insert(other.uid.clone());
            victims.push(other);
        }
    }
    (!victims.is_empty()).then(|| Preemption { node: node.name().to_string(), victims })
}

fn fits(pod: &PodInfo, node: &NodeInfo, cache: &Cache, lookup: &dyn Lookup, absent: &HashSet<String>) -> bool {
    CycleState::new(pod, cache, lookup, absent).is_ok_and(|state| plugins::filter(pod, node, &state, lookup).is_ok())
}
