//! What a server is made of.

use std::sync::Arc;

use ipnet::IpNet;
use metrics::Metrics;
use store::Store;

use crate::audit::Audit;
use crate::chain::inflight::InflightLimits;
use crate::clock::{Clock, SystemClock};
use crate::encryption::Encryption;
use crate::plug::Plugins;

/// The configuration of one server.
#[derive(Clone)]
pub struct Config {
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// What the store's values are on the disk.
    pub encryption: Option<Encryption>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Addresses of services; the first is the primary family.
    pub service_cidrs: Vec<IpNet>,
    /// `host:port` under which clients reach the server, for discovery documents.
    pub advertised: String,
    /// The name of the host, which the server's own lease is named after.
    pub host_name: String,
    /// The flags that the process was started with, by name, as `/flagz` shows them: none may be a secret.
    pub flags: Vec<(String, String)>,
    /// The issuer of service account tokens.
    pub issuer: String,
    /// What other parts of the process count; the server writes it with its own.
    pub metrics: Metrics,
    /// How many requests are served at once.
    pub inflight: InflightLimits,
    /// What is written down of requests; none for nothing.
    pub audit: Option<Arc<Audit>>,
    /// What is plugged in.
    pub plugins: Plugins,
}

impl Config {
    /// A server on `store` with the defaults of the reference.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            encryption: None,
            clock: SystemClock::shared(),
            service_cidrs: vec!["10.96.0.0/12".parse().expect("a valid prefix")],
            advertised: "127.0.0.1:6443".into(),
            host_name: "localhost".into(),
            flags: Vec::new(),
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
            metrics: Metrics::default(),
            inflight: InflightLimits::default(),
            audit: None,
            plugins: Plugins::default(),
        }
    }
}
