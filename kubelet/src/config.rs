//! The node agent's settings; every path and name of a cluster hangs off this value.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

/// The configuration of one node agent.
#[derive(Clone)]
pub struct Config {
    /// Name of the Node object and of the identity `system:node:NAME`.
    pub node_name: String,
    /// Address that the API server and other nodes reach this node at (`InternalIP`).
    pub node_ip: IpAddr,
    /// Port of the node server, reported in `status.daemonEndpoints`.
    pub server_port: u16,
    /// Directory of pod volumes and other state of the agent (`/var/lib/kubelet` on a stock node).
    pub root_dir: PathBuf,
    /// Where that directory is seen too, for drivers whose manifests name it ([`crate::stock_directory::STOCK`]).
    pub stock_dir: PathBuf,
    /// Directory of container logs (`/var/log/pods` on a stock node).
    pub log_dir: PathBuf,
    /// The unix socket of containerd.
    pub socket: PathBuf,
    /// The file whose name servers and search list pods with `dnsPolicy: Default` get.
    pub resolv_conf: PathBuf,
    /// Addresses of the cluster's DNS service.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's DNS domain, `cluster.local` on a stock cluster.
    pub cluster_domain: String,
    /// Parent of the QoS and pod cgroups, `/kubepods` on a stock node; must be unique on the machine.
    pub cgroup_root: String,
    /// Extra labels of the Node.
    pub node_labels: BTreeMap<String, String>,
    /// How many pods the node admits.
    pub max_pods: u32,
    /// Kernel parameters that pods may set beside the safe ones, such as `kernel.msg*`.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// Version that the node reports, such as `v1.36.0`.
    pub version: String,
    /// The time of day, delays and randomness.
    pub clock: client::Clock,
    /// Where the agent counts.
    pub metrics: crate::NodeMetrics,
}

impl Config {
    /// Directory of one pod's volumes, hosts file and termination messages.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }

    /// Directory of one pod's container logs.
    pub fn pod_log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.log_dir.join(format!("{namespace}_{name}_{uid}"))
    }
}
