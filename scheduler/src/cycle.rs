//! One attempt to find a node for a pod.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::cache::Cache;
use crate::lookup::Lookup;
use crate::node::NodeInfo;
use crate::plugins::dynamic_resources::{self, GiveUp};
use crate::plugins::volume_binding::Plan;
use crate::plugins::{self, CycleState, Plugin, Rejection};
use crate::pod::PodInfo;

/// With fewer feasible nodes than this, all are looked for (`minFeasibleNodesToFind`).
const FEASIBLE_MIN: usize = 100;
/// At least this share of the nodes is looked for, in percent (`minFeasibleNodesPercentageToFind`).
const PERCENTAGE_MIN: usize = 5;

/// Where a pod goes, and what must happen before.
#[derive(Debug)]
pub(crate) struct Decision {
    /// The node's name.
    pub node: String,
    /// What must happen to volumes first.
    pub volumes: Plan,
    /// What must be written of claims of devices first.
    pub devices: dynamic_resources::Plan,
}

/// Why no node takes a pod.
#[derive(Debug, Default)]
pub(crate) struct FitError {
    /// How many nodes there are.
    pub nodes: usize,
    /// Why no node at all can take it.
    pub all: Option<Rejection>,
    /// Why each cannot, by name.
    pub by_node: BTreeMap<String, Rejection>,
    /// What is wrong with what the pod asks for, so that the search was given up.
    pub error: Option<String>,
    /// Whether the pod has claims of devices that could be looked at.
    pub has_claims: bool,
    /// What could be given up of them.
    pub give_up: Option<GiveUp>,
}

impl FitError {
    /// The plugins that rejected.
    pub(crate) fn plugins(&self) -> HashSet<Plugin> {
        let mut found: HashSet<Plugin> =
            self.by_node.values().chain(&self.all).map(|rejection| rejection.plugin).collect();
        if found.is_empty() {
            // Without nodes, only a node helps.
            found.insert(Plugin::NodeName);
        }
        found
    }

    /// The message for people, as `FitError.Error` words it; `after` is what preemption says.
    pub(crate) fn message(&self, after: Option<&str>) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".into();
        }
        let mut text = format!("0/{} nodes are available:", self.nodes);
        let reasons = match &self.all {
            Some(rejection) => rejection.reasons.clone(),
            None => {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for reason in self.by_node.values().flat_map(|rejection| &rejection.reasons) {
                    *counts.entry(reason).or_default() += 1;
                }
                let mut lines: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
                lines.sort();
                lines
            }
        };
        if !reasons.is_empty() {
            text.push_str(&format!(" {}.", reasons.join(", ")));
        }
        if let Some(after) = after {
            text.push_str(&format!(" {after}"));
        }
        text
    }
}

/// Finds nodes. Holds where the last search ended, so that every node gets its turn.
#[derive(Default)]
pub(crate) struct Finder {
    start: usize,
    evaluated: Evaluated,
}

/// How often plugins looked at a node so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Evaluated {
    /// By the filters, in their order.
    pub filters: [u64; Plugin::ALL.len()],
    /// By each of those that give scores.
    pub scores: u64,
}

impl Evaluated {
    /// The filters stop at the first that rejects the node.
    fn filtered(&mut self, outcome: Result<&(), &Rejection>) {
        let last = outcome.err().and_then(|by| Plugin::ALL.iter().position(|plugin| *plugin == by.plugin));
        let last = last.unwrap_or(Plugin::ALL.len() - 1);
        self.filters[..=last].iter_mut().for_each(|count| *count += 1);
    }
}

/// The parts of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// What is worked out once for a pod.
    PreFilter,
    /// Which nodes can take it.
    Filter,
    /// Which of them is best.
    Score,
}

/// Pods that were promised a node by preemption, by uid.
pub(crate) type Nominated = HashMap<String, (std::sync::Arc<PodInfo>, String)>;

impl Finder {
    /// Finds the best node. `ended` is told of each part when it is over, and whether it found anything.
    ///
    /// # Errors
    /// Why none takes the pod.
    pub(crate) fn find(
        &mut self,
        pod: &PodInfo,
        cache: &Cache,
        lookup: &dyn Lookup,
        nominated: &Nominated,
        random: &mut dyn FnMut() -> u64,
        ended: &mut dyn FnMut(Stage, bool),
    ) -> Result<Decision, FitError> {
        let mut error = FitError { nodes: cache.node_count(), ..FitError::default() };
        let state = match CycleState::new(pod, cache, lookup, &HashSet::new()) {
            Ok(state) => state,
            Err(rejection) => {
                ended(Stage::PreFilter, false);
                if rejection.is_error {
                    let (plugin, why) = (rejection.plugin.name(), rejection.reasons.join(", "));
                    error.error = Some(format!("running PreFilter plugin {plugin:?}: {why}"));
                }
                error.all = Some(rejection);
                return Err(error);
            }
        };
        ended(Stage::PreFilter, true);
        let feasible = self.feasible(pod, cache, lookup, nominated, &state, &mut error);
        ended(Stage::Filter, !feasible.is_empty());
        let best = match feasible.as_slice() {
            [] => {
                error.has_claims = state.devices().has_claims();
                error.give_up = state.devices().give_up(pod);
                return Err(error);
            }
            [only] => *only,
            several => {
                self.evaluated.scores += several.len() as u64;
                let scores = plugins::score(pod, several, &state, cache);
                ended(Stage::Score, true);
                several[highest(&scores, random)]
            }
        };
        let (node, volumes) = (best.name().to_string(), state.volume_plan(best, lookup));
        Ok(Decision { devices: state.devices().plan(&node), node, volumes })
    }

    /// How often plugins looked at a node so far.
    pub(crate) fn evaluated(&self) -> Evaluated {
        self.evaluated
    }

    fn feasible<'a>(
        &mut self,
        pod: &PodInfo,
        cache: &'a Cache,
        lookup: &dyn Lookup,
        nominated: &Nominated,
        state: &CycleState,
        error: &mut FitError,
    ) -> Vec<&'a NodeInfo> {
        if let Some((_, node)) = nominated.get(&pod.uid)
            && let Some(node) = cache.node(node)
            && fits(pod, node, state, lookup, nominated).is_ok()
        {
            return vec![node];
        }
        let nodes: Vec<&NodeInfo> = cache.nodes().collect();
        let enough = enough(nodes.len());
        let mut feasible = Vec::with_capacity(enough);
        let mut looked_at = 0;
        for at in 0..nodes.len() {
            let node = nodes[(self.start + at) % nodes.len()];
            looked_at += 1;
            let fits = fits(pod, node, state, lookup, nominated);
            self.evaluated.filtered(fits.as_ref());
            match fits {
                Ok(()) => feasible.push(node),
                Err(rejection) if rejection.is_error => {
                    let (plugin, why) = (rejection.plugin.name(), rejection.reasons.join(", "));
                    error.error = Some(format!("running {plugin:?} filter plugin: {why}"));
                    return Vec::new();
                }
                Err(rejection) => _ = error.by_node.insert(node.name().to_string(), rejection),
            }
            if feasible.len() >= enough {
                break;
            }
        }
        if !nodes.is_empty() {
            self.start = (self.start + looked_at) % nodes.len();
        }
        feasible
    }
}

/// Whether the node takes the pod, also with the pods of no less priority that were promised the node.
pub(crate) fn fits(
    pod: &PodInfo,
    node: &NodeInfo,
    state: &CycleState,
    lookup: &dyn Lookup,
    nominated: &Nominated,
) -> Result<(), Rejection> {
    let promised = |(other, place): &&(std::sync::Arc<PodInfo>, String)| {
        place == node.name() && other.uid != pod.uid && other.priority >= pod.priority
    };
    if nominated.values().any(|entry| promised(&entry)) {
        let mut fuller = node.clone();
        for (other, _) in nominated.values().filter(promised) {
            fuller.add(other.clone());
        }
        plugins::filter(pod, &fuller, state, lookup)?;
    }
    plugins::filter(pod, node, state, lookup)
}

/// How many feasible nodes are enough (`numFeasibleNodesToFind`).
fn enough(nodes: usize) -> usize {
    if nodes < FEASIBLE_MIN {
        return nodes;
    }
    let percentage = 50_usize.saturating_sub(nodes / 125).max(PERCENTAGE_MIN);
    (nodes * percentage / 100).max(FEASIBLE_MIN)
}

/// The place of the highest score; one of them by chance if there are several.
fn highest(scores: &[i64], random: &mut dyn FnMut() -> u64) -> usize {
    let max = scores.iter().max().copied().unwrap_or(0);
    let best: Vec<usize> = (0..scores.len()).filter(|at| scores[*at] == max).collect();
    best[usize::try_from(random() % best.len() as u64).expect("less than a usize")]
}
