//! What makes an object valid: pure functions that return every error at once.
//!
//! [`object`] finds the rules of a built-in kind; the words, paths and order of the errors are those of the
//! reference's `pkg/apis/*/validation`, cited by function in each file.

pub mod addresses;
mod admission_policies;
mod apps;
pub mod at;
mod autoscaling;
mod batch;
mod certificates;
mod conditions;
mod core;
mod csi;
mod devices;
mod discovery;
mod flowcontrol;
pub mod metadata;
pub(crate) mod network_policies;
mod networking;
mod networking_classes;
mod pod;
mod policy;
mod rbac;
mod rules;
mod scheduling;
mod services;
mod storage_classes;
#[cfg(test)]
mod tests;
pub mod warnings;
pub(crate) mod webhooks;
mod workload;

use crate::Object;
use crate::field::ErrorList;
use at::At;

/// The addresses and families that a service asks for (`ValidateServiceClusterIPsRelatedFields`), which the allocator
/// looks at before anything else.
pub fn cluster_ips(new: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let before = old.map(|old| At::root(old).field("spec"));
    core::cluster_ips(&At::root(new).field("spec"), before.as_ref(), &mut errors);
    errors
}

/// The rules of a kind: the object, and the one before it on an update.
type Rules = fn(&At<'_>, Option<&At<'_>>, &mut ErrorList);

pub use core::events::event;
pub use rules::review_selectors;

/// All that is wrong with an object of a built-in kind, beyond its metadata. Subresources have rules of their own, or
/// nothing to check.
pub fn object(group: &str, resource: &str, subresource: &str, new: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let rules = match (group, subresource) {
        ("", _) => core::rules_of(resource, subresource),
        (_, "" | "scale" | "resize") => rules_of(group, resource),
        (_, "status") => status_rules_of(group, resource),
        (_, "approval") => Some(certificates::approval as Rules),
        _ => None,
    };
    let Some(rules) = rules else { return errors };
    rules(&At::root(new), old.map(At::root).as_ref(), &mut errors);
    errors
}

fn rules_of(group: &str, resource: &str) -> Option<Rules> {
    Some(match (group, resource) {
        ("apps", "deployments") => apps::deployment,
        ("apps", "replicasets") => apps::replica_set,
        ("apps", "statefulsets") => apps::stateful_set,
        ("apps", "daemonsets") => apps::daemon_set,
        ("batch", "jobs") => batch::job,
        ("batch", "cronjobs") => batch::cron_job,
        ("autoscaling", "horizontalpodautoscalers") => autoscaling::autoscaler,
        ("networking.k8s.io", "ingresses") => networking::ingress,
        ("networking.k8s.io", "networkpolicies") => network_policies::policy,
        ("storage.k8s.io", "storageclasses") => storage_classes::storage_class,
        ("scheduling.k8s.io", "priorityclasses") => scheduling::priority_class,
        ("node.k8s.io", "runtimeclasses") => scheduling::runtime_class,
        ("coordination.k8s.io", "leases") => scheduling::lease,
        ("apps", "controllerrevisions") => apps::controller_revision,
        ("policy", "poddisruptionbudgets") => policy::disruption_budget,
        ("discovery.k8s.io", "endpointslices") => discovery::slice,
        ("networking.k8s.io", "ingressclasses") => networking_classes::ingress_class,
        ("networking.k8s.io", "ipaddresses") => networking_classes::ip_address,
        ("networking.k8s.io", "servicecidrs") => networking_classes::service_cidr,
        ("apiregistration.k8s.io", "apiservices") => services::api_service,
        ("storage.k8s.io", "volumeattributesclasses") => storage_classes::attributes_class,
        ("storage.k8s.io", "csidrivers") => csi::driver,
        ("storage.k8s.io", "csinodes") => csi::node,
        ("storage.k8s.io", "csistoragecapacities") => csi::capacity,
        ("storage.k8s.io", "volumeattachments") => csi::attachment,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => flowcontrol::schema,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => flowcontrol::level,
        ("rbac.authorization.k8s.io", "clusterroles") => rbac::cluster_role,
        ("rbac.authorization.k8s.io", "rolebindings") => rbac::role_binding,
        ("rbac.authorization.k8s.io", "clusterrolebindings") => rbac::cluster_role_binding,
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations") => webhooks::validating,
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations") => webhooks::mutating,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => admission_policies::validating_policy,
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => admission_policies::validating_binding,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => admission_policies::mutating_policy,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings") => admission_policies::mutating_binding,
        ("certificates.k8s.io", "certificatesigningrequests") => certificates::request,
        ("resource.k8s.io", "deviceclasses") => devices::class,
        ("resource.k8s.io", "resourceclaims") => devices::claim,
        ("resource.k8s.io", "resourceclaimtemplates") => devices::template,
        ("resource.k8s.io", "resourceslices") => devices::slice,
        _ => return None,
    })
}

fn status_rules_of(group: &str, resource: &str) -> Option<Rules> {
    Some(match (group, resource) {
        ("apps", "deployments") => apps::deployment_status,
        ("apps", "replicasets") => apps::replica_set_status,
        ("apps", "statefulsets") => apps::stateful_set_status,
        ("apps", "daemonsets") => apps::daemon_set_status,
        ("batch", "jobs") => batch::job_status,
        ("autoscaling", "horizontalpodautoscalers") => autoscaling::autoscaler_status,
        ("policy", "poddisruptionbudgets") => policy::disruption_budget_status,
        ("networking.k8s.io", "ingresses") => networking::ingress_status,
        ("storage.k8s.io", "volumeattachments") => csi::attachment,
        ("flowcontrol.apiserver.k8s.io", "flowschemas" | "prioritylevelconfigurations") => flowcontrol::status,
        ("certificates.k8s.io", "certificatesigningrequests") => certificates::signature,
        ("apiregistration.k8s.io", "apiservices") => services::api_service_status,
        ("resource.k8s.io", "resourceclaims") => devices::claim_status,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => admission_policies::validating_policy_status,
        _ => return None,
    })
}
