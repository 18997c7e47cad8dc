//! A pod as the scheduler sees it: what its filters need, worked out once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use api::pods;
use api::selector::LabelSelector;
use client::host_ports::{HostPort, host_ports};
use k8s_openapi::api::core::v1::{
    NodeAffinity, ObjectReference, Pod, PodAffinityTerm, PodCondition, PodSpec, PodStatus, Toleration,
    TopologySpreadConstraint,
};

use crate::plugins::node_declared_features::needed;
use crate::pod_devices::{Asking, PodClaim};
use crate::resources::Requests;

/// What the scheduler needs of a pod, parsed once. The pod itself is not kept: it is many times as large.
#[derive(Debug)]
pub(crate) struct PodInfo {
    namespace: String,
    name: String,
    /// Its uid.
    pub uid: String,
    resource_version: Option<String>,
    /// Which state of its spec this is.
    pub generation: Option<i64>,
    /// Its labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is being deleted because it had to go for a more important one.
    pub preempted: bool,
    /// When it was started.
    pub started: Option<jiff::Timestamp>,
    /// Whether gates hold it.
    pub gated: bool,
    /// Whether others may be made to go for it.
    pub preempts: bool,
    /// The one node that it names, or is on; empty if there is none.
    pub node_name: Box<str>,
    /// Where it may go.
    pub wanted: Arc<Wanted>,
    /// Its condition `PodScheduled`.
    pub scheduled: Option<Box<PodCondition>>,
    /// The node that it was promised.
    pub nominated: Option<String>,
    /// Its priority.
    pub priority: i32,
    /// What it asks for.
    pub requests: Requests,
    /// Host ports: protocol, address, port.
    pub host_ports: Vec<HostPort>,
    /// Required affinity to other pods.
    pub affinity: Vec<Term>,
    /// Required anti-affinity to other pods.
    pub anti_affinity: Vec<Term>,
    /// Preferred affinity (positive weight) and anti-affinity (negative weight).
    pub preferred: Vec<(i64, Term)>,
    /// Topology spread constraints.
    pub spread: Vec<Spread>,
    /// Its claims of devices.
    pub claims: Vec<PodClaim>,
    /// What its containers ask for of extended resources, which may stand for devices.
    pub extended: Option<Box<[Asking]>>,
}

/// What a pod says of the node it wants.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Wanted {
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Required and preferred affinity to nodes.
    pub node_affinity: Option<Box<NodeAffinity>>,
    /// The taints that it puts up with.
    pub tolerations: Vec<Toleration>,
    /// Its images.
    pub images: Vec<String>,
    /// The names of the claims that it mounts.
    pub claims: Vec<String>,
    /// The features that the node must declare.
    pub features: Vec<&'static str>,
}

/// A term of inter-pod affinity.
#[derive(Debug)]
pub(crate) struct Term {
    selector: LabelSelector,
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelector>,
    /// The node label whose values are the domains.
    pub topology_key: String,
}

impl Term {
    /// Whether the term selects `pod`, given the labels of the pod's namespace.
    pub(crate) fn selects(&self, pod: &PodInfo, namespaces: &dyn NamespaceLabels) -> bool {
        let namespace = pod.namespace();
        let in_namespace = self.namespaces.iter().any(|name| name == namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| namespaces.matches(namespace, selector));
        in_namespace && self.selector.matches(&*pod.labels)
    }
}

/// Looks up the labels of namespaces.
pub(crate) trait NamespaceLabels {
    /// Whether the labels of the namespace match.
    fn matches(&self, namespace: &str, selector: &LabelSelector) -> bool;
}

/// A topology spread constraint.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The constraint as given.
    pub constraint: TopologySpreadConstraint,
    /// Its selector, with the labels of `matchLabelKeys`.
    pub selector: LabelSelector,
}

/// What many pods have in common, to have it once: of pods of one template, that is most of what is known.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    labels: Recent<BTreeMap<String, String>>,
    wanted: Recent<Wanted>,
}

/// How many values are remembered.
const RECENT_MAX: usize = 64;

/// The values seen last.
#[derive(Debug)]
struct Recent<T>(VecDeque<Arc<T>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: PartialEq> Recent<T> {
    fn share(&mut self, value: T) -> Arc<T> {
        if let Some(found) = self.0.iter().find(|known| ***known == value) {
            return found.clone();
        }
        let value = Arc::new(value);
        self.0.truncate(RECENT_MAX - 1);
        self.0.push_front(value.clone());
        value
    }
}

/// Whether the status says that the scheduler made the pod go (`podTerminatingByPreemption`).
fn had_to_go(status: &PodStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|c| {
        c.type_ == "DisruptionTarget" && c.status == "True" && c.reason.as_deref() == Some("PreemptionByScheduler")
    })
}

impl PodInfo {
    /// Parses a pod; what it has in common with others is kept in `sharing`.
    pub(crate) fn new(pod: &Pod, sharing: &mut Sharing) -> Self {
        let (meta, spec, status) = (&pod.metadata, pod.spec.as_ref(), pod.status.as_ref());
        let affinity = spec.and_then(|spec| spec.affinity.as_ref());
        let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let far = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        let mut preferred = Vec::new();
        let wanted = near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_ref());
        for weighted in wanted.into_iter().flatten() {
            preferred.push((i64::from(weighted.weight), term(pod, &weighted.pod_affinity_term)));
        }
        let unwanted = far.and_then(|far| far.preferred_during_scheduling_ignored_during_execution.as_ref());
        for weighted in unwanted.into_iter().flatten() {
            preferred.push((-i64::from(weighted.weight), term(pod, &weighted.pod_affinity_term)));
        }
        let terms = |list: Option<&Vec<PodAffinityTerm>>| list.into_iter().flatten().map(|t| term(pod, t)).collect();
        let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let wanted = spec.map(|spec| Wanted::new(spec, meta.name.as_deref().unwrap_or(""))).unwrap_or_default();
        let scheduled = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled");
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone(),
            generation: meta.generation,
            labels: sharing.labels.share(meta.labels.clone().unwrap_or_default()),
            deleting: meta.deletion_timestamp.is_some(),
            preempted: meta.deletion_timestamp.is_some() && status.is_some_and(had_to_go),
            started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            gated: spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty()),
            preempts: spec.and_then(|spec| spec.preemption_policy.as_deref()) != Some("Never"),
            node_name: spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or("").into(),
            wanted: sharing.wanted.share(wanted),
            scheduled: scheduled.cloned().map(Box::new),
            nominated: status.and_then(|status| status.nominated_node_name.clone()),
            priority: spec.and_then(|spec| spec.priority).unwrap_or(0),
            requests: Requests::of(pod),
            host_ports: spec.map(host_ports).unwrap_or_default(),
            affinity: terms(near.and_then(|near| near.required_during_scheduling_ignored_during_execution.as_ref())),
            anti_affinity: terms(far.and_then(|far| far.required_during_scheduling_ignored_during_execution.as_ref())),
            preferred,
            spread: spread(pod),
            claims: PodClaim::all(pod),
            extended: spec.and_then(Asking::all),
        }
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A reference to the pod, as events have it.
    pub(crate) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            resource_version: self.resource_version.clone(),
            ..ObjectReference::default()
        }
    }
}

impl Wanted {
    fn new(spec: &PodSpec, pod_name: &str) -> Self {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let volumes = spec.volumes.iter().flatten();
        let claims = volumes.filter_map(|volume| Some(pods::claim_of(pod_name, volume)?.into_owned()));
        Self {
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            node_affinity: spec.affinity.as_ref().and_then(|a| a.node_affinity.clone()).map(Box::new),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            images: containers.map(|container| container.image.clone().unwrap_or_default()).collect(),
            claims: claims.collect(),
            features: needed(spec),
        }
    }
}

/// A selector as filters use it; none selects nothing.
pub(crate) fn selector(typed: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>) -> LabelSelector {
    // The API server has validated it; what it would refuse selects nothing.
    LabelSelector::from_typed(typed).unwrap_or_else(|_| LabelSelector::nothing())
}

fn term(pod: &Pod, typed: &PodAffinityTerm) -> Term {
    let mut namespaces = typed.namespaces.clone().unwrap_or_default();
    if namespaces.is_empty() && typed.namespace_selector.is_none() {
        namespaces.extend(pod.metadata.namespace.clone());
    }
    let mut with_keys = typed.label_selector.clone();
    if let Some(selector) = &mut with_keys {
        add_keys(selector, pod, typed.match_label_keys.as_deref(), "In");
        add_keys(selector, pod, typed.mismatch_label_keys.as_deref(), "NotIn");
    }
    Term {
        selector: selector(with_keys.as_ref()),
        namespaces,
        namespace_selector: typed.namespace_selector.as_ref().map(|typed| selector(Some(typed))),
        topology_key: typed.topology_key.clone(),
    }
}

fn add_keys(
    selector: &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
    pod: &Pod,
    keys: Option<&[String]>,
    operator: &str,
) {
    for key in keys.into_iter().flatten() {
        let Some(value) = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) else { continue };
        selector.match_expressions.get_or_insert_default().push(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.into(),
                values: Some(vec![value.clone()]),
            },
        );
    }
}

fn spread(pod: &Pod) -> Vec<Spread> {
    let constraints = pod.spec.as_ref().and_then(|spec| spec.topology_spread_constraints.as_ref());
    let mut found = Vec::new();
    for constraint in constraints.into_iter().flatten() {
        let mut typed = constraint.label_selector.clone();
        if let Some(typed) = &mut typed {
            add_keys(typed, pod, constraint.match_label_keys.as_deref(), "In");
        }
        found.push(Spread { selector: selector(typed.as_ref()), constraint: constraint.clone() });
    }
    found
}
