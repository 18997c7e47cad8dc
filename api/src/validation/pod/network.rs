//! Names, addresses and namespaces that a pod shares with its host or asks of it.

use super::containers_of;
use super::scope::Scope;
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

/// The policies of name resolution, in the order in which they are listed.
pub(super) const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCHES_LENGTH_MAX: usize = 2048;
const HOSTNAME_LENGTH_MAX: usize = 64;

/// With the host's network a host port is the container's (`validatePodHostNetworkDeps`).
pub(super) fn host_ports(spec: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    if !spec.field("hostNetwork").is_true() {
        return;
    }
    for port in spec.field("containers").items().flat_map(|container| container.field("ports").items()) {
        let host = port.field("hostPort");
        let (wanted, inner) = (host.number().unwrap_or(0), port.field("containerPort").number().unwrap_or(0));
        if (scope.is_pod || wanted != 0) && wanted != inner {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(&host.path, wanted, detail));
        }
    }
}

/// `validatePodDNSConfig`
pub(super) fn dns_config(spec: &At<'_>, errors: &mut ErrorList) {
    let config = spec.field("dnsConfig");
    let (servers, searches) = (config.field("nameservers"), config.field("searches"));
    if spec.field("dnsPolicy").text() == "None" && servers.is_empty() {
        errors.push(match config.is_absent() {
            true => FieldError::required(&config.path, "must provide `dnsConfig` when `dnsPolicy` is None"),
            false => {
                let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
                FieldError::required(&servers.path, detail)
            }
        });
        return;
    }
    if servers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(FieldError::invalid(&servers.path, servers.value.clone(), detail));
    }
    for server in servers.items() {
        rules::ip(&server, errors);
    }
    if searches.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(FieldError::invalid(&searches.path, searches.value.clone(), detail));
    }
    let length: usize = searches.items().map(|search| search.text().len() + 1).sum();
    if length > SEARCHES_LENGTH_MAX + 1 {
        let detail =
            format!("must not have more than {SEARCHES_LENGTH_MAX} characters (including spaces) in the search list");
        errors.push(FieldError::invalid(&searches.path, searches.value.clone(), detail));
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        let bare = search.text().strip_suffix('.').unwrap_or(search.text());
        for message in names::dns1123_subdomain_with_underscore(bare) {
            errors.push(FieldError::invalid(&search.path, bare, message));
        }
    }
    for option in config.field("options").items().filter(|option| option.field("name").is_empty()) {
        errors.push(FieldError::required(&option.path, "must not be empty"));
    }
}

/// `ValidateHostAliases`
pub(super) fn host_aliases(spec: &At<'_>, errors: &mut ErrorList) {
    for alias in spec.field("hostAliases").items() {
        rules::ip(&alias.field("ip"), errors);
        for name in alias.field("hostnames").items() {
            rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
        }
    }
}

/// `validateHostUsers`, with the spelling of its paths.
pub(super) fn host_users(spec: &At<'_>, errors: &mut ErrorList) {
    if spec.field("hostUsers").value != &serde_json::Value::Bool(false) {
        return;
    }
    let detail = "when `hostUsers` is false";
    let shared = spec.fields(["hostNetwork", "hostPID", "hostIPC"]);
    for (at, shown) in shared.iter().zip(["hostNetwork", "HostPID", "HostIPC"]) {
        if at.is_true() {
            errors.push(FieldError::forbidden(&spec.path.child(shown), detail));
        }
    }
    for container in containers_of(spec) {
        let devices = container.field("volumeDevices");
        if !devices.is_empty() {
            errors.push(FieldError::forbidden(&devices.path, detail));
        }
    }
}

/// `validatePodHostName`
pub(super) fn hostname_override(spec: &At<'_>, errors: &mut ErrorList) {
    let name = spec.field("hostnameOverride");
    if name.is_absent() {
        return;
    }
    for field in spec.known(["setHostnameAsFQDN", "hostNetwork"]) {
        if spec.get(field).is_true() {
            let detail = format!("may not be specified when {field} is true");
            errors.push(FieldError::forbidden(&name.path, detail));
        }
    }
    if name.text().len() > HOSTNAME_LENGTH_MAX {
        errors.push(FieldError::too_long(&name.path, HOSTNAME_LENGTH_MAX));
    }
    rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
}
