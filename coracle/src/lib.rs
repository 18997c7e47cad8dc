//! A Kubernetes cluster in one process: the library behind the `coracle` binary.
//!
//! [`Cluster::start`] gives a whole control plane, and a node if asked for; dropping the value ends it.

pub mod cli;
mod clock;
pub mod cluster;
mod commands;
pub mod config;
mod connect;
pub mod encryption;
pub mod error;
pub mod kubeconfig;
mod layout;
mod log;
mod memory;
mod process;
mod service_addresses;

pub use cluster::Cluster;
pub use config::{ClusterConfig, StoreKind, StoreSync};
pub use error::Error;
