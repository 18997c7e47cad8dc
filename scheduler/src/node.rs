//! A node with the pods on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::pods::Amounts;
use client::host_ports::HostPort;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::PodInfo;
use crate::resources::Resources;

/// A node and what is taken on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeInfo {
    /// The node, if it is known; pods may be seen before their node.
    pub node: Option<Arc<Node>>,
    /// What pods may take.
    pub allocatable: Resources,
    /// What pods have asked for.
    pub requested: Resources,
    /// Requested millicores, with stand-ins for what asks for nothing.
    pub nonzero_cpu_milli: i64,
    /// Requested bytes, with stand-ins.
    pub nonzero_memory: i64,
    /// The pods, by uid.
    pub pods: HashMap<String, Arc<PodInfo>>,
    /// How many of the pods have required anti-affinity.
    pub anti_affine: usize,
    /// Sizes of the images on the node, by name.
    pub images: HashMap<String, i64>,
}

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

impl NodeInfo {
    /// The node's name.
    pub(crate) fn name(&self) -> &str {
        self.node.as_ref().and_then(|node| node.metadata.name.as_deref()).unwrap_or("")
    }

    /// The node's labels.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        self.node.as_ref().and_then(|node| node.metadata.labels.as_ref()).unwrap_or(&NO_LABELS)
    }

    /// The node's taints.
    pub(crate) fn taints(&self) -> &[Taint] {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.taints.as_deref()).unwrap_or(&[])
    }

    /// The features that the node declares.
    pub(crate) fn declared_features(&self) -> &[String] {
        let status = self.node.as_ref().and_then(|node| node.status.as_ref());
        status.and_then(|status| status.declared_features.as_deref()).unwrap_or(&[])
    }

    /// Whether the node takes no new pods.
    pub(crate) fn unschedulable(&self) -> bool {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.unschedulable).unwrap_or(false)
    }

    /// Takes over a newer state of the node.
    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        self.allocatable = Resources::of_list(status.and_then(|status| status.allocatable.as_ref()));
        self.images.clear();
        for image in status.and_then(|status| status.images.as_ref()).into_iter().flatten() {
            for name in image.names.iter().flatten() {
                self.images.insert(name.clone(), image.size_bytes.unwrap_or(0));
            }
        }
        self.node = Some(node);
    }

    /// Adds a pod.
    pub(crate) fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests.exact);
        self.nonzero_cpu_milli += pod.requests.nonzero_cpu_milli;
        self.nonzero_memory += pod.requests.nonzero_memory;
        self.anti_affine += usize::from(!pod.anti_affinity.is_empty());
        if let Some(before) = self.pods.insert(pod.uid.clone(), pod) {
            self.forget(&before);
        }
    }

    /// Removes a pod.
    pub(crate) fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        self.forget(&pod);
        Some(pod)
    }

    fn forget(&mut self, pod: &PodInfo) {
        self.requested.subtract(&pod.requests.exact);
        self.nonzero_cpu_milli -= pod.requests.nonzero_cpu_milli;
        self.nonzero_memory -= pod.requests.nonzero_memory;
        self.anti_affine -= usize::from(!pod.anti_affinity.is_empty());
    }

    /// Whether `wanted` clashes with a port that is taken.
    pub(crate) fn port_clashes(&self, wanted: &HostPort) -> bool {
        self.pods.values().any(|pod| pod.host_ports.iter().any(|taken| taken.clashes(wanted)))
    }
}
