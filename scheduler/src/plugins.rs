//! Filters and scores, one file a plugin, and what they read.
//!
//! Names, reasons and weights are those of the default profile of kube-scheduler.

pub(crate) mod dynamic_resources;
pub(crate) mod image_locality;
pub(crate) mod inter_pod_affinity;
pub(crate) mod node_affinity;
pub(crate) mod node_declared_features;
pub(crate) mod node_ports;
pub(crate) mod node_resources;
pub(crate) mod node_unschedulable;
pub(crate) mod pod_topology_spread;
pub(crate) mod taint_toleration;
pub(crate) mod volume_binding;

use std::collections::HashSet;

use crate::cache::Cache;
use crate::lookup::Lookup;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The highest score of a node.
pub(crate) const SCORE_MAX: i64 = 100;

/// The plugins that can reject a node, by which the queue decides what wakes a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Plugin {
    /// `NodeUnschedulable`
    NodeUnschedulable,
    /// `NodeName`
    NodeName,
    /// `TaintToleration`
    TaintToleration,
    /// `NodeAffinity`
    NodeAffinity,
    /// `NodePorts`
    NodePorts,
    /// `NodeResourcesFit`
    NodeResourcesFit,
    /// `VolumeBinding`, with `VolumeRestrictions` and `VolumeZone`
    VolumeBinding,
    /// `PodTopologySpread`
    PodTopologySpread,
    /// `InterPodAffinity`
    InterPodAffinity,
    /// `DynamicResources`
    DynamicResources,
    /// `NodeDeclaredFeatures`
    NodeDeclaredFeatures,
}

impl Plugin {
    /// Those that look at a node, in the order in which they do.
    pub(crate) const ALL: [Self; 11] = [
        Self::NodeUnschedulable,
        Self::NodeName,
        Self::TaintToleration,
        Self::NodeAffinity,
        Self::NodePorts,
        Self::NodeResourcesFit,
        Self::VolumeBinding,
        Self::PodTopologySpread,
        Self::InterPodAffinity,
        Self::DynamicResources,
        Self::NodeDeclaredFeatures,
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::NodeName => "NodeName",
            Self::TaintToleration => "TaintToleration",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::NodeResourcesFit => "NodeResourcesFit",
            Self::VolumeBinding => "VolumeBinding",
            Self::PodTopologySpread => "PodTopologySpread",
            Self::InterPodAffinity => "InterPodAffinity",
            Self::DynamicResources => "DynamicResources",
            Self::NodeDeclaredFeatures => "NodeDeclaredFeatures",
        }
    }
}

/// The plugins that give scores.
pub(crate) const SCORERS: [&str; 8] = [
    "TaintToleration",
    "NodeAffinity",
    "NodeResourcesFit",
    "NodeResourcesBalancedAllocation",
    "PodTopologySpread",
    "InterPodAffinity",
    "DynamicResources",
    "ImageLocality",
];

/// Why a node, or every node, cannot take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// Who says so.
    pub plugin: Plugin,
    /// Why, for people.
    pub reasons: Vec<String>,
    /// Whether taking pods off the node could help.
    pub resolvable: bool,
    /// Whether something is wrong with what the pod asks for, so that no other node is looked at.
    pub is_error: bool,
}

impl Rejection {
    pub(crate) fn resolvable(plugin: Plugin, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: true, is_error: false }
    }

    pub(crate) fn final_(plugin: Plugin, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: false, is_error: false }
    }

    pub(crate) fn error(plugin: Plugin, reason: impl Into<String>) -> Self {
        Self { is_error: true, ..Self::final_(plugin, reason) }
    }
}

/// What is worked out once for a pod and read for each node.
pub(crate) struct CycleState {
    affinity: inter_pod_affinity::State,
    spread: pod_topology_spread::State,
    volumes: volume_binding::State,
    devices: dynamic_resources::State,
}

impl CycleState {
    /// Works the state out.
    ///
    /// # Errors
    /// If no node at all can take the pod.
    pub(crate) fn new(
        pod: &PodInfo,
        cache: &Cache,
        lookup: &dyn Lookup,
        absent: &HashSet<String>,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            affinity: inter_pod_affinity::State::new(pod, cache, lookup, absent),
            spread: pod_topology_spread::State::new(pod, cache, absent),
            volumes: volume_binding::State::new(pod, cache, lookup)?,
            devices: dynamic_resources::State::new(pod, lookup)?,
        })
    }

    /// What must happen to volumes before the pod can be bound to `node`.
    pub(crate) fn volume_plan(&self, node: &NodeInfo, lookup: &dyn Lookup) -> volume_binding::Plan {
        self.volumes.plan(node, lookup)
    }

    /// What is known of the pod's claims of devices.
    pub(crate) fn devices(&self) -> &dynamic_resources::State {
        &self.devices
    }
}

/// Runs every filter on one node, in the order of the default profile; the first rejection counts.
///
/// # Errors
/// Why the node cannot take the pod.
pub(crate) fn filter(pod: &PodInfo, node: &NodeInfo, state: &CycleState, lookup: &dyn Lookup) -> Result<(), Rejection> {
    node_unschedulable::filter(pod, node)?;
    node_affinity::filter_name(pod, node)?;
    taint_toleration::filter(pod, node)?;
    node_affinity::filter(pod, node)?;
    node_ports::filter(pod, node)?;
    node_resources::filter(pod, node, lookup)?;
    state.volumes.filter(node, lookup)?;
    state.spread.filter(pod, node)?;
    state.affinity.filter(pod, node)?;
    state.devices.filter(pod, node)?;
    node_declared_features::filter(pod, node)
}

/// The weighted sum of all scores, one a node of `nodes`.
pub(crate) fn score(pod: &PodInfo, nodes: &[&NodeInfo], state: &CycleState, cache: &Cache) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    let mut add = |weight: i64, scores: Option<Vec<i64>>| {
        for (total, score) in totals.iter_mut().zip(scores.into_iter().flatten()) {
            *total += weight * score;
        }
    };
    add(3, taint_toleration::score(pod, nodes));
    add(2, node_affinity::score(pod, nodes));
    add(1, Some(node_resources::score_least_allocated(pod, nodes)));
    add(1, Some(node_resources::score_balanced(pod, nodes)));
    add(2, state.spread.score(nodes));
    add(2, state.affinity.score(nodes));
    add(2, state.devices.score(nodes));
    add(1, image_locality::score(pod, nodes, cache));
    totals
}

/// Scales scores to 0..=100; the highest becomes 100, or 0 if `reverse`.
pub(crate) fn normalize(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or(0);
    for score in scores.iter_mut() {
        if max > 0 {
            *score = *score * SCORE_MAX / max;
        }
        if reverse {
            *score = SCORE_MAX - *score;
        }
    }
}
