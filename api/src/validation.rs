//! What makes an object valid: pure functions that return every error at once.
//!
//! [`object`] finds the rules of a built-in kind; the words, paths and order of the errors are those of the
//! reference's `pkg/apis/*/validation`, cited by function in each file.

pub mod at;
mod autoscaling;
mod batch;
mod certificates;
mod cluster;
mod core;
mod csi;
mod discovery;
mod flowcontrol;
pub mod metadata;
mod networking;
mod networking_classes;
mod pod;
mod quota;
mod rbac;
mod rules;
mod storage;
#[cfg(test)]
mod tests;
mod webhooks;
mod workload;

use crate::Object;
use crate::field::ErrorList;
use at::At;

/// The rules of a kind: the object, and the one before it on an update.
type Rules = fn(&At<'_>, Option<&At<'_>>, &mut ErrorList);

/// All that is wrong with an object of a built-in kind, beyond its metadata. Status and other subresources that cannot
/// change the spec have nothing to check here.
pub fn object(group: &str, resource: &str, subresource: &str, new: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    // Ephemeral containers are added one by one, and their strategy checks them.
    if !matches!(subresource, "" | "scale" | "resize") {
        return errors;
    }
    let Some(rules) = rules_of(group, resource) else { return errors };
    rules(&At::root(new), old.map(At::root).as_ref(), &mut errors);
    errors
}

fn rules_of(group: &str, resource: &str) -> Option<Rules> {
    Some(match (group, resource) {
        ("", "pods") => pod::pod,
        ("", "podtemplates") => pod::pod_template,
        ("", "replicationcontrollers") => workload::replication_controller,
        ("", "configmaps") => core::config_map,
        ("", "secrets") => core::secret,
        ("", "services") => core::service,
        ("", "endpoints") => core::endpoints,
        ("", "limitranges") => core::limit_range,
        ("", "persistentvolumeclaims") => storage::claim,
        ("", "persistentvolumes") => storage::volume,
        ("apps", "deployments") => workload::deployment,
        ("apps", "replicasets") => workload::replica_set,
        ("apps", "statefulsets") => workload::stateful_set,
        ("apps", "daemonsets") => workload::daemon_set,
        ("batch", "jobs") => batch::job,
        ("batch", "cronjobs") => batch::cron_job,
        ("autoscaling", "horizontalpodautoscalers") => autoscaling::autoscaler,
        ("networking.k8s.io", "ingresses") => networking::ingress,
        ("networking.k8s.io", "networkpolicies") => networking::policy,
        ("storage.k8s.io", "storageclasses") => storage::class,
        ("scheduling.k8s.io", "priorityclasses") => core::priority_class,
        ("node.k8s.io", "runtimeclasses") => core::runtime_class,
        ("coordination.k8s.io", "leases") => core::lease,
        ("", "resourcequotas") => quota::quota,
        ("", "nodes") => cluster::node,
        ("", "namespaces") => cluster::namespace,
        ("apps", "controllerrevisions") => workload::controller_revision,
        ("policy", "poddisruptionbudgets") => cluster::disruption_budget,
        ("discovery.k8s.io", "endpointslices") => discovery::slice,
        ("networking.k8s.io", "ingressclasses") => networking_classes::ingress_class,
        ("networking.k8s.io", "ipaddresses") => networking_classes::ip_address,
        ("networking.k8s.io", "servicecidrs") => networking_classes::service_cidr,
        ("storage.k8s.io", "csidrivers") => csi::driver,
        ("storage.k8s.io", "csinodes") => csi::node,
        ("storage.k8s.io", "csistoragecapacities") => csi::capacity,
        ("storage.k8s.io", "volumeattachments") => csi::attachment,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => flowcontrol::schema,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => flowcontrol::level,
        ("rbac.authorization.k8s.io", "clusterroles") => rbac::cluster_role,
        ("rbac.authorization.k8s.io", "rolebindings") => rbac::role_binding,
        ("rbac.authorization.k8s.io", "clusterrolebindings") => rbac::cluster_role_binding,
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations") => webhooks::configuration,
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations") => webhooks::configuration,
        ("certificates.k8s.io", "certificatesigningrequests") => certificates::request,
        _ => return None,
    })
}
