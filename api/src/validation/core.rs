//! The core group, a file a kind.

pub mod claims;
mod configuration;
mod endpoints;
pub mod events;
mod limits;
mod namespaces;
mod nodes;
pub mod quota;
mod service_update;
mod services;
pub mod sources;
pub mod volumes;
pub mod warnings;

use super::{Rules, pod, workload};
pub(super) use services::cluster_ips;

/// The rules of a kind of the core group, or of a subresource.
pub(super) fn rules_of(resource: &str, subresource: &str) -> Option<Rules> {
    Some(match (resource, subresource) {
        ("pods", "") => pod::pod,
        ("pods", name) => return pod::subresource(name),
        ("podtemplates", "") => pod::pod_template,
        ("replicationcontrollers", "" | "scale") => workload::replication_controller,
        ("replicationcontrollers", "status") => workload::replication_controller_status,
        ("configmaps", "") => configuration::config_map,
        ("secrets", "") => configuration::secret,
        ("services", "") => services::service,
        ("services", "status") => services::status,
        ("endpoints", "") => endpoints::endpoints,
        ("limitranges", "") => limits::limit_range,
        ("persistentvolumeclaims", "") => claims::claim,
        ("persistentvolumeclaims", "status") => claims::status,
        ("persistentvolumes", "") => volumes::volume,
        ("resourcequotas", "") => quota::quota,
        ("resourcequotas", "status") => quota::status,
        ("nodes", "") => nodes::node,
        ("nodes", "status") => nodes::update,
        ("namespaces", "") => namespaces::namespace,
        ("namespaces", "finalize") => namespaces::finalize,
        ("namespaces", "status") => namespaces::status,
        _ => return None,
    })
}
