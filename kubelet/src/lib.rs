//! The node agent: pod workers over CRI, volumes, probes, images, node status and the node server.

pub mod config;
pub mod containerd;
pub mod cri;
pub mod directory;
pub mod labels;
pub mod network;
pub mod proxy;
pub mod runtime_events;

pub use config::{Config, Now};
pub use cri::Cri;
pub use directory::{ContainerRecord, Directory, PodRecord};
