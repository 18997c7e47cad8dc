//! `DefaultPreemption`: which pods of lower priority would have to go so that a pod fits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::cache::Cache;
use crate::cycle::FitError;
use crate::lookup::Lookup;
use crate::node::NodeInfo;
use crate::plugins::{self, CycleState, Rejection};
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

/// What `DynamicResources` says first of a pod that no node takes; it has nothing to give back.
const NO_CLAIMS: &str = "no new claims to deallocate";
/// What is said of nodes that no pod has to leave for anything.
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
/// What is said of a node whose pods are all as important.
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// Finds the node where the least important pods must go. `promised` is the node that the pod was promised before.
///
/// # Errors
/// What is said of it after the reasons of the nodes, as `RunPostFilterPlugins` words it.
pub fn plan(
    pod: &PodInfo,
    cache: &Cache,
    lookup: &dyn Lookup,
    error: &FitError,
    promised: Option<&str>,
) -> Result<Preemption, String> {
    eligible(pod, cache, error, promised).map_err(|why| format!("{NO_CLAIMS}, preemption: {why}"))?;
    let resolvable = |rejection: &Rejection| error.all.is_none() && rejection.resolvable;
    let hopeful = error.by_node.iter().filter(|(_, rejection)| resolvable(rejection));
    let (mut candidates, mut reasons, mut refused) = (Vec::new(), BTreeMap::<String, usize>::new(), 0);
    for node in hopeful.filter_map(|(name, _)| cache.node(name)) {
        match victims(pod, node, cache, lookup) {
            Ok(candidate) => candidates.push(candidate),
            Err(why) => {
                refused += 1;
                why.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1);
            }
        }
        if candidates.len() == CANDIDATES_MAX {
            break;
        }
    }
    *reasons.entry(NOT_HELPFUL.into()).or_default() += error.nodes.saturating_sub(refused);
    candidates.into_iter().min_by_key(cost).ok_or_else(|| says(error.nodes, &reasons))
}

/// Whether other pods may be made to go for this one (`PodEligibleToPreemptOthers`): not while those that had to go for it
/// are still ending.
fn eligible(pod: &PodInfo, cache: &Cache, error: &FitError, promised: Option<&str>) -> Result<(), &'static str> {
    if !pod.preempts {
        return Err("not eligible due to preemptionPolicy=Never.");
    }
    let Some(name) = promised.or(pod.nominated.as_deref()).filter(|name| !name.is_empty()) else { return Ok(()) };
    let hopeless = error.all.is_some() || error.by_node.get(name).is_some_and(|rejection| !rejection.resolvable);
    let ending = |other: &Arc<PodInfo>| other.priority < pod.priority && other.preempted;
    if !hopeless && cache.node(name).is_some_and(|node| node.pods.values().any(ending)) {
        return Err("not eligible due to a terminating pod on the nominated node.");
    }
    Ok(())
}

fn says(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    let lines = reasons.iter().filter(|(_, count)| **count > 0).map(|(reason, count)| format!("{count} {reason}"));
    let mut lines: Vec<String> = lines.collect();
    // As texts, so that ten come before nine.
    lines.sort();
    format!("{NO_CLAIMS}, preemption: 0/{nodes} nodes are available: {}.", lines.join(", "))
}

/// In the order of `pickOneNodeForPreemption`: the least important victim set first.
fn cost(candidate: &Preemption) -> (i32, i64, usize, Reverse<Option<jiff::Timestamp>>) {
    let highest = candidate.victims.iter().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
    let sum = candidate.victims.iter().map(|pod| i64::from(pod.priority)).sum();
    let started = candidate.victims.iter().filter(|pod| pod.priority == highest).filter_map(|pod| pod.started).min();
    (highest, sum, candidate.victims.len(), Reverse(started))
}

/// Takes away every less important pod, then puts back as many as it can, the most important first. Fails with the reasons
/// why the pod would not even fit then.
fn victims(pod: &PodInfo, node: &NodeInfo, cache: &Cache, lookup: &dyn Lookup) -> Result<Preemption, Vec<String>> {
    let mut lesser: Vec<Arc<PodInfo>> =
        node.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        return Err(vec![NO_VICTIMS.into()]);
    }
    lesser.sort_by_key(|other| (Reverse(other.priority), other.started, other.uid.clone()));
    let mut emptier = node.clone();
    let mut absent = HashSet::new();
    for other in &lesser {
        emptier.remove(&other.uid);
        absent.insert(other.uid.clone());
    }
    fits(pod, &emptier, cache, lookup, &absent).map_err(|rejection| rejection.reasons)?;
    let mut victims = Vec::new();
    for other in lesser {
        emptier.add(other.clone());
        absent.remove(&other.uid);
        if fits(pod, &emptier, cache, lookup, &absent).is_err() {
            emptier.remove(&other.uid);
            absent.insert(other.uid.clone());
            victims.push(other);
        }
    }
    if victims.is_empty() {
        return Err(vec![format!("expected at least one victim pod on node {:?}", node.name())]);
    }
    Ok(Preemption { node: node.name().to_string(), victims })
}

fn fits(
    pod: &PodInfo,
    node: &NodeInfo,
    cache: &Cache,
    lookup: &dyn Lookup,
    absent: &HashSet<String>,
) -> Result<(), Rejection> {
    plugins::filter(pod, node, &CycleState::new(pod, cache, lookup, absent)?, lookup)
}
