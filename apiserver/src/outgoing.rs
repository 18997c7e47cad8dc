//! Servers elsewhere that this one talks to: webhooks of every kind, issuers of tokens, and the servers of aggregated APIs. How they are
//! connected to and whom TLS trusts, clients that keep connections, and the kubeconfigs that say where a server is.

mod acting;
mod client;
mod dial;
mod identities;
mod kubeconfig;
mod proxy;
mod tls;

pub use client::{Client, ClientError, Reply};
pub use dial::Fault;
pub(crate) use dial::{Connector, Stream};
pub use identities::Identities;
pub(crate) use kubeconfig::{Credentials, Identity};
pub use kubeconfig::{Kubeconfig, KubeconfigError};
pub(crate) use tls::{Trust, shown, tls_config};

/// What is spoken where connections are to reach several ends.
pub(crate) const HTTP_1: &[&str] = &["http/1.1"];
/// What is spoken elsewhere: what the other end knows.
pub(crate) const HTTP: &[&str] = &["h2", "http/1.1"];
