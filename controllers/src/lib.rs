//! The controllers: each brings one kind of object, and what it owns, to the state that its spec asks for.
//!
//! They work on the API alone, each under its own service account in `kube-system`, and run against any API server.

pub mod bootstrap_tokens;
pub mod certificates;
mod clusterrole_aggregation;
mod context;
mod cronjob;
mod daemonset;
mod deployment;
mod device_taint_eviction;
mod discovery;
mod disruption;
mod endpoints;
mod endpointslice;
mod ephemeral_volume;
mod error;
mod expectations;
mod figures;
mod garbage;
mod hash;
mod history;
mod job;
pub mod legacy_tokens;
mod namespace;
mod node_lifecycle;
mod node_ttl;
mod owner;
mod percent;
mod pod;
mod pod_control;
mod pod_gc;
mod policy_status;
mod replicaset;
mod replicated;
mod resource_claim;
mod resource_quota;
mod root_ca;
mod selector;
mod service_cidr;
mod service_pods;
mod serviceaccount;
mod start;
mod statefulset;
pub mod tokens;
mod trigger_times;
mod ttl_after_finished;
pub mod volume;
mod writes;

pub use error::Error;
pub use start::{Config, NAMES, start};
