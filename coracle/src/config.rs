//! What a cluster is started with.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use apiserver::chain::inflight::InflightLimits;
use apiserver::front_proxy::FrontProxyOptions;
use ipnet::IpNet;

/// What keeps the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// A write-ahead log with sled as its checkpoint.
    Sled,
    /// Memory alone.
    Memory,
}

/// Whether a write waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreSync {
    /// Nothing is acknowledged before it is durable.
    Always,
    /// For throw-away clusters.
    Never,
}

/// What a cluster is started with.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Where everything is kept; none for a cluster in memory that leaves nothing behind.
    pub data_dir: Option<PathBuf>,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// What keeps the objects.
    pub store: StoreKind,
    /// Whether a write waits for the disk.
    pub store_sync: StoreSync,
    /// Whether this process is a node too.
    pub agent: bool,
    /// Whether controllers and scheduler run.
    pub controllers: bool,
    /// The socket of a running containerd.
    pub containerd: Option<PathBuf>,
    /// The addresses of pods.
    pub pod_cidr: IpNet,
    /// The addresses of services.
    pub service_cidr: IpNet,
    /// The name of this node.
    pub node_name: String,
    /// The port of the node's own server.
    pub node_port: u16,
    /// Kernel parameters that pods may set beside the safe ones, such as `kernel.msg*`.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// How it is found out who asks.
    pub authentication: apiserver::authentication::options::Options,
    /// How it is decided what they may do.
    pub authorization: apiserver::authorization::options::Options,
    /// How long a token in a Secret that nobody asked for is not used before it is marked, and marked before it goes.
    pub legacy_token_period: Duration,
    /// Who is believed that names users, and what the front proxy shows.
    pub front_proxy: FrontProxyOptions,
    /// What is encrypted in the store and how; none for the Secrets, with a key in the data directory.
    pub encryption_provider_config: Option<PathBuf>,
    /// Whether changes of that file count while the server runs.
    pub encryption_provider_config_automatic_reload: bool,
    /// How many requests are served at once.
    pub inflight: InflightLimits,
    /// Which admission plugins are at work, and what they are told.
    pub admission: apiserver::admission::Settings,
    /// What is written down of requests, and where.
    pub audit: apiserver::audit::Settings,
    /// The flags of the command line by name, to be shown.
    pub flags: Vec<(String, String)>,
}

impl ClusterConfig {
    /// The defaults of `coracle server` in a data directory.
    pub fn new(data_dir: Option<PathBuf>) -> Self {
        Self {
            data_dir,
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 6443,
            store: StoreKind::Sled,
            store_sync: StoreSync::Always,
            agent: true,
            controllers: true,
            containerd: None,
            pod_cidr: "10.42.0.0/16".parse().expect("a constant range"),
            service_cidr: "10.43.0.0/16".parse().expect("a constant range"),
            node_name: host_name(),
            node_port: 10250,
            allowed_unsafe_sysctls: Vec::new(),
            authentication: Default::default(),
            authorization: Default::default(),
            legacy_token_period: controllers::legacy_tokens::PERIOD,
            front_proxy: FrontProxyOptions::default(),
            encryption_provider_config: None,
            encryption_provider_config_automatic_reload: false,
            inflight: InflightLimits::default(),
            admission: Default::default(),
            audit: Default::default(),
            flags: Vec::new(),
        }
    }

    /// A control plane in memory on a free port of the loopback address, for tests.
    pub fn in_memory() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            store: StoreKind::Memory,
            store_sync: StoreSync::Never,
            agent: false,
            ..Self::new(None)
        }
    }
}

/// The host's name in lower case, as a node is named.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    if name.is_empty() { "localhost".into() } else { name }
}
