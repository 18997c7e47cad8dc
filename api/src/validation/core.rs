//! The core group, a file a kind.

pub(crate) mod claims;
pub(crate) mod configuration;
pub(crate) mod endpoints;
pub(crate) mod events;
pub(crate) mod limits;
pub(crate) mod namespaces;
pub(crate) mod nodes;
pub(crate) mod quota;
pub(crate) mod service_update;
pub(crate) mod services;
pub(crate) mod sources;
pub(crate) mod volumes;
pub(crate) mod warnings;

pub(super) use services::cluster_ips;
