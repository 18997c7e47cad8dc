//! ConfigMaps, secrets, services, endpoints, limit ranges, and the small kinds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::at::At;
use super::rules::{self, IMMUTABLE};
use crate::field::{ErrorList, FieldError, Path};
use crate::names;

/// How many bytes the data of a config map or a secret may have (`MaxSecretSize`).
const DATA_BYTES_MAX: usize = 1024 * 1024;
/// The highest priority that a user may define (`HighestUserDefinablePriority`).
const PRIORITY_MAX: i64 = 1_000_000_000;
/// The prefix of names of priority classes that the system owns.
const SYSTEM_PRIORITY_PREFIX: &str = "system-";

/// `ValidateConfigMap`
pub fn config_map(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let (data, binary) = (new.get("data"), new.get("binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        config_key(key, &value.path, errors);
        if binary.value.get(key).is_some() {
            errors.push(FieldError::invalid(&value.path, key, "duplicate of key present in binaryData"));
        }
        size += value.text().len();
    }
    for (key, value) in binary.entries() {
        config_key(key, &value.path, errors);
        size += decoded_len(value.text());
    }
    too_long(&Path::root(), size, errors);
}

/// `ValidateSecret`
pub fn secret(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let data = new.get("data");
    let mut size = 0;
    for (key, value) in data.entries() {
        config_key(key, &value.path, errors);
        size += decoded_len(value.text());
    }
    too_long(&data.path, size, errors);
    let type_ = new.get("type");
    for (of, keys) in SECRET_KEYS {
        if type_.text() == *of && !keys.iter().any(|key| data.value.get(key).is_some()) {
            for key in *keys {
                errors.push(FieldError::required(&data.path.key(key), ""));
            }
        }
    }
    if type_.text() == "kubernetes.io/tls" {
        for key in ["tls.crt", "tls.key"] {
            if data.value.get(key).is_none() {
                errors.push(FieldError::required(&data.path.key(key), ""));
            }
        }
    }
    let account = new.get("metadata").get("annotations").key("kubernetes.io/service-account.name");
    if type_.text() == "kubernetes.io/service-account-token" && account.is_empty() {
        errors.push(FieldError::required(&account.path, ""));
    }
}

/// What secrets of a type must hold: one of the keys.
const SECRET_KEYS: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/basic-auth", &["username", "password"]),
];

fn too_long(path: &Path, size: usize, errors: &mut ErrorList) {
    if size > DATA_BYTES_MAX {
        errors.push(FieldError::too_long(path, DATA_BYTES_MAX));
    }
}

fn decoded_len(base64: &str) -> usize {
    base64.len() / 4 * 3 - base64.bytes().rev().take_while(|byte| *byte == b'=').count().min(base64.len() / 4 * 3)
}

fn config_key(key: &str, path: &Path, errors: &mut ErrorList) {
    for message in names::config_map_key(key) {
        errors.push(FieldError::invalid(path, key, message));
    }
}

/// `ValidateService` and `ValidateServiceUpdate`, less what the allocator checks.
pub fn service(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    let type_ = spec.get("type");
    let headless = spec.get("clusterIP").text() == "None";
    let ports = spec.get("ports");
    if ports.is_empty() && !headless && type_.text() != "ExternalName" {
        errors.push(FieldError::required(&ports.path, ""));
    }
    let type_path = spec.path.child("clusterIP");
    if type_.text() == "LoadBalancer" && headless {
        errors.push(FieldError::invalid(&type_path, "None", "may not be set to 'None' for LoadBalancer services"));
    }
    if type_.text() == "NodePort" && headless {
        errors.push(FieldError::invalid(&type_path, "None", "may not be set to 'None' for NodePort services"));
    }
    if type_.text() == "ExternalName" {
        let name = spec.get("externalName");
        if name.is_empty() {
            errors.push(FieldError::required(&name.path, ""));
        } else {
            let bare = name.text().strip_suffix('.').unwrap_or(name.text());
            for message in names::dns1123_subdomain(bare) {
                errors.push(FieldError::invalid(&name.path, name.text(), message));
            }
        }
    }
    service_ports(&ports, errors);
    rules::labels(&spec.get("selector"), errors);
    rules::required_one_of(&spec.get("sessionAffinity"), &["ClientIP", "None"], "", errors);
    session_affinity_config(&spec, errors);
    for address in spec.get("externalIPs").items() {
        if let Some(ip) = rules::ip(&address, errors) {
            non_special_ip(&address, ip, errors);
        }
    }
    rules::required_one_of(&type_, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], "", errors);
    for range in spec.get("loadBalancerSourceRanges").items() {
        rules::cidr(&At::new(range.path.clone(), range.value), errors);
    }
    traffic_policies(&spec, errors);
    if let Some(old) = old {
        service_update(&spec, &old.get("spec"), errors);
    }
}

fn service_ports(ports: &At<'_>, errors: &mut ErrorList) {
    let mut names_seen = BTreeSet::new();
    for port in ports.items() {
        let name = port.get("name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(&name.path, ""));
            }
        } else {
            rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
            if !names_seen.insert(name.text()) {
                errors.push(FieldError::duplicate(&name.path, name.text()));
            }
        }
        rules::port(&port.get("port"), errors);
        rules::required_one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"], "", errors);
        let target = port.get("targetPort");
        if target.is_set() && !rules::is_zero(&target) || target.value.is_string() {
            rules::port_or_name(&target, errors);
        }
    }
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let key = (port.get("protocol").text(), port.get("port").number());
        if !seen.insert(key) {
            let shown = serde_json::json!({"port": port.get("port").number(), "protocol": port.get("protocol").text()});
            errors.push(FieldError::duplicate(&port.path, shown));
        }
    }
    let mut taken = BTreeSet::new();
    for port in ports.items() {
        let node_port = port.get("nodePort");
        let Some(number) = node_port.number().filter(|number| *number != 0) else { continue };
        if !taken.insert((port.get("protocol").text(), number)) {
            errors.push(FieldError::duplicate(&node_port.path, number));
        }
    }
}

fn session_affinity_config(spec: &At<'_>, errors: &mut ErrorList) {
    let config = spec.get("sessionAffinityConfig");
    match spec.get("sessionAffinity").text() {
        "None" if config.is_set() => {
            let detail = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden(&config.path, detail));
        }
        "ClientIP" => {
            let seconds = config.at(&["clientIP", "timeoutSeconds"]);
            match seconds.number() {
                None => errors.push(FieldError::required(&config.path, "when session affinity type is ClientIP")),
                Some(number) if !(1..=86400).contains(&number) => {
                    let detail = "must be greater than 0 and less than 86400";
                    errors.push(FieldError::invalid(&seconds.path, number, detail));
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

fn traffic_policies(spec: &At<'_>, errors: &mut ErrorList) {
    let (type_, external) = (spec.get("type"), spec.get("externalTrafficPolicy"));
    let outside = matches!(type_.text(), "NodePort" | "LoadBalancer")
        || (type_.text() == "ClusterIP" && !spec.get("externalIPs").is_empty());
    if outside {
        rules::required_one_of(&external, &["Cluster", "Local"], "", errors);
    } else if external.is_set() {
        let detail = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(&external.path, external.text(), detail));
    }
    let health = spec.get("healthCheckNodePort");
    let wants = type_.text() == "LoadBalancer" && external.text() == "Local";
    if !wants && health.number().is_some_and(|number| number != 0) {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid(&health.path, health.value.clone(), detail));
    }
    let internal = spec.get("internalTrafficPolicy");
    if type_.text() != "ExternalName" {
        rules::required_one_of(&internal, &["Cluster", "Local"], "", errors);
    }
}

fn service_update(spec: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    // Addresses stay while the service has them on both sides (`ValidateServiceClusterIPsRelatedFields` on update).
    let needs = |spec: &At<'_>| matches!(spec.get("type").text(), "ClusterIP" | "NodePort" | "LoadBalancer");
    if needs(spec) && needs(old) && !old.get("clusterIP").is_empty() {
        let (now, before) = (spec.get("clusterIPs"), old.get("clusterIPs"));
        let first = |at: &At<'_>| at.items().next().map(|item| item.text().to_string());
        if first(&now).is_some() && first(&now) != first(&before) {
            let path = now.path.index(0);
            errors.push(FieldError::invalid(&path, now.value.clone(), "may not change once set"));
        }
    }
    rules_load_balancer_class(spec, old, errors);
}

fn rules_load_balancer_class(spec: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let (now, before) = (spec.get("loadBalancerClass"), old.get("loadBalancerClass"));
    let both = spec.get("type").text() == "LoadBalancer" && old.get("type").text() == "LoadBalancer";
    if both && now.value != before.value {
        errors.push(FieldError::invalid(&now.path, now.value.clone(), "may not change once set"));
    }
}

/// `ValidateNonSpecialIP`
pub(super) fn non_special_ip(at: &At<'_>, ip: IpAddr, errors: &mut ErrorList) {
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(&at.path, at.text(), detail));
    if ip.is_unspecified() {
        refuse("may not be unspecified (0.0.0.0 or ::)");
    }
    if ip.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == [224, 0, 0]) {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// `ValidateEndpoints`
pub fn endpoints(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    for subset in new.get("subsets").items() {
        let (ready, other) = (subset.get("addresses"), subset.get("notReadyAddresses"));
        if ready.is_empty() && other.is_empty() {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&subset.path, detail));
        }
        for address in ready.items().chain(other.items()) {
            endpoint_address(&address, errors);
        }
        let ports = subset.get("ports");
        for port in ports.items() {
            let name = port.get("name");
            if ports.len() > 1 && name.is_empty() {
                errors.push(FieldError::required(&name.path, ""));
            } else if !name.is_empty() {
                rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
            }
            rules::port(&port.get("port"), errors);
            rules::required_one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"], "", errors);
        }
    }
}

fn endpoint_address(address: &At<'_>, errors: &mut ErrorList) {
    let at = address.get("ip");
    match rules::ip(&at, errors) {
        Some(ip) => non_special_ip(&at, ip, errors),
        // The reference says so a second time, in the words of its second check.
        None => errors.push(FieldError::invalid(&at.path, at.text(), "must be a valid IP address")),
    }
    let host = address.get("hostname");
    if !host.is_empty() {
        rules::invalid_each(&host, names::dns1123_label(host.text()), errors);
    }
}

/// `ValidateLimitRange`
pub fn limit_range(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let mut types = BTreeSet::new();
    for limit in new.at(&["spec", "limits"]).items() {
        let type_ = limit.get("type");
        if !types.insert(type_.text()) {
            errors.push(FieldError::duplicate(&type_.path, type_.text()));
        }
        let lists = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"].map(|name| limit.get(name));
        let keys: BTreeSet<&str> = lists.iter().flat_map(|list| list.entries().map(|(key, _)| key)).collect();
        for key in keys {
            limit_of(&limit, key, errors);
        }
    }
}

fn limit_of(limit: &At<'_>, key: &str, errors: &mut ErrorList) {
    let [max, min, default, request] = ["max", "min", "default", "defaultRequest"].map(|name| limit.get(name).key(key));
    let more = |a: &At<'_>, b: &At<'_>| rules::quantity(a).zip(rules::quantity(b)).is_some_and(|(a, b)| a > b);
    // The reference shows the limit's minimum where the default is below it.
    let mut compare = |low: &At<'_>, high: &At<'_>, blamed: &At<'_>, low_name: &str, high_name: &str| {
        if more(low, high) {
            let shown = if low_name == "min" && high_name == "default" { low.text() } else { blamed.text() };
            let (low, high) = (low.text(), high.text());
            let detail = format!("{low_name} value {low} is greater than {high_name} value {high}");
            errors.push(FieldError::invalid(&blamed.path, shown, detail));
        }
    };
    compare(&min, &max, &min, "min", "max");
    compare(&min, &request, &request, "min", "default request");
    compare(&request, &max, &request, "default request", "max");
    compare(&request, &default, &request, "default request", "default limit");
    compare(&min, &default, &default, "min", "default");
    compare(&default, &max, &default, "default", "max");
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
            super::pod::resource_name(key, &path, errors);
            rules::nonnegative_quantity(&At::new(path, amount.value), errors);
        }
        rules::labels(&new.at(&["scheduling", "nodeSelector"]), errors);
        super::pod::affinity::tolerations(&new.at(&["scheduling", "tolerations"]), errors);
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
