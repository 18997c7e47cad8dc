//! Whether the node takes a pod that was bound to it. The scheduler has looked at the same things, but a pod may name its
//! node itself, and the node may have changed since.

mod apparmor;
pub mod sysctls;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use api::resources::ResourceList;
use client::{
    Change,
    host_ports::host_ports,
    node_fit::{is_chosen, repels},
};
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::Api;
use parking_lot::Mutex;

use crate::{agent::Agent, pod, resources, status::Verdict, worker::resize};
use sysctls::Sysctls;

/// The resources that are looked at first, as their order decides which refusal is told.
const RESOURCES_FIRST: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// The label of a node's operating system.
const OS_LABEL: &str = "kubernetes.io/os";

/// The pods of this node, and which of them it has taken.
#[derive(Default)]
pub struct Admission {
    pods: Mutex<HashMap<String, Entry>>,
    sysctls: Sysctls,
}

struct Entry {
    pod: Arc<Pod>,
    admitted: bool,
}

impl Admission {
    /// The admission of a node whose pods may set these kernel parameters.
    pub fn new(sysctls: Sysctls) -> Self {
        Self { pods: Mutex::default(), sysctls }
    }

    /// Follows the pods that are bound to this node. One with a start time was taken before.
    pub fn note(&self, change: &Change<Pod>) {
        let pod = change.object();
        let uid = pod::uid(pod);
        let mut pods = self.pods.lock();
        if matches!(change, Change::Deleted(_)) {
            pods.remove(uid);
            return;
        }
        let started = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        let admitted = started || pods.get(uid).is_some_and(|entry| entry.admitted);
        pods.insert(uid.to_owned(), Entry { pod: pod.clone(), admitted });
    }

    /// Takes the pod or says why not. The node is read afresh, as its labels may be newer than the pod's binding.
    ///
    /// # Errors
    /// When the node cannot be read; the inner error is the refusal.
    pub async fn judge(&self, agent: &Agent, pod: &Pod) -> Result<Result<(), Verdict>, String> {
        let known = self.pods.lock().get(pod::uid(pod)).is_none_or(|entry| entry.admitted);
        if known {
            return Ok(Ok(()));
        }
        let api: Api<Node> = Api::all(agent.client.clone());
        let node = api.get(&agent.config.node_name).await.map_err(|error| format!("cannot get the node: {error}"))?;
        let capacity = agent.machine.capacity(agent.config.max_pods);
        let strict = wants_strict_groups(pod)
            && !agent.cri.features().await.map_err(|error| error.to_string())?.supplemental_groups_policy;
        let mut pods = self.pods.lock();
        let taken: Vec<_> = pods.values().filter(|entry| entry.admitted && !pod::is_terminal(&entry.pod)).collect();
        let others: Vec<&Pod> = taken.into_iter().map(|entry| entry.pod.as_ref()).collect();
        let verdict = self.sysctls.refusal(pod);
        let verdict = verdict.or_else(|| {
            strict.then(|| Verdict {
                reason: "SupplementalGroupsPolicyNotSupported".to_owned(),
                message: "SupplementalGroupsPolicy=Strict is not supported in this node".to_owned(),
            })
        });
        let verdict = verdict.or_else(|| refusal(pod, &node, &capacity, &others));
        let verdict = verdict.or_else(|| apparmor::refusal(pod, apparmor::is_enabled));
        if verdict.is_none()
            && let Some(entry) = pods.get_mut(pod::uid(pod))
        {
            entry.admitted = true;
        }
        Ok(verdict.map_or(Ok(()), Err))
    }
}

impl Admission {
    /// Why the node cannot give a pod that it has taken the resources that this state of it asks for: the reason and
    /// the message of the condition.
    pub fn refuses_resize(&self, agent: &Agent, pod: &Pod) -> Option<(&'static str, String)> {
        let capacity = agent.machine.capacity(agent.config.max_pods);
        let pods = self.pods.lock();
        let others = pods
            .iter()
            .filter(|(uid, entry)| entry.admitted && uid.as_str() != pod::uid(pod) && !pod::is_terminal(&entry.pod));
        let others: Vec<&Pod> = others.map(|(_, entry)| entry.pod.as_ref()).collect();
        if let Some(never) = lacking(pod, &capacity, &[]) {
            return Some((resize::INFEASIBLE, never.message));
        }
        lacking(pod, &capacity, &others).map(|now| (resize::DEFERRED, now.message))
    }
}

/// Whether a pod's processes must be in no group that only the image names.
fn wants_strict_groups(pod: &Pod) -> bool {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    context.and_then(|context| context.supplemental_groups_policy.as_deref()) == Some("Strict")
}

/// Why a node with these other pods does not take the pod (`predicateAdmitHandler` in pkg/kubelet/lifecycle).
fn refusal(pod: &Pod, node: &Node, capacity: &BTreeMap<String, Quantity>, others: &[&Pod]) -> Option<Verdict> {
    let spec = pod.spec.as_ref()?;
    let refuse = |reason: &str, message: String| Some(Verdict { reason: reason.to_owned(), message });
    let predicate = |name: &str, why: &str| refuse(name, format!("Predicate {name} failed: {why}"));
    let labelled = pod.metadata.labels.as_ref().and_then(|labels| labels.get(OS_LABEL));
    if labelled.is_some_and(|os| os != "linux") {
        let why = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return refuse("PodOSSelectorNodeLabelDoesNotMatch", why.to_owned());
    }
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        return refuse("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS".to_owned());
    }
    if let Some(short) = lacking(pod, capacity, others) {
        return Some(short);
    }
    if !is_chosen(spec, node) {
        return predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    }
    let wanted = host_ports(spec);
    let taken: Vec<_> = others.iter().filter_map(|other| other.spec.as_ref()).flat_map(host_ports).collect();
    if wanted.iter().any(|wanted| taken.iter().any(|port| wanted.clashes(port))) {
        return predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports");
    }
    if repels(node, spec.tolerations.as_deref().unwrap_or_default(), &["NoExecute"]) {
        return predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate");
    }
    None
}

/// The first resource that is too scarce.
fn lacking(pod: &Pod, capacity: &BTreeMap<String, Quantity>, others: &[&Pod]) -> Option<Verdict> {
    let short = |name: &str, requested: i64, used: i64, capacity: i64| Verdict {
        reason: format!("OutOf{name}"),
        message: format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    };
    let room = |name: &str| capacity.get(name).map_or(0, resources::value);
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if count >= room("pods") {
        return Some(short("pods", 1, count, room("pods")));
    }
    // What the node does not know is not the node's to refuse.
    let rest = capacity.keys().map(String::as_str).filter(|name| *name != "pods" && !RESOURCES_FIRST.contains(name));
    let (wanted, taken) = (resources::requested(pod), others.iter().map(|other| resources::requested(other)));
    let taken: Vec<ResourceList> = taken.collect();
    RESOURCES_FIRST.into_iter().chain(rest).find_map(|name| {
        let in_units = |amount: &api::quantity::Quantity| {
            if name == "cpu" { amount.milli_value() } else { amount.value() }
        };
        let asked = |list: &ResourceList| list.0.get(name).map_or(0, in_units);
        let (requested, used) = (asked(&wanted), taken.iter().map(asked).sum::<i64>());
        let capacity = capacity.get(name).map_or(0, if name == "cpu" { resources::milli } else { resources::value });
        (requested > 0 && requested > capacity - used).then(|| short(name, requested, used, capacity))
    })
}

#[cfg(test)]
mod tests;
