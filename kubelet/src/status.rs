//! The status of a pod, computed from its specification and what the runtime shows, never remembered.

mod conditions;
mod container;
mod phase;
mod resources;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{HostIP, Pod, PodIP, PodStatus, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{observe::Observed, pod, pod::Role, restart::StartsByName, worker::resize::Given};

pub use resources::limits;

/// Why a container waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Such as `ErrImagePull` or `CrashLoopBackOff`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The health of one container instance, as probes find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The startup probe has succeeded, or there is none.
    pub started: bool,
    /// The readiness probe succeeds, or there is none.
    pub ready: bool,
}

/// An end that the agent itself decided on, such as a passed deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `status.reason`.
    pub reason: String,
    /// `status.message`.
    pub message: String,
}

/// The conditions that the agent owns.
pub const OWN_CONDITIONS: [&str; 8] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "AllContainersRestarting",
    "PodResizePending",
    "PodResizeInProgress",
];

/// How far a resize is; there is no such condition otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResizeCondition {
    /// `PodResizePending` or `PodResizeInProgress`.
    pub type_: &'static str,
    /// Why it waits or does not succeed.
    pub reason: Option<&'static str>,
    /// For people.
    pub message: String,
}

/// The status is computed from this.
pub struct Inputs<'a> {
    /// The pod with the status that the API shows.
    pub pod: &'a Pod,
    /// The pod as the runtime shows it.
    pub observed: &'a Observed,
    /// Why containers wait.
    pub starts: &'a StartsByName,
    /// Termination messages, by CRI id.
    pub messages: &'a HashMap<String, String>,
    /// The findings of probes, by CRI id.
    pub health: &'a HashMap<String, Health>,
    /// Addresses of the node, primary first.
    pub host_ips: &'a [String],
    /// The agent's own verdict on the pod.
    pub verdict: Option<&'a Verdict>,
    /// How far resizes are.
    pub resize: &'a [ResizeCondition],
    /// The resources of running containers, by CRI id, where they may be other than their specification.
    pub actuated: &'a HashMap<String, Given>,
    /// The resources of the pod as a whole, where they may be other than its specification.
    pub whole: Option<&'a ResourceRequirements>,
    /// Whether nothing of the pod runs any more and nothing will be started.
    pub ended: bool,
    /// The time of day.
    pub now: Timestamp,
}

impl Inputs<'_> {
    /// Why a container waits.
    fn waiting(&self, name: &str) -> Option<&Waiting> {
        self.starts.get(name)?.waiting.as_ref()
    }
}

/// The pod's status.
pub fn compute(inputs: &Inputs<'_>) -> PodStatus {
    let pod = inputs.pod;
    let old = pod.status.clone().unwrap_or_default();
    let mut statuses = HashMap::new();
    for (role, container) in pod::containers(pod) {
        let status = container::status(inputs, role, &container, &old);
        statuses.insert(container.name.clone(), (role, container, status));
    }
    let names: Vec<String> = pod::containers(pod).into_iter().map(|(_, container)| container.name).collect();
    let of = |wanted: &[Role]| {
        let picked = names.iter().filter_map(|name| statuses.get(name));
        let list: Vec<_> =
            picked.filter(|(role, ..)| wanted.contains(role)).filter_map(|(.., status)| status.clone()).collect();
        (!list.is_empty()).then_some(list)
    };
    let container_statuses = of(&[Role::Main]);
    let init_container_statuses = of(&[Role::Init, Role::Sidecar]);
    let all: Vec<_> = init_container_statuses.iter().flatten().chain(container_statuses.iter().flatten()).collect();
    let phase = match inputs.verdict {
        Some(_) => "Failed",
        None => phase::of(pod, &all, inputs.ended),
    };
    // A pod never leaves a terminal phase, whatever the runtime has forgotten since.
    let phase = if pod::is_terminal(pod) { pod::phase(pod) } else { phase };
    let ips = match inputs.observed.ips() {
        _ if pod::host_network(pod) && inputs.observed.sandbox.is_some() => inputs.host_ips.to_vec(),
        ips if !ips.is_empty() => ips,
        // The sandbox of a pod that has ended is gone, but the address it had still tells something.
        _ if inputs.ended => old.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect(),
        _ => Vec::new(),
    };
    let (reason, message) = match inputs.verdict {
        Some(verdict) => (Some(verdict.reason.clone()), Some(verdict.message.clone())),
        None if pod::is_terminal(pod) => (old.reason.clone(), old.message.clone()),
        None => (None, None),
    };
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        reason,
        message,
        host_ip: inputs.host_ips.first().cloned(),
        host_ips: Some(inputs.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()),
        qos_class: Some(api::pods::effective_quality(pod).name().to_owned()),
        start_time: old.start_time.clone().or(Some(Time(inputs.now))),
        container_statuses,
        init_container_statuses,
        ephemeral_container_statuses: of(&[Role::Ephemeral]),
        observed_generation: pod.metadata.generation,
        allocated_resources: resources::allocated(pod),
        resources: Some(resources::actual(pod, phase == "Running", inputs.whole)),
        ..Default::default()
    };
    if inputs.ended && pod.metadata.deletion_timestamp.is_some() {
        container::conclude(&mut status);
    }
    status.conditions = Some(conditions::of(inputs, &status, &old));
    status
}
