//! Services: `validateService` and what of one may change. What depends on the cluster's address families is the
//! allocator's to say.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use serde_json::Value;

use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::validation::at::At;
use crate::validation::{addresses, rules};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const FAMILY_POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const ONLY_LOAD_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const ADDRESSES_MAX: usize = 2;
const AFFINITY_SECONDS_MAX: i64 = 86_400;

/// `ValidateServiceCreate` and `ValidateServiceUpdate`
pub fn service(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    let before = old.map(|old| old.get("spec"));
    if let Some(before) = &before {
        super::service_update::spec(&spec, before, errors);
    }
    let annotations = new.at(&["metadata", "annotations"]);
    let (hints, mode) = (annotations.key(HINTS), annotations.key(MODE));
    if hints.is_set() && mode.is_set() && hints.value != mode.value {
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        errors.push(FieldError::invalid(&mode.path, mode.text(), detail));
    }
    of_type(&spec, errors);
    ports(&spec, errors);
    rules::labels(&spec.get("selector"), errors);
    affinity(&spec, errors);
    cluster_ips(&spec, before.as_ref(), errors);
    external_ips(&spec, before.as_ref(), errors);
    rules::required_one_of(&spec.get("type"), TYPES, "", errors);
    port_numbers(&spec, errors);
    source_ranges(&spec, &annotations, old, errors);
    load_balancer(&spec, errors);
    load_balancer_class(&spec, None, errors);
    traffic(&spec, errors);
}

/// Whether the service has no address of its own by intent.
pub(super) fn is_headless(spec: &At<'_>) -> bool {
    let addresses = spec.get("clusterIPs");
    addresses.len() == 1 && addresses.items().all(|address| address.text() == "None")
}

fn is_type(spec: &At<'_>, name: &str) -> bool {
    spec.get("type").text() == name
}

fn of_type(spec: &At<'_>, errors: &mut ErrorList) {
    let (ports, addresses) = (spec.get("ports"), spec.get("clusterIPs"));
    let headless = is_headless(spec);
    if ports.is_empty() && !headless && !is_type(spec, "ExternalName") {
        errors.push(FieldError::required(&ports.path, ""));
    }
    match spec.get("type").text() {
        kind @ ("LoadBalancer" | "NodePort") if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(&addresses.path.index(0), "None", detail));
        }
        "ExternalName" => {
            for (name, whole) in [("clusterIPs", false), ("ipFamilies", false), ("ipFamilyPolicy", true)] {
                let at = spec.get(name);
                if if whole { at.is_set() } else { !at.is_empty() } {
                    errors.push(FieldError::forbidden(&at.path, "may not be set for ExternalName services"));
                }
            }
            let name = spec.get("externalName");
            let bare = name.text().strip_suffix('.').unwrap_or(name.text());
            match bare {
                "" => errors.push(FieldError::required(&name.path, "")),
                bare => {
                    for message in names::dns1123_subdomain(bare) {
                        errors.push(FieldError::invalid(&name.path, bare, message));
                    }
                }
            }
        }
        _ => {}
    }
}

/// `validateServicePort`
fn ports(spec: &At<'_>, errors: &mut ErrorList) {
    let list = spec.get("ports");
    let mut seen = BTreeSet::new();
    for port in list.items() {
        let name = port.get("name");
        if !name.is_empty() {
            rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
            if !seen.insert(name.text()) {
                errors.push(FieldError::duplicate(&name.path, name.text()));
            }
        } else if list.len() > 1 {
            errors.push(FieldError::required(&name.path, ""));
        }
        rules::port(&port.get("port"), errors);
        rules::required_one_of(&port.get("protocol"), PROTOCOLS, "", errors);
        rules::port_or_name(&port.get("targetPort"), errors);
        let protocol = port.get("appProtocol");
        if protocol.is_set() {
            rules::invalid_each(&protocol, names::label_key(protocol.text()), errors);
        }
    }
}

fn affinity(spec: &At<'_>, errors: &mut ErrorList) {
    let (kind, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    rules::required_one_of(&kind, &["ClientIP", "None"], "", errors);
    match kind.text() {
        "None" if config.is_set() => {
            let detail = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden(&config.path, detail));
        }
        "ClientIP" => {
            let seconds = config.at(&["clientIP", "timeoutSeconds"]);
            let missing = [config.clone(), config.get("clientIP"), seconds.clone()].into_iter().find(At::is_absent);
            if let Some(missing) = missing {
                errors.push(FieldError::required(&missing.path, "when session affinity type is ClientIP"));
            } else if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds.number().unwrap_or(0)) {
                let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                errors.push(FieldError::invalid(&seconds.path, seconds.value.clone(), detail));
            }
        }
        _ => {}
    }
}

/// `ValidateServiceClusterIPsRelatedFields`
pub fn cluster_ips(spec: &At<'_>, before: Option<&At<'_>>, errors: &mut ErrorList) {
    if is_type(spec, "ExternalName") {
        return;
    }
    let (one, all) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(&all.path, all.value.clone(), detail));
    let first = all.items().next().map(|address| address.text());
    match (one.text(), first) {
        ("", Some(_)) => refuse("must be empty when `clusterIP` is not specified"),
        ("", None) => {}
        (_, None) => errors.push(FieldError::required(&all.path, "")),
        (one, Some(first)) if one != first => refuse("first value must match `clusterIP`"),
        _ => {}
    }
    let mut seen = BTreeSet::new();
    for family in spec.get("ipFamilies").items() {
        rules::one_of(&family, FAMILIES, errors);
        if !seen.insert(family.text()) {
            errors.push(FieldError::duplicate(&family.path, family.text()));
        }
    }
    rules::one_of(&spec.get("ipFamilyPolicy"), FAMILY_POLICIES, errors);
    if addresses(&all, before, errors) && !is_headless(spec) {
        families(spec, errors);
    }
}

/// Whether the addresses are addresses.
fn addresses(all: &At<'_>, before: Option<&At<'_>>, errors: &mut ErrorList) -> bool {
    let mut fine = true;
    let refuse = |errors: &mut ErrorList, detail: &str| {
        errors.push(FieldError::invalid(&all.path, all.value.clone(), detail));
    };
    for (index, address) in all.items().enumerate() {
        if index == 0 && address.text() == "None" {
            if all.len() > 1 {
                fine = false;
                refuse(errors, "'None' must be the first and only value");
            }
            continue;
        }
        let known = before.is_some_and(|before| before.get("clusterIPs").items().any(|old| old.value == address.value));
        let count = errors.len();
        if !known {
            rules::ip(&address, errors);
        }
        fine &= errors.len() == count;
    }
    if all.len() > ADDRESSES_MAX {
        refuse(errors, "may only hold up to 2 values");
    }
    if fine && all.len() > 1 {
        let kinds: Vec<bool> =
            all.items().filter_map(|a| addresses::parse_address(a.text())).map(|ip| ip.is_ipv4()).collect();
        if kinds.iter().all(|kind| *kind == kinds[0]) {
            refuse(errors, "may specify no more than one IP for each IP family");
        }
    }
    fine
}

fn families(spec: &At<'_>, errors: &mut ErrorList) {
    let pairs = spec.get("clusterIPs").items().zip(spec.get("ipFamilies").items());
    for (index, (address, family)) in pairs.enumerate() {
        let is_v6 = matches!(addresses::parse_address(address.text()), Some(IpAddr::V6(_)));
        if FAMILIES.contains(&family.text()) && is_v6 != (family.text() == "IPv6") {
            let detail = format!("expected an {} value as indicated by `ipFamilies[{index}]`", family.text());
            errors.push(FieldError::invalid(&address.path, address.text(), detail));
        }
    }
}

fn external_ips(spec: &At<'_>, before: Option<&At<'_>>, errors: &mut ErrorList) {
    for address in spec.get("externalIPs").items() {
        let known =
            before.is_some_and(|before| before.get("externalIPs").items().any(|old| old.value == address.value));
        let count = errors.len();
        if !known {
            rules::ip(&address, errors);
        }
        if errors.len() == count {
            rules::endpoint_ip(&address, errors);
        }
    }
}

/// What one service may not have twice.
fn port_numbers(spec: &At<'_>, errors: &mut ErrorList) {
    let list = spec.get("ports");
    let number = |port: &At<'_>, name: &str| port.get(name).number().unwrap_or(0);
    if is_type(spec, "ClusterIP") {
        for port in list.items().filter(|port| number(port, "nodePort") != 0) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(&port.path.child("nodePort"), detail));
        }
    }
    let mut taken = BTreeSet::new();
    for port in list.items().filter(|port| number(port, "nodePort") != 0) {
        let held = number(&port, "nodePort");
        if !taken.insert((port.get("protocol").text(), held)) {
            errors.push(FieldError::duplicate(&port.path.child("nodePort"), held));
        }
    }
    let mut seen = BTreeSet::new();
    for port in list.items() {
        if !seen.insert((port.get("protocol").text(), number(&port, "port"))) {
            let key = serde_json::json!({"protocol": port.get("protocol").value, "port": port.get("port").value});
            // An unset target is a number there.
            errors.push(rules::duplicate_as(&At::new(port.path.clone(), &key), "core.ServicePort"));
        }
    }
}

/// The ranges that may reach a load balancer, in the field or in the annotation before it.
fn source_ranges(spec: &At<'_>, annotations: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let (list, annotation) = (spec.get("loadBalancerSourceRanges"), annotations.key(SOURCE_RANGES));
    let is_balancer = is_type(spec, "LoadBalancer");
    if !list.is_empty() {
        let path = spec.path.child("LoadBalancerSourceRanges");
        if !is_balancer {
            errors.push(FieldError::forbidden(&path, ONLY_LOAD_BALANCERS));
        }
        let known: Vec<&str> = old.map_or_else(Vec::new, |old| {
            old.at(&["spec", "loadBalancerSourceRanges"]).items().map(|range| range.text().trim()).collect()
        });
        for (index, range) in list.items().enumerate() {
            let text = range.text().trim();
            if !known.contains(&text) {
                rules::cidr(&At::new(path.index(index), &Value::from(text)), errors);
            }
        }
    } else if annotation.is_set() {
        if !is_balancer {
            errors.push(FieldError::forbidden(&annotation.path, ONLY_LOAD_BALANCERS));
        }
        let same =
            old.is_some_and(|old| old.at(&["metadata", "annotations"]).key(SOURCE_RANGES).value == annotation.value);
        let text = annotation.text().trim();
        for range in text.split(',').filter(|_| !same && !text.is_empty()) {
            rules::cidr(&At::new(annotation.path.clone(), &Value::from(range.trim())), errors);
        }
    }
}

fn load_balancer(spec: &At<'_>, errors: &mut ErrorList) {
    let at = spec.get("allocateLoadBalancerNodePorts");
    let is_balancer = is_type(spec, "LoadBalancer");
    if at.is_set() && !is_balancer {
        errors.push(FieldError::forbidden(&at.path, ONLY_LOAD_BALANCERS));
    } else if at.is_absent() && is_balancer {
        errors.push(FieldError::required(&Path::new("allocateLoadBalancerNodePorts"), ""));
    }
}

/// `validateLoadBalancerClassField`
pub(super) fn load_balancer_class(spec: &At<'_>, before: Option<&At<'_>>, errors: &mut ErrorList) {
    let at = spec.get("loadBalancerClass");
    let is_balancer = is_type(spec, "LoadBalancer");
    if let Some(before) = before.filter(|before| is_balancer && is_type(before, "LoadBalancer"))
        && before.get("loadBalancerClass").value != at.value
    {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), "may not change once set"));
    }
    if at.is_set() && is_balancer {
        rules::invalid_each(&at, names::label_key(at.text()), errors);
    } else if at.is_set() {
        errors.push(FieldError::forbidden(&at.path, ONLY_LOAD_BALANCERS));
    }
}

/// Policies of traffic from outside and inside, and the port that tells where local traffic is served.
fn traffic(spec: &At<'_>, errors: &mut ErrorList) {
    let (external, internal) = (spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy"));
    let has_type = |names: &[&str]| names.iter().any(|name| is_type(spec, name));
    let outside =
        has_type(&["NodePort", "LoadBalancer"]) || (is_type(spec, "ClusterIP") && !spec.get("externalIPs").is_empty());
    if outside {
        rules::required_one_of(&external, &["Cluster", "Local"], "", errors);
    } else if !external.is_empty() {
        let detail = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(&external.path, external.text(), detail));
    }
    let health = spec.get("healthCheckNodePort");
    let number = health.number().unwrap_or(0);
    if is_type(spec, "LoadBalancer") && external.text() == "Local" {
        // The allocator fills in a port that is not given.
        if number != 0 {
            rules::port(&health, errors);
        }
    } else if number != 0 {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid(&health.path, number, detail));
    }
    if internal.is_absent() && has_type(&["NodePort", "LoadBalancer", "ClusterIP"]) {
        errors.push(FieldError::required(&internal.path, ""));
    }
    rules::one_of(&internal, &["Cluster", "Local"], errors);
    rules::one_of(&spec.get("trafficDistribution"), DISTRIBUTIONS, errors);
}

/// `ValidateServiceStatusUpdate`
pub fn status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let at = new.at(&["status", "loadBalancer"]);
    let known = old.map(|old| old.at(&["status", "loadBalancer"]));
    load_balancer_status(&at, known.as_ref(), is_type(&new.get("spec"), "LoadBalancer"), errors);
}

/// `ValidateLoadBalancerStatus`
fn load_balancer_status(at: &At<'_>, old: Option<&At<'_>>, is_balancer: bool, errors: &mut ErrorList) {
    let list = at.get("ingress");
    if !is_balancer && !list.is_empty() {
        let detail = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(&list.path, detail));
        return;
    }
    let known: HashSet<&str> =
        old.into_iter().flat_map(|old| old.get("ingress").items()).map(|i| i.get("ip").text()).collect();
    for ingress in list.items() {
        let (ip, mode, host) = (ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname"));
        if !ip.is_empty() && !known.contains(ip.text()) {
            rules::ip(&ip, errors);
        }
        if mode.is_absent() && !ip.is_empty() {
            errors.push(FieldError::required(&mode.path, "must be specified when `ip` is set"));
        } else if mode.is_set() && ip.is_empty() {
            errors.push(FieldError::forbidden(&mode.path, "may not be specified when `ip` is not set"));
        } else {
            rules::one_of(&mode, &["Proxy", "VIP"], errors);
        }
        if !host.is_empty() {
            rules::invalid_each(&host, names::dns1123_subdomain(host.text()), errors);
            if addresses::parse_address(host.text()).is_some() {
                errors.push(FieldError::invalid(&host.path, host.text(), "must be a DNS name, not an IP address"));
            }
        }
    }
}
