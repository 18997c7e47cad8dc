//! The parts that move the packets of a machine's pods: their network, the rules of services, and names.
//!
//! Nothing here knows the node agent. Services and EndpointSlices come from informers that read as `system:kube-proxy`.

pub mod dns;
mod endpoints;
mod nft;
pub mod pod_network;
pub mod proxy;
