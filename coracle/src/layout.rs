//! Where a cluster keeps what, and the names that it gives to things outside its directory.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The domain of services and pods.
pub(crate) const DOMAIN: &str = "cluster.local";
/// The host's name servers.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How many pods a node admits.
const PODS_MAX: u32 = 110;

/// The paths and names of the cluster of one data directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    data_dir: PathBuf,
}

/// What taking a node away needs to know of how it was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    /// The addresses of its pods.
    pub pod_cidr: IpNet,
    /// The addresses of services.
    pub service_cidr: IpNet,
    /// Whether it started its own containerd.
    pub own_containerd: bool,
    /// The socket of containerd.
    pub socket: PathBuf,
}

impl Layout {
    /// The layout of a data directory.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_path_buf() }
    }

    /// A name that no other cluster on this machine has: a hash (FNV-1a) of the data directory's path.
    pub(crate) fn id(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.data_dir.as_os_str().as_encoded_bytes() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
        format!("{:08x}", (hash >> 32) as u32 ^ hash as u32)
    }

    /// The store.
    pub(crate) fn store(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Says that there is a store, in case it gets lost.
    pub(crate) fn store_made(&self) -> PathBuf {
        self.data_dir.join("store.made")
    }

    /// The keys that Secrets are encrypted with.
    pub(crate) fn encryption_keys(&self) -> PathBuf {
        self.data_dir.join("encryption/keys.yaml")
    }

    /// Says that there are such keys, in case they get lost.
    pub(crate) fn encryption_made(&self) -> PathBuf {
        self.data_dir.join("encryption.made")
    }

    /// The node agent's paths and names. What depends on the rest of the cluster has the value of a node alone.
    pub(crate) fn agent(&self, socket: &Path) -> kubelet::Config {
        kubelet::Config {
            node_name: crate::config::host_name(),
            node_ip: Ipv4Addr::LOCALHOST.into(),
            server_port: 0,
            root_dir: self.data_dir.join("kubelet"),
            stock_dir: PathBuf::from(kubelet::stock_directory::STOCK),
            log_dir: self.data_dir.join("pod-logs"),
            socket: socket.to_path_buf(),
            resolv_conf: PathBuf::from(RESOLV_CONF),
            cluster_dns: Vec::new(),
            cluster_domain: DOMAIN.into(),
            cgroup_root: format!("/kubepods-{}", self.id()),
            node_labels: BTreeMap::new(),
            max_pods: PODS_MAX,
            allowed_unsafe_sysctls: Vec::new(),
            version: api::VERSION.into(),
            clock: client::Clock::system(),
            metrics: kubelet::NodeMetrics::default(),
        }
    }

    /// The volumes that the provisioner makes.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.data_dir.join("volumes")
    }

    /// The private containerd.
    ///
    /// # Errors
    /// If the CNI plugins are not installed.
    pub(crate) fn containerd(&self) -> Result<kubelet::containerd::Config, Error> {
        Ok(kubelet::containerd::Config {
            root: self.data_dir.join("containerd"),
            state: PathBuf::from("/run/coracle").join(self.id()),
            cni_conf_dir: self.data_dir.join("cni/net.d"),
            cni_bin_dir: network::pod_network::plugin_dir().map_err(|error| Error::part("network", error))?,
            registry_config_dir: None,
        })
    }

    /// The pod network.
    ///
    /// # Errors
    /// If the addresses are not IPv4.
    pub(crate) fn network(
        &self,
        pod_cidr: &IpNet,
        service_cidr: &IpNet,
    ) -> Result<network::pod_network::Config, Error> {
        let v4 = |flag: &str, range: &IpNet| match range {
            IpNet::V4(range) => Ok(*range),
            IpNet::V6(_) => Err(Error::usage(format!("{flag} {range}: a node has IPv4 addresses only, so far"))),
        };
        Ok(network::pod_network::Config {
            id: self.id(),
            pod_cidr: v4("--pod-cidr", pod_cidr)?,
            service_cidr: v4("--service-cidr", service_cidr)?,
            directory: self.data_dir.join("cni"),
        })
    }

    /// Whether the machine is a node of this cluster already, so that pods of it may run.
    pub(crate) fn node_is_there(&self, network: &network::pod_network::Config) -> bool {
        let runs = |config| kubelet::containerd::is_running(&config);
        network::pod_network::exists(network) || self.containerd().is_ok_and(runs)
    }

    /// Writes down how the node was started.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn record(&self, record: &NodeRecord) -> Result<(), Error> {
        let text = serde_json::to_vec(record).expect("a record encodes");
        Ok(files::private::write(&self.data_dir.join("node.json"), &text)?)
    }

    /// Forgets how the node was started: it is gone.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub(crate) fn forget(&self) -> Result<(), Error> {
        match std::fs::remove_file(self.data_dir.join("node.json")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// How the node was started, if one was.
    pub(crate) fn recorded(&self) -> Option<NodeRecord> {
        let text = std::fs::read(self.data_dir.join("node.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_has_its_own_names() {
        let (a, b) = (Layout::new(Path::new("/a")), Layout::new(Path::new("/b")));
        assert_ne!(a.id(), b.id());
        assert_eq!(a.id().len(), 8);
        assert_eq!(a.id(), Layout::new(Path::new("/a")).id());
    }
}
