//! Pods and pod templates (`ValidatePodCreate`, `ValidatePodSpec`, `ValidatePodTemplateSpec`).

pub mod affinity;
mod containers;
mod probes;
mod security;
pub mod volumes;

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;
pub(super) use containers::resource_name;
use volumes::Volumes;

/// A pod. What may change on an update is the strategy's to tell.
pub fn pod(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    pod_spec(&spec, errors);
    let ephemeral = spec.get("ephemeralContainers");
    match old {
        None if !ephemeral.is_empty() => {
            errors.push(FieldError::forbidden(&ephemeral.path, "cannot be set on create"));
        }
        None => {
            if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
                let path = spec.path.child("nodeName");
                errors.push(FieldError::forbidden(&path, "cannot be set until all schedulingGates have been cleared"));
            }
        }
        Some(_) => {}
    }
}

/// A pod template object.
pub fn pod_template(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    template(&new.get("template"), errors);
}

/// The template of a workload.
pub fn template(at: &At<'_>, errors: &mut ErrorList) {
    template_metadata(at, errors);
    let spec = at.get("spec");
    pod_spec(&spec, errors);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(&ephemeral.path, detail));
    }
}

/// The labels and annotations of a template.
pub fn template_metadata(at: &At<'_>, errors: &mut ErrorList) {
    rules::labels(&at.at(&["metadata", "labels"]), errors);
    let annotations = at.at(&["metadata", "annotations"]);
    for (key, _) in annotations.entries() {
        for message in names::label_key(&key.to_lowercase()) {
            errors.push(FieldError::invalid(&annotations.path, key, message));
        }
    }
}

/// The spec of a pod, in the reference's order of checks.
fn pod_spec(spec: &At<'_>, errors: &mut ErrorList) {
    let volumes = Volumes::check(&spec.get("volumes"), errors);
    containers::all(spec, &volumes, errors);
    one_of_required(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"], errors);
    dns(spec, errors);
    for (key, value) in spec.get("nodeSelector").entries() {
        let path = spec.path.child("nodeSelector");
        for message in names::label_key(key) {
            errors.push(FieldError::invalid(&path, key, message));
        }
        for message in names::label_value(value.text()) {
            errors.push(FieldError::invalid(&path, value.text(), message));
        }
    }
    security::pod(spec, errors);
    for secret in spec.get("imagePullSecrets").items() {
        rules::required(&secret.get("name"), errors);
    }
    affinity::affinity(&spec.get("affinity"), errors);
    host_aliases(spec, errors);
    gates_and_readiness(spec, errors);
    for name in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let at = spec.get(name);
        if !at.is_empty() {
            rules::invalid_each(&at, names::dns1123_subdomain(at.text()), errors);
        }
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.number().is_some_and(|number| !(1..=i64::from(i32::MAX)).contains(&number)) {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(&deadline.path, deadline.value.clone(), detail));
    }
    for name in ["hostname", "subdomain"] {
        let at = spec.get(name);
        if !at.is_empty() {
            rules::invalid_each(&at, names::dns1123_label(at.text()), errors);
        }
    }
    affinity::tolerations(&spec.get("tolerations"), errors);
    rules::one_of(&spec.get("preemptionPolicy"), &["PreemptLowerPriority", "Never"], errors);
    affinity::spread(&spec.get("topologySpreadConstraints"), errors);
    for (key, amount) in spec.get("overhead").entries() {
        containers::resource_name(key, &amount.path, errors);
        rules::nonnegative_quantity(&amount, errors);
    }
    rules::one_of(&spec.at(&["os", "name"]), &["linux", "windows"], errors);
}

/// One of several where the order of the reference's list is kept in the message.
pub(super) fn one_of_required(at: &At<'_>, supported: &[&str], errors: &mut ErrorList) {
    if at.is_empty() {
        errors.push(FieldError::required(&at.path, ""));
    } else if !supported.contains(&at.text()) {
        errors.push(FieldError::not_supported(&at.path, at.text(), supported));
    }
}

fn dns(spec: &At<'_>, errors: &mut ErrorList) {
    const NAMESERVERS_MAX: usize = 3;
    const SEARCHES_MAX: usize = 32;
    let (policy, config) = (spec.get("dnsPolicy"), spec.get("dnsConfig"));
    let supported = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of_required(&policy, &supported, errors);
    let servers = config.get("nameservers");
    if policy.text() == "None" {
        if config.is_absent() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(&config.path, detail));
            return;
        }
        if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(&servers.path, detail));
            return;
        }
    }
    if servers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(FieldError::invalid(&servers.path, servers.value.clone(), detail));
    }
    for server in servers.items() {
        rules::ip(&server, errors);
    }
    let searches = config.get("searches");
    if searches.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(FieldError::invalid(&searches.path, searches.value.clone(), detail));
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        let bare = search.text().strip_suffix('.').unwrap_or(search.text());
        rules::invalid_each(&search, names::dns1123_subdomain(bare), errors);
    }
    for option in config.get("options").items() {
        if option.get("name").is_empty() {
            errors.push(FieldError::required(&option.path, "must not be empty"));
        }
    }
}

fn host_aliases(spec: &At<'_>, errors: &mut ErrorList) {
    for alias in spec.get("hostAliases").items() {
        rules::ip(&alias.get("ip"), errors);
        for name in alias.get("hostnames").items() {
            // The path is the list's, as in the reference.
            let at = At::new(alias.get("hostnames").path, name.value);
            rules::invalid_each(&at, names::dns1123_subdomain(name.text()), errors);
        }
    }
}

fn gates_and_readiness(spec: &At<'_>, errors: &mut ErrorList) {
    let mut seen = std::collections::BTreeSet::new();
    for gate in spec.get("schedulingGates").items() {
        let name = gate.get("name");
        rules::invalid_each(&At::new(gate.path.clone(), name.value), names::label_key(name.text()), errors);
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&gate.path, name.text()));
        }
    }
    for gate in spec.get("readinessGates").items() {
        let type_ = gate.get("conditionType");
        rules::invalid_each(&type_, names::label_key(type_.text()), errors);
    }
}
