//! `DefaultPreemption`: which pods of lower priority would have to go so that a pod fits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::budgets::Budgets;
use crate::cache::Cache;
use crate::cycle::{self, FitError, Nominated};
use crate::lookup::Lookup;
use crate::node::NodeInfo;
use crate::plugins::dynamic_resources::GiveUp;
use crate::plugins::{CycleState, Rejection};
use crate::pod::PodInfo;

/// Of so many nodes that are candidates no more are looked for (`minCandidateNodesAbsolute`),
const CANDIDATES_MIN: usize = 100;
/// or of this share of those that could be (`minCandidateNodesPercentage`).
const CANDIDATES_PERCENT: usize = 10;

/// A node and the pods that must leave it.
#[derive(Debug)]
pub(crate) struct Preemption {
    /// The node.
    pub node: String,
    /// The pods, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
    /// How many of them a disruption budget would keep.
    violations: usize,
}

/// What `DynamicResources` says first of a pod that no node takes.
fn of_claims(error: &FitError) -> &'static str {
    match &error.give_up {
        Some(GiveUp::Devices(_)) => "deallocation of ResourceClaim completed",
        Some(GiveUp::Claim(_)) => "deletion of ResourceClaim completed",
        None if error.has_claims => "still not schedulable",
        None => "no new claims to deallocate",
    }
}

/// What is said of nodes that no pod has to leave for anything.
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
/// What is said of a node whose pods are all as important.
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// Finds the node where the least important pods must go. `nominated` are the pods that were promised a node before.
///
/// # Errors
/// What is said of it after the reasons of the nodes, as `RunPostFilterPlugins` words it.
pub(crate) fn plan(
    pod: &PodInfo,
    cache: &Cache,
    lookup: &dyn Lookup,
    error: &FitError,
    nominated: &Nominated,
) -> Result<Preemption, String> {
    let promised = nominated.get(&pod.uid).map(|(_, node)| node.as_str());
    eligible(pod, cache, error, promised).map_err(|why| format!("{}, preemption: {why}", of_claims(error)))?;
    let resolvable = |rejection: &Rejection| error.all.is_none() && rejection.resolvable;
    let hopeful: Vec<&NodeInfo> = error
        .by_node
        .iter()
        .filter(|(_, rejection)| resolvable(rejection))
        .filter_map(|(name, _)| cache.node(name))
        .collect();
    let enough = (hopeful.len() * CANDIDATES_PERCENT / 100).max(CANDIDATES_MIN);
    let budgets = if hopeful.is_empty() { Vec::new() } else { lookup.budgets() };
    let others = Others { cache, lookup, nominated, budgets: &Budgets::new(&budgets) };
    let (mut candidates, mut reasons, mut refused) = (Vec::new(), BTreeMap::<String, usize>::new(), 0);
    for node in hopeful {
        match others.victims(pod, node) {
            Ok(candidate) => candidates.push(candidate),
            Err(why) => {
                refused += 1;
                why.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1);
            }
        }
        // One that violates no budget is looked for to the end.
        if candidates.len() >= enough && candidates.iter().any(|found| found.violations == 0) {
            break;
        }
    }
    *reasons.entry(NOT_HELPFUL.into()).or_default() += error.nodes.saturating_sub(refused);
    candidates.into_iter().min_by_key(cost).ok_or_else(|| says(error, &reasons))
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

fn says(error: &FitError, reasons: &BTreeMap<String, usize>) -> String {
    let lines = reasons.iter().filter(|(_, count)| **count > 0).map(|(reason, count)| format!("{count} {reason}"));
    let mut lines: Vec<String> = lines.collect();
    // As texts, so that ten come before nine.
    lines.sort();
    format!("{}, preemption: 0/{} nodes are available: {}.", of_claims(error), error.nodes, lines.join(", "))
}

/// In the order of `pickOneNodeForPreemption`: the least important victim set first. Priorities are counted from the
/// lowest that there is, so that many pods of a negative one are not less than a few.
fn cost(candidate: &Preemption) -> (usize, i32, i64, usize, Reverse<jiff::Timestamp>) {
    let highest = candidate.victims.iter().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
    let sum = candidate.victims.iter().map(|pod| i64::from(pod.priority) - i64::from(i32::MIN)).sum();
    let started = candidate.victims.iter().filter(|pod| pod.priority == highest).map(|pod| started(pod)).min();
    let started = started.unwrap_or(jiff::Timestamp::MAX);
    (candidate.violations, highest, sum, candidate.victims.len(), Reverse(started))
}

/// When a pod was started; one that was not yet is the youngest.
fn started(pod: &PodInfo) -> jiff::Timestamp {
    pod.started.unwrap_or(jiff::Timestamp::MAX)
}

/// The most important first (`MoreImportantPod`).
fn importance(pod: &Arc<PodInfo>) -> (Reverse<i32>, jiff::Timestamp, String) {
    (Reverse(pod.priority), started(pod), pod.uid.clone())
}

/// What decides beside the pod and the node.
struct Others<'a> {
    cache: &'a Cache,
    lookup: &'a dyn Lookup,
    nominated: &'a Nominated,
    budgets: &'a Budgets,
}

impl Others<'_> {
    /// Takes away every less important pod, then puts back as many as it can: first those that a budget keeps, and of
    /// each sort the most important first (`SelectVictimsOnNode`). Fails with the reasons why the pod would not even fit
    /// then.
    fn victims(&self, pod: &PodInfo, node: &NodeInfo) -> Result<Preemption, Vec<String>> {
        let mut lesser: Vec<Arc<PodInfo>> =
            node.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
        if lesser.is_empty() {
            return Err(vec![NO_VICTIMS.into()]);
        }
        lesser.sort_by_cached_key(importance);
        let mut emptier = node.clone();
        let mut absent = HashSet::new();
        for other in &lesser {
            emptier.remove(&other.uid);
            absent.insert(other.uid.clone());
        }
        self.fits(pod, &emptier, &absent).map_err(|rejection| rejection.reasons)?;
        let (kept, free) = self.budgets.split(lesser);
        let kept_count = kept.len();
        let mut violations = 0;
        let mut victims = Vec::new();
        for (at, other) in kept.into_iter().chain(free).enumerate() {
            emptier.add(other.clone());
            absent.remove(&other.uid);
            if self.fits(pod, &emptier, &absent).is_err() {
                emptier.remove(&other.uid);
                absent.insert(other.uid.clone());
                victims.push(other);
                violations += usize::from(at < kept_count);
            }
        }
        if victims.is_empty() {
            return Err(vec![format!("expected at least one victim pod on node {:?}", node.name())]);
        }
        victims.sort_by_cached_key(importance);
        Ok(Preemption { node: node.name().to_string(), victims, violations })
    }

    fn fits(&self, pod: &PodInfo, node: &NodeInfo, absent: &HashSet<String>) -> Result<(), Rejection> {
        let state = CycleState::new(pod, self.cache, self.lookup, absent)?;
        cycle::fits(pod, node, &state, self.lookup, self.nominated)
    }
}
