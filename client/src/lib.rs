//! How a component reaches the API: an in-process client, informers, work queues, the controller loop,
//! events, leases and the clock.
//!
//! Nothing here knows the API server: a [`kube::Client`] sits on any tower service. The same components therefore
//! run unchanged against any Kubernetes API server.

pub mod caught;
pub mod change;
pub mod clock;
pub mod controller;
pub mod event;
mod event_correlator;
mod event_queue;
pub mod event_series;
pub mod host_ports;
pub mod in_process;
pub mod informer;
mod informer_cache;
mod informer_metrics;
pub mod informers;
pub mod key;
pub mod lease;
pub mod node_fit;
mod packed;
pub mod queue;
pub mod queue_metrics;
mod reflector;
pub mod resource_claims;
pub mod rest_metrics;
pub mod tolerations;
pub mod volume_match;

pub use change::Change;
pub use clock::Clock;
pub use controller::{Action, Controller};
pub use event::{EventRecorder, EventType};
pub use event_series::{Note, SeriesRecorder};
pub use in_process::in_process;
pub use informer::{Informer, Selection};
pub use informers::Informers;
pub use key::ObjectKey;
pub use lease::Lease;
pub use queue::WorkQueue;
pub use rest_metrics::{Counted, RestMetrics};
