//! The core group, a file a kind, and the small kinds of other groups.

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

use super::at::At;
use super::rules::{self, IMMUTABLE};
use super::{Rules, pod, workload};
use crate::field::{ErrorList, FieldError, Path};
use crate::names;
pub(super) use services::cluster_ips;

/// The highest priority that a user may define (`HighestUserDefinablePriority`).
const PRIORITY_MAX: i64 = 1_000_000_000;
/// The prefix of names of priority classes that the system owns.
const SYSTEM_PRIORITY_PREFIX: &str = "system-";

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

/// `ValidatePriorityClass` and `ValidatePriorityClassUpdate`
pub fn priority_class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let (name, value) = (new.at(&["metadata", "name"]), new.get("value"));
    if name.text().starts_with(SYSTEM_PRIORITY_PREFIX) {
        let known = matches!(name.text(), "system-node-critical" | "system-cluster-critical");
        if !known {
            let detail = "priority class names with 'system-' prefix are reserved for system use only";
            errors.push(FieldError::forbidden(&name.path, detail));
        }
    } else if value.number().is_some_and(|number| number > PRIORITY_MAX) {
        let detail = format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}");
        errors.push(FieldError::forbidden(&value.path, detail));
    }
    let policy = new.get("preemptionPolicy");
    rules::one_of(&policy, &["PreemptLowerPriority", "Never"], errors);
    let Some(old) = old else { return };
    if value.number().unwrap_or(0) != old.get("value").number().unwrap_or(0) {
        let detail = "may not be changed in an update.";
        errors.push(FieldError::forbidden(&value.path, detail));
    }
    rules::immutable(&policy, &old.get("preemptionPolicy"), errors);
}

/// `ValidateRuntimeClass` and `ValidateRuntimeClassUpdate`
pub fn runtime_class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let handler = new.get("handler");
    if rules::required(&handler, errors) {
        rules::invalid_each(&handler, names::dns1123_label(handler.text()), errors);
    }
    // An update checks nothing but the handler.
    if old.is_none() {
        for (key, amount) in new.at(&["overhead", "podFixed"]).entries() {
            let path = Path::new("overhead").child("limits").key(key);
            pod::resource_name(key, &path, errors);
            rules::nonnegative_quantity(&At::new(path, amount.value), errors);
        }
        rules::labels(&new.at(&["scheduling", "nodeSelector"]), errors);
        pod::affinity::tolerations(&new.at(&["scheduling", "tolerations"]), errors);
    }
    if old.is_some_and(|old| old.get("handler").value != handler.value) {
        errors.push(FieldError::invalid(&handler.path, handler.text(), IMMUTABLE));
    }
}

/// `ValidateLease`
pub fn lease(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    let seconds = spec.get("leaseDurationSeconds");
    if seconds.number().is_some_and(|number| number <= 0) {
        errors.push(FieldError::invalid(&seconds.path, seconds.value.clone(), "must be greater than 0"));
    }
    rules::nonnegative(&spec.get("leaseTransitions"), errors);
}
