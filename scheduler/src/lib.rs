//! The scheduler: finds a node for every pod that has none.
//!
//! Informers keep a cache of nodes and the pods on them; pods without a node wait in a queue. A cycle takes one pod,
//! filters and scores nodes, assumes the pod on the best one, and binds it through the API in the background. What does
//! not fit waits until an event happens that may help. Nothing is polled.

mod bind;
mod bind_claims;
mod budgets;
mod cache;
mod counted;
mod cycle;
#[cfg(test)]
mod cycle_tests;
mod device_claims;
mod devices;
mod figures;
mod held;
mod labels;
mod lookup;
mod node;
mod plugins;
mod pod;
mod pod_devices;
mod preemption;
mod queue;
mod resources;
mod scheduler;

pub use scheduler::{Config, run};
