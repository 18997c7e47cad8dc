//! Services: `validateService` and what of one may change. What depends on the cluster's address families is the
//! allocator's to say.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use serde_json::Value;

use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::services;
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
pub(crate) fn service(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let before = old.map(|old| old.field("spec"));
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
    rules::labels(&spec.field("selector"), errors);
    affinity(&spec, errors);
    cluster_ips(&spec, before.as_ref(), errors);
    external_ips(&spec, before.as_ref(), errors);
    rules::required_one_of(&spec.field("type"), TYPES, "", errors);
    port_numbers(&spec, errors);
    source_ranges(&spec, &annotations, old, errors);
    load_balancer(&spec, errors);
    load_balancer_class(&spec, None, errors);
    traffic(&spec, errors);
}

/// Whether the service has no address of its own by intent.
pub(super) fn is_headless(spec: &At<'_>) -> bool {
    let addresses = spec.field("clusterIPs");
    addresses.len() == 1 && addresses.items().all(|address| services::is_headless(address.text()))
}

fn is_type(spec: &At<'_>, name: &str) -> bool {
    spec.field("type").text() == name
}

fn of_type(spec: &At<'_>, errors: &mut ErrorList) {
    let (ports, addresses) = (spec.field("ports"), spec.field("clusterIPs"));
    let headless = is_headless(spec);
    if ports.is_empty() && !headless && !is_type(spec, "ExternalName") {
        errors.push(FieldError::required(&ports.path, ""));
    }
    match spec.field("type").text() {
        kind @ ("LoadBalancer" | "NodePort") if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(&addresses.path.index(0), "None", detail));
        }
        "ExternalName" => {
            let policy = spec.field("ipFamilyPolicy");
            let lists = spec.fields(["clusterIPs", "ipFamilies"]);
            let given = lists.iter().filter(|list| !list.is_empty());
            for at in given.chain([&policy].into_iter().filter(|policy| policy.is_set())) {
                errors.push(FieldError::forbidden(&at.path, "may not be set for ExternalName services"));
            }
            let name = spec.field("externalName");
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
    let list = spec.field("ports");
    let mut seen = BTreeSet::new();
    for port in list.items() {
        let name = port.field("name");
        if !name.is_empty() {
            rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
            if !seen.insert(name.text()) {
                errors.push(FieldError::duplicate(&name.path, name.text()));
            }
        } else if list.len() > 1 {
            errors.push(FieldError::required(&name.path, ""));
        }
        rules::port(&port.field("port"), errors);
        rules::required_one_of(&port.field("protocol"), PROTOCOLS, "", errors);
        rules::port_or_name(&port.field("targetPort"), errors);
        let protocol = port.field("appProtocol");
        if protocol.is_set() {
            rules::invalid_each(&protocol, names::label_key(protocol.text()), errors);
        }
    }
}

fn affinity(spec: &At<'_>, errors: &mut ErrorList) {
    let (kind, config) = (spec.field("sessionAffinity"), spec.field("sessionAffinityConfig"));
    rules::required_one_of(&kind, &["ClientIP", "None"], "", errors);
    match kind.text() {
        "None" if config.is_set() => {
            let detail = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden(&config.path, detail));
        }
        "ClientIP" => {
            let seconds = config.at(&["clientIP", "timeoutSeconds"]);
            let missing = [config.clone(), config.field("clientIP"), seconds.clone()].into_iter().find(At::is_absent);
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
pub(crate) fn cluster_ips(spec: &At<'_>, before: Option<&At<'_>>, errors: &mut ErrorList) {
    if is_type(spec, "ExternalName") {
        return;
    }
    let (one, all) = (spec.field("clusterIP"), spec.field("clusterIPs"));
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
    for family in spec.field("ipFamilies").items() {
        rules::one_of(&family, FAMILIES, errors);
        if !seen.insert(family.text()) {
            errors.push(FieldError::duplicate(&family.path, family.text()));
        }
    }
    rules::one_of(&spec.field("ipFamilyPolicy"), FAMILY_POLICIES, errors);
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
        if index == 0 && services::is_headless(address.text()) {
            if all.len() > 1 {
                fine = false;
                refuse(errors, "'None' must be the first and only value");
            }
            continue;
        }
        let known =
            before.is_some_and(|before| before.field("clusterIPs").items().any(|old| old.value == address.value));
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
    let pairs = spec.field("clusterIPs").items().zip(spec.field("ipFamilies").items());
    for (index, (address, family)) in pairs.enumerate() {
        let is_v6 = matches!(addresses::parse_address(address.text()), Some(IpAddr::V6(_)));
        if FAMILIES.contains(&family.text()) && is_v6 != (family.text() == "IPv6") {
            let detail = format!("expected an {} value as indicated by `ipFamilies[{index}]`", family.text());
            errors.push(FieldError::invalid(&address.path, address.text(), detail));
        }
    }
}

fn external_ips(spec: &At<'_>, before: Option<&At<'_>>, errors: &mut ErrorList) {
    for address in spec.field("externalIPs").items() {
        let known =
            before.is_some_and(|before| before.field("externalIPs").items().any(|old| old.value == address.value));
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
    let list = spec.field("ports");
    let number = |at: At<'_>| at.number().unwrap_or(0);
    if is_type(spec, "ClusterIP") {
        for port in list.items().filter(|port| number(port.field("nodePort")) != 0) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(&port.path.child("nodePort"), detail));
        }
    }
    let mut taken = BTreeSet::new();
    for port in list.items().filter(|port| number(port.field("nodePort")) != 0) {
        let held = number(port.field("nodePort"));
        if !taken.insert((port.field("protocol").text(), held)) {
            errors.push(FieldError::duplicate(&port.path.child("nodePort"), held));
        }
    }
    let mut seen = BTreeSet::new();
    for port in list.items() {
        if !seen.insert((port.field("protocol").text(), number(port.field("port")))) {
            let key = serde_json::json!({"protocol": port.field("protocol").value, "port": port.field("port").value});
            // An unset target is a number there.
            errors.push(rules::duplicate_as(&At::new(port.path.clone(), &key), "core.ServicePort"));
        }
    }
}

/// The ranges that may reach a load balancer, in the field or in the annotation before it.
fn source_ranges(spec: &At<'_>, annotations: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let (list, annotation) = (spec.field("loadBalancerSourceRanges"), annotations.key(SOURCE_RANGES));
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
    let at = spec.field("allocateLoadBalancerNodePorts");
    let is_balancer = is_type(spec, "LoadBalancer");
    if at.is_set() && !is_balancer {
        errors.push(FieldError::forbidden(&at.path, ONLY_LOAD_BALANCERS));
    } else if at.is_absent() && is_balancer {
        errors.push(FieldError::required(&Path::new("allocateLoadBalancerNodePorts"), ""));
    }
}

/// `validateLoadBalancerClassField`
pub(super) fn load_balancer_class(spec: &At<'_>, before: Option<&At<'_>>, errors: &mut ErrorList) {
    let at = spec.field("loadBalancerClass");
    let is_balancer = is_type(spec, "LoadBalancer");
    if let Some(before) = before.filter(|before| is_balancer && is_type(before, "LoadBalancer"))
        && before.field("loadBalancerClass").value != at.value
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
    let (external, internal) = (spec.field("externalTrafficPolicy"), spec.field("internalTrafficPolicy"));
    let has_type = |names: &[&str]| names.iter().any(|name| is_type(spec, name));
    let outside = has_type(&["NodePort", "LoadBalancer"])
        || (is_type(spec, "ClusterIP") && !spec.field("externalIPs").is_empty());
    if outside {
        rules::required_one_of(&external, &["Cluster", "Local"], "", errors);
    } else if !external.is_empty() {
        let detail = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(&external.path, external.text(), detail));
    }
    let health = spec.field("healthCheckNodePort");
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
    rules::one_of(&spec.field("trafficDistribution"), DISTRIBUTIONS, errors);
}

/// `ValidateServiceStatusUpdate`
pub(crate) fn status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let at = new.at(&["status", "loadBalancer"]);
    let known = old.map(|old| old.at(&["status", "loadBalancer"]));
    load_balancer_status(&at, known.as_ref(), is_type(&new.field("spec"), "LoadBalancer"), errors);
}

/// `ValidateLoadBalancerStatus`
fn load_balancer_status(at: &At<'_>, old: Option<&At<'_>>, is_balancer: bool, errors: &mut ErrorList) {
    let list = at.field("ingress");
    if !is_balancer && !list.is_empty() {
        let detail = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(&list.path, detail));
        return;
    }
    let known: HashSet<&str> =
        old.into_iter().flat_map(|old| old.field("ingress").items()).map(|i| i.field("ip").text()).collect();
    for ingress in list.items() {
        let (ip, mode, host) = (ingress.field("ip"), ingress.field("ipMode"), ingress.field("hostname"));
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
