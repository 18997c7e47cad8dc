//! What a few kinds do about their own objects. Everything else is as the generic registry has it.

pub(crate) mod api_service;
mod certificate;
mod claim;
pub mod component_status;
mod configuration;
mod definition;
mod devices;
mod job;
mod namespace;
pub mod pod;
mod rbac;
pub(crate) mod service;
mod workload;

use api::catalogue::Resource;

pub use crate::plug::Strategy;
use crate::plug::strategy::Generic;

/// The strategy of a resource, or of one of its subresources.
pub fn of(resource: &Resource, subresource: &str) -> &'static dyn Strategy {
    if resource.custom {
        return &Generic;
    }
    match (resource.group.as_str(), resource.plural.as_str(), subresource) {
        ("", "pods", "") => &pod::Pod,
        ("", "pods", "status") => &pod::PodStatus,
        ("", "pods", "ephemeralcontainers") => &pod::EphemeralContainers,
        ("", "pods", "resize") => &pod::Resize,
        ("", "services", "") => &service::Service,
        ("", "namespaces", "") => &namespace::Namespace,
        ("", "namespaces", "finalize") => &namespace::Finalize,
        ("", "secrets", "") => &configuration::Secret,
        ("", "serviceaccounts", "") => &configuration::ServiceAccount,
        ("", "persistentvolumeclaims", "") => &claim::Claim,
        ("", "persistentvolumes", "" | "status") => &workload::PersistentVolume,
        ("apps", "deployments", "status") => &workload::DeploymentStatus,
        ("batch", "jobs", "") => &job::Job,
        ("certificates.k8s.io", "certificatesigningrequests", "") => &certificate::Request,
        ("certificates.k8s.io", "certificatesigningrequests", "approval") => &certificate::Approval,
        ("certificates.k8s.io", "certificatesigningrequests", "status") => &certificate::Signature,
        ("rbac.authorization.k8s.io", "roles" | "clusterroles", "") => &rbac::Role,
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings", "") => &rbac::Binding,
        ("resource.k8s.io", "resourceclaims", "") => &devices::Claim,
        ("resource.k8s.io", "resourceclaims", "status") => &devices::ClaimStatus,
        ("resource.k8s.io", "resourceclaimtemplates", "") => &devices::Template,
        ("resource.k8s.io", "resourceslices", "") => &devices::Slice,
        ("apiextensions.k8s.io", "customresourcedefinitions", "") => &definition::Definition,
        ("apiextensions.k8s.io", "customresourcedefinitions", "status") => &definition::DefinitionStatus,
        ("apiregistration.k8s.io", "apiservices", "") => &api_service::ApiService,
        ("apps", "daemonsets", "") => &workload::DaemonSet,
        ("discovery.k8s.io", "endpointslices", "") => &workload::EndpointSlice,
        ("", "nodes", "") => &workload::Node,
        _ => &Generic,
    }
}

#[cfg(test)]
pub(crate) mod tests;
