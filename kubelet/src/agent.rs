//! The parts that all pod workers of a node share.

use std::sync::Arc;

use client::{EventRecorder, EventType, Informer};
use k8s_openapi::api::core::v1::{Container, Pod, Service};
use kube::Client;

use crate::{
    admission::Admission, config::Config, cri::Cri, devices::Devices, directory::Directory, events,
    fields::Surroundings, figures, images::Images, machine::Machine, probes::log::ProbeLog, references::References,
};

/// The node agent's shared parts.
pub struct Agent {
    /// Configuration.
    pub config: Config,
    /// The runtime.
    pub cri: Cri,
    /// The API, as `system:node:NAME`.
    pub client: Client,
    /// The pods as the node server asks for them.
    pub directory: Directory,
    /// Events.
    pub recorder: EventRecorder,
    /// Devices of pods.
    pub devices: Devices,
    /// Images.
    pub images: Images,
    /// The machine.
    pub machine: Machine,
    /// All services, for environment variables.
    pub services: Informer<Service>,
    /// Which pods the node has taken.
    pub admission: Admission,
    /// Objects that pods refer to.
    pub references: References,
    /// Counts of pods, containers, images and resizes.
    pub figures: Arc<figures::Agent>,
    /// Counts of probes.
    pub probe_log: Arc<ProbeLog>,
}

impl Agent {
    /// Records an event about a pod.
    pub fn pod_event(&self, pod: &Pod, type_: EventType, reason: &str, message: impl Into<String>) {
        self.recorder.event_about(events::pod(pod), type_, reason, message);
    }

    /// Records an event about a container.
    pub fn container_event(
        &self,
        pod: &Pod,
        container: &Container,
        type_: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.recorder.event_about(events::container(pod, container), type_, reason, message);
    }

    /// Addresses of the node.
    pub fn host_ips(&self) -> Vec<String> {
        vec![self.config.node_ip.to_string()]
    }

    /// The node as the downward API tells of it beside the pod.
    pub fn surroundings(&self, pod_ips: Vec<String>) -> Surroundings {
        Surroundings {
            host_ips: self.host_ips(),
            pod_ips,
            cpu_milli: i64::try_from(self.machine.cores).unwrap_or(1) * 1000,
            memory_bytes: self.machine.memory_bytes,
            storage_bytes: self.machine.storage_bytes,
        }
    }
}
