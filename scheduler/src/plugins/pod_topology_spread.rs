//! `PodTopologySpread`: keeps like pods spread evenly over domains.

use std::collections::{HashMap, HashSet};

use super::taint_toleration::tolerates;
use super::{Plugin, Rejection, SCORE_MAX, node_affinity};
use crate::cache::Cache;
use crate::node::NodeInfo;
use crate::pod::{PodInfo, Spread};

/// How many like pods each domain has, for each constraint.
#[derive(Default)]
pub(crate) struct State {
    hard: Vec<Counts>,
    soft: Vec<Counts>,
}

struct Counts {
    key: String,
    max_skew: i64,
    by_domain: HashMap<String, i64>,
    min: i64,
    own: i64,
}

impl State {
    /// Counts the pods in place, but for those whose uid is in `absent`.
    pub(crate) fn new(pod: &PodInfo, cache: &Cache, absent: &HashSet<String>) -> Self {
        let mut state = Self::default();
        for spread in &pod.spread {
            let counts = count(pod, spread, &pod.spread, cache, absent);
            match spread.constraint.when_unsatisfiable.as_str() {
                "DoNotSchedule" => state.hard.push(counts),
                _ => state.soft.push(counts),
            }
        }
        state
    }

    /// Rejects a node in a domain that would have too many.
    ///
    /// # Errors
    /// Why the node cannot take the pod.
    pub(crate) fn filter(&self, _pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let reason = "node(s) didn't match pod topology spread constraints";
        for counts in &self.hard {
            let Some(domain) = node.labels().get(&counts.key) else {
                let reason = format!("{reason} (missing required label)");
                return Err(Rejection::final_(Plugin::PodTopologySpread, reason));
            };
            let here = counts.by_domain.get(domain).copied().unwrap_or(0);
            if here + counts.own - counts.min > counts.max_skew {
                return Err(Rejection::resolvable(Plugin::PodTopologySpread, reason));
            }
        }
        Ok(())
    }

    /// Prefers nodes in domains with fewer like pods.
    pub(crate) fn score(&self, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        if self.soft.is_empty() {
            return None;
        }
        let crowd = |node: &&NodeInfo| -> Option<f64> {
            let mut sum = 0.0;
            for counts in &self.soft {
                let domain = node.labels().get(&counts.key)?;
                // Fewer domains weigh less, as the logarithm in the reference does.
                let weight = (counts.by_domain.len() as f64 + 2.0).ln();
                sum +=
                    counts.by_domain.get(domain).copied().unwrap_or(0) as f64 * weight + (counts.max_skew - 1) as f64;
            }
            Some(sum)
        };
        let crowds: Vec<Option<f64>> = nodes.iter().map(crowd).collect();
        let max = crowds.iter().flatten().copied().fold(0.0, f64::max);
        let min = crowds.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let score = |crowd: &Option<f64>| match crowd {
            None => 0,
            Some(_) if max == 0.0 => SCORE_MAX,
            Some(crowd) => (SCORE_MAX as f64 * (max + min - crowd) / max) as i64,
        };
        Some(crowds.iter().map(score).collect())
    }
}

fn count(pod: &PodInfo, spread: &Spread, all: &[Spread], cache: &Cache, absent: &HashSet<String>) -> Counts {
    let constraint = &spread.constraint;
    let mut by_domain: HashMap<String, i64> = HashMap::new();
    for node in cache.nodes() {
        // Only nodes with the keys of every constraint count.
        if !all.iter().all(|spread| node.labels().contains_key(&spread.constraint.topology_key)) {
            continue;
        }
        if constraint.node_affinity_policy.as_deref() != Some("Ignore") && !node_affinity::matches(pod, node) {
            continue;
        }
        let refuses = |taint: &&k8s_openapi::api::core::v1::Taint| taint.effect != "PreferNoSchedule";
        let honoured = constraint.node_taints_policy.as_deref() == Some("Honor");
        if honoured && node.taints().iter().filter(refuses).any(|taint| !tolerates(pod, taint)) {
            continue;
        }
        let like = node.pods.values().filter(|other| {
            !absent.contains(&other.uid)
                && other.namespace() == pod.namespace()
                && !other.deleting
                && spread.selector.matches(&*other.labels)
        });
        let number = i64::try_from(like.count()).unwrap_or(i64::MAX);
        *by_domain.entry(node.labels()[&constraint.topology_key].clone()).or_default() += number;
    }
    let few = i64::from(constraint.min_domains.unwrap_or(1)) > i64::try_from(by_domain.len()).unwrap_or(i64::MAX);
    Counts {
        key: constraint.topology_key.clone(),
        max_skew: i64::from(constraint.max_skew),
        min: if few { 0 } else { by_domain.values().copied().min().unwrap_or(0) },
        by_domain,
        own: i64::from(spread.selector.matches(&*pod.labels)),
    }
}
