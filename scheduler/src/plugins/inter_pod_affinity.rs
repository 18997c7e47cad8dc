//! `InterPodAffinity`: pods that want to be near others, or far from them.

use std::collections::{HashMap, HashSet};

use super::{Plugin, Rejection, SCORE_MAX};
use crate::cache::Cache;
use crate::lookup::Lookup;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// A topology key and a value of it: one domain.
type Domain = (String, String);

/// Where the pods are that the terms speak of, by domain.
#[derive(Default)]
pub(crate) struct State {
    /// Domains that pods there want to keep this pod out of.
    unwelcome: HashSet<Domain>,
    /// For each required term: the domains with a pod it selects.
    near: Vec<HashSet<String>>,
    /// For each required anti-affinity term: the domains with a pod it selects.
    far: Vec<HashSet<String>>,
    /// The pod's own required terms all select the pod itself, and nothing else is selected anywhere: it may be the first.
    first: bool,
    /// Weights by domain.
    weights: HashMap<Domain, i64>,
}

impl State {
    /// Looks at the pods in place, but for those whose uid is in `absent`.
    pub(crate) fn new(pod: &PodInfo, cache: &Cache, lookup: &dyn Lookup, absent: &HashSet<String>) -> Self {
        let mut state = Self {
            near: vec![HashSet::new(); pod.affinity.len()],
            far: vec![HashSet::new(); pod.anti_affinity.len()],
            ..Self::default()
        };
        let own_terms = !pod.affinity.is_empty() || !pod.anti_affinity.is_empty() || !pod.preferred.is_empty();
        if !own_terms && !cache.has_anti_affinity() {
            return state;
        }
        for node in cache.nodes() {
            if !own_terms && node.anti_affine == 0 {
                continue;
            }
            for other in node.pods.values().filter(|other| !absent.contains(&other.uid)) {
                state.look_at(pod, node, other, lookup);
            }
        }
        let nothing_near = state.near.iter().all(HashSet::is_empty);
        state.first = nothing_near && pod.affinity.iter().all(|term| term.selects(pod, lookup));
        state
    }

    fn look_at(&mut self, pod: &PodInfo, node: &NodeInfo, other: &PodInfo, lookup: &dyn Lookup) {
        let value = |key: &str| node.labels().get(key).cloned();
        for term in &other.anti_affinity {
            if let Some(value) = value(&term.topology_key).filter(|_| term.selects(pod, lookup)) {
                self.unwelcome.insert((term.topology_key.clone(), value));
            }
        }
        // A pod counts for affinity if it matches every term, as in the reference.
        if !pod.affinity.is_empty() && pod.affinity.iter().all(|term| term.selects(other, lookup)) {
            for (term, near) in pod.affinity.iter().zip(&mut self.near) {
                near.extend(value(&term.topology_key));
            }
        }
        for (term, far) in pod.anti_affinity.iter().zip(&mut self.far) {
            if term.selects(other, lookup) {
                far.extend(value(&term.topology_key));
            }
        }
        for (weight, term) in &pod.preferred {
            if let Some(value) = value(&term.topology_key).filter(|_| term.selects(other, lookup)) {
                *self.weights.entry((term.topology_key.clone(), value)).or_default() += weight;
            }
        }
        for (weight, term) in &other.preferred {
            if let Some(value) = value(&term.topology_key).filter(|_| term.selects(pod, lookup)) {
                *self.weights.entry((term.topology_key.clone(), value)).or_default() += weight;
            }
        }
    }

    /// Rejects a node in a domain that the terms exclude.
    ///
    /// # Errors
    /// Why the node cannot take the pod.
    pub(crate) fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let value = |key: &str| node.labels().get(key);
        let plugin = Plugin::InterPodAffinity;
        for (term, near) in pod.affinity.iter().zip(&self.near) {
            let satisfied = value(&term.topology_key).is_some_and(|value| self.first || near.contains(value));
            if !satisfied {
                return Err(Rejection::final_(plugin, "node(s) didn't match pod affinity rules"));
            }
        }
        for (term, far) in pod.anti_affinity.iter().zip(&self.far) {
            if value(&term.topology_key).is_some_and(|value| far.contains(value)) {
                return Err(Rejection::resolvable(plugin, "node(s) didn't match pod anti-affinity rules"));
            }
        }
        let unwelcome = |(key, kept): &Domain| value(key).is_some_and(|value| value == kept);
        if !self.unwelcome.is_empty() && self.unwelcome.iter().any(unwelcome) {
            return Err(Rejection::resolvable(plugin, "node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    /// Prefers nodes in domains of more weight.
    pub(crate) fn score(&self, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        if self.weights.is_empty() {
            return None;
        }
        let weigh = |node: &&NodeInfo| {
            let here = |((key, kept), _): &(&Domain, &i64)| node.labels().get(key) == Some(kept);
            self.weights.iter().filter(here).map(|(_, weight)| weight).sum::<i64>()
        };
        let sums: Vec<i64> = nodes.iter().map(weigh).collect();
        let (min, max) = (sums.iter().min()?, sums.iter().max()?);
        let spread = max - min;
        Some(sums.iter().map(|sum| if spread > 0 { SCORE_MAX * (sum - min) / spread } else { 0 }).collect())
    }
}
