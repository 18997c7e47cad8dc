//! Cells of services, endpoints, ingresses and other things of the network.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{at, field, joined, list, or, text, with_more};
use crate::Object;

pub(crate) fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub(crate) fn endpoints(object: &Object, _: Timestamp) -> Value {
    let subsets = list(object, "subsets");
    if subsets.is_empty() {
        return "<none>".into();
    }
    let items = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = Vec::new();
    for subset in subsets {
        let (addresses, ports) = (items(subset, "addresses"), items(subset, "ports"));
        if ports.is_empty() {
            all.extend(addresses.iter().map(|a| field(a, "ip").to_string()));
        }
        for port in &ports {
            let port = port["port"].as_i64().unwrap_or(0);
            all.extend(addresses.iter().map(|a| host_port(field(a, "ip"), port)));
        }
    }
    if all.is_empty() { "".into() } else { with_more(&all, 3).into() }
}

pub(crate) fn slice_ports(object: &Object, _: Timestamp) -> Value {
    let port = |p: &Value| match (p["port"].as_i64(), p["name"].as_str()) {
        (Some(port), _) => port.to_string(),
        (None, Some(name)) => name.to_string(),
        _ => "*".into(),
    };
    with_more(&list(object, "ports").iter().map(port).collect::<Vec<_>>(), 3).into()
}

pub(crate) fn slice_endpoints(object: &Object, _: Timestamp) -> Value {
    let addresses = list(object, "endpoints").iter().filter_map(|e| e["addresses"].as_array()).flatten();
    with_more(&addresses.filter_map(Value::as_str).map(String::from).collect::<Vec<_>>(), 3).into()
}

pub(crate) fn cluster_ip(service: &Object, _: Timestamp) -> Value {
    let first = list(service, "spec.clusterIPs").first().and_then(Value::as_str);
    first.unwrap_or("<none>").into()
}

pub(crate) fn load_balancer(object: &Object) -> String {
    let ingress = list(object, "status.loadBalancer.ingress").iter();
    let mut addresses: Vec<&str> = ingress
        .map(|i| if field(i, "ip").is_empty() { field(i, "hostname") } else { field(i, "ip") })
        .filter(|a| !a.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}

pub(crate) fn external_ip(service: &Object, _: Timestamp) -> Value {
    let external = joined(list(service, "spec.externalIPs"), ",");
    match text(service, "spec.type") {
        "ClusterIP" | "NodePort" => or(&external, "<none>").into(),
        "LoadBalancer" => {
            let all = [load_balancer(service), external];
            let all: Vec<String> = all.into_iter().filter(|a| !a.is_empty()).collect();
            or(&all.join(","), "<pending>").into()
        }
        "ExternalName" => text(service, "spec.externalName").into(),
        _ => "<unknown>".into(),
    }
}

pub(crate) fn ports(service: &Object, _: Timestamp) -> Value {
    let one = |p: &Value| {
        let (port, protocol) = (p["port"].as_i64().unwrap_or(0), field(p, "protocol"));
        match p["nodePort"].as_i64().unwrap_or(0) {
            0 => format!("{port}/{protocol}"),
            node => format!("{port}:{node}/{protocol}"),
        }
    };
    or(&list(service, "spec.ports").iter().map(one).collect::<Vec<_>>().join(","), "<none>").into()
}

pub(crate) fn api_service(object: &Object, _: Timestamp) -> Value {
    match at(object, "spec.service").filter(|s| !s.is_null()) {
        Some(service) => format!("{}/{}", field(service, "namespace"), field(service, "name")).into(),
        None => "Local".into(),
    }
}

pub(crate) fn api_available(object: &Object, _: Timestamp) -> Value {
    let Some(available) = list(object, "status.conditions").iter().find(|c| field(c, "type") == "Available") else {
        return "Unknown".into();
    };
    match (field(available, "status"), field(available, "reason")) {
        ("True", _) | (_, "") => field(available, "status").into(),
        (status, reason) => format!("{status} ({reason})").into(),
    }
}

pub(crate) fn class_parameters(class: &Object, _: Timestamp) -> Value {
    let Some(parameters) = at(class, "spec.parameters").filter(|p| !p.is_null()) else { return "<none>".into() };
    let group = parameters["apiGroup"].as_str().map_or(String::new(), |group| format!(".{group}"));
    format!("{}{group}/{}", field(parameters, "kind"), field(parameters, "name")).into()
}

pub(crate) fn hosts(ingress: &Object, _: Timestamp) -> Value {
    let rules = list(ingress, "spec.rules");
    let mut hosts: Vec<&str> = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= hosts.len() == 3;
        if !more && !field(rule, "host").is_empty() {
            hosts.push(field(rule, "host"));
        }
    }
    match (hosts.join(","), more) {
        (hosts, _) if hosts.is_empty() => "*".into(),
        (hosts, true) => format!("{hosts} + {} more...", rules.len() - 3).into(),
        (hosts, false) => hosts.into(),
    }
}

pub(crate) fn parent_ref(address: &Object, _: Timestamp) -> Value {
    let Some(parent) = at(address, "spec.parentRef").filter(|p| !p.is_null()) else { return "<none>".into() };
    let mut shown = crate::status::group_resource(field(parent, "group"), field(parent, "resource")).to_lowercase();
    for part in [field(parent, "namespace"), field(parent, "name")].into_iter().filter(|p| !p.is_empty()) {
        shown.push('/');
        shown.push_str(part);
    }
    shown.into()
}
