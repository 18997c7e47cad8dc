//! The node agent: pod workers over CRI, volumes, probes, images, node status and the node server.

pub mod config;
pub mod container_config;
pub mod containerd;
pub mod cri;
pub mod directory;
pub mod dns;
pub mod env;
pub mod events;
pub mod expansion;
pub mod fields;
pub mod images;
pub mod labels;
pub mod machine;
pub mod network;
pub mod observe;
pub mod pod;
pub mod proxy;
pub mod resolv;
pub mod resources;
pub mod restart;
pub mod runtime_events;
pub mod sandbox;
pub mod status;

pub use config::Config;
pub use cri::Cri;
pub use directory::{ContainerRecord, Directory, PodRecord};
