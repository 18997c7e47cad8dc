//! Services: what is inherited from the stored one, and the addresses and ports that come with them.

use std::collections::{BTreeMap, BTreeSet};

use api::field::ErrorList;
use api::{Object, Status};
use serde_json::{Value, json};
use store::{Snapshot, Transaction};

use super::Strategy;
use crate::{Context, allocator};

/// Services.
pub(super) struct Service;

impl Strategy for Service {
    fn prepare_for_create(&self, ctx: &Context, new: &mut Object) {
        new.set(&["status"], json!({"loadBalancer": {}}));
        drop_inapplicable(new);
        normalize(new, None);
        allocator::families::fill(ctx, new, None);
    }

    fn prepare_for_update(&self, ctx: &Context, new: &mut Object, old: &Object) {
        inherit(new, old);
        drop_dependent(new, old);
        drop_inapplicable(new);
        normalize(new, Some(old));
        allocator::families::fill(ctx, new, Some(old));
    }

    fn validate(&self, ctx: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        allocator::families::errors(ctx, new, old)
    }

    /// Addresses, families and ports are looked at, and allocated, before the rest.
    fn refuses_first(&self, ctx: &Context, new: &Object, old: Option<&Object>) -> Option<Status> {
        for errors in [api::validation::cluster_ips(new, old), allocator::families::errors(ctx, new, old)] {
            if !errors.is_empty() {
                return Some(Status::invalid("", "Service", new.name(), &errors));
            }
        }
        allocator::accompany(ctx, Some(&mut new.clone()), old, &ctx.registry.snapshot()).err()
    }

    fn allocates(&self) -> bool {
        true
    }

    fn accompany(
        &self,
        ctx: &Context,
        new: Option<&mut Object>,
        old: Option<&Object>,
        snapshot: &Snapshot,
    ) -> Result<Transaction, Status> {
        allocator::accompany(ctx, new, old, snapshot)
    }
}

pub(crate) fn kind(service: &Object) -> &str {
    match service.str_at(&["spec", "type"]) {
        "" => "ClusterIP",
        kind => kind,
    }
}

fn needs_address(service: &Object) -> bool {
    kind(service) != "ExternalName"
}

pub(crate) fn needs_node_ports(service: &Object) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false)),
        _ => false,
    }
}

/// What only a load balancer with local traffic has.
pub(crate) fn needs_health_port(service: &Object) -> bool {
    kind(service) == "LoadBalancer" && service.str_at(&["spec", "externalTrafficPolicy"]) == "Local"
}

fn copy(new: &mut Object, old: &Object, path: &[&str]) {
    if let Some(value) = old.at(path) {
        new.set(path, value.clone());
    }
}

fn is_unset(service: &Object, path: &[&str]) -> bool {
    match service.at(path) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(_) => false,
    }
}

/// An update that leaves out what was allocated keeps it (`patchAllocatedValues`).
fn inherit(new: &mut Object, old: &Object) {
    if needs_address(new) && needs_address(old) {
        if is_unset(new, &["spec", "clusterIP"]) {
            copy(new, old, &["spec", "clusterIP"]);
        }
        let same = new.at(&["spec", "clusterIP"]) == old.at(&["spec", "clusterIP"]);
        if same && is_unset(new, &["spec", "clusterIPs"]) {
            copy(new, old, &["spec", "clusterIPs"]);
        }
        if same && is_unset(new, &["spec", "ipFamilies"]) {
            copy(new, old, &["spec", "ipFamilies"]);
        }
        if new.at(&["spec", "ipFamilyPolicy"]).is_none() {
            copy(new, old, &["spec", "ipFamilyPolicy"]);
        }
    }
    if needs_node_ports(new) && needs_node_ports(old) {
        inherit_node_ports(new, old);
    }
    if needs_health_port(new) && needs_health_port(old) && is_unset(new, &["spec", "healthCheckNodePort"]) {
        copy(new, old, &["spec", "healthCheckNodePort"]);
    }
}

/// An entry without a node port has the one that the entry of its name had, unless another entry asks for that.
fn inherit_node_ports(new: &mut Object, old: &Object) {
    let asked: BTreeSet<i64> = ports(new).iter().map(node_port).collect();
    let name = |port: &Value| port.get("name").and_then(Value::as_str).unwrap_or("").to_string();
    let before: BTreeMap<String, i64> = ports(old).iter().map(|port| (name(port), node_port(port))).collect();
    for port in ports_mut(new).into_iter().flatten().filter(|port| node_port(port) == 0) {
        if let Some(held) = before.get(&name(port)).filter(|held| **held != 0 && !asked.contains(held)) {
            port["nodePort"] = (*held).into();
        }
    }
}

pub(crate) fn has_node_ports(service: &Object) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

/// Whether traffic from outside reaches it (`ExternallyAccessible`).
fn is_external(service: &Object) -> bool {
    has_node_ports(service) || kind(service) == "ClusterIP" && !is_unset(service, &["spec", "externalIPs"])
}

/// A mere name has no traffic that a policy could steer; a default of old is not shown
/// (`defaultOnReadInternalTrafficPolicy`).
fn drop_inapplicable(new: &mut Object) {
    let known = matches!(new.str_at(&["spec", "internalTrafficPolicy"]), "Cluster" | "Local");
    if !needs_address(new) && known {
        new.remove(&["spec", "internalTrafficPolicy"]);
    }
}

/// A change of the type takes what belonged to the old one along, unless the client changed that as well
/// (`dropTypeDependentFields`).
fn drop_dependent(new: &mut Object, old: &Object) {
    if needs_address(old) && !needs_address(new) {
        let groups: [&[&str]; 3] = [&["clusterIP", "clusterIPs"], &["ipFamilies"], &["ipFamilyPolicy"]];
        for fields in groups {
            if fields.iter().all(|field| new.at(&["spec", field]) == old.at(&["spec", field])) {
                fields.iter().for_each(|field| drop(new.remove(&["spec", field])));
            }
        }
    }
    if has_node_ports(old) && !has_node_ports(new) {
        let before: Vec<i64> = ports(old).iter().map(node_port).collect();
        let same = ports(new).iter().map(node_port).collect::<Vec<_>>() == before;
        if let Some(ports) = ports_mut(new).filter(|_| same) {
            for port in ports.iter_mut().filter_map(Value::as_object_mut) {
                port.remove("nodePort");
            }
        }
    }
    if is_external(old)
        && !is_external(new)
        && new.at(&["spec", "externalTrafficPolicy"]) == old.at(&["spec", "externalTrafficPolicy"])
    {
        new.remove(&["spec", "externalTrafficPolicy"]);
    }
    if needs_health_port(old)
        && !needs_health_port(new)
        && new.at(&["spec", "healthCheckNodePort"]) == old.at(&["spec", "healthCheckNodePort"])
    {
        new.remove(&["spec", "healthCheckNodePort"]);
    }
    if kind(old) == "LoadBalancer" && kind(new) != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if new.at(&["spec", field]) == old.at(&["spec", field]) {
                new.remove(&["spec", field]);
            }
        }
    }
}

/// `clusterIP` and `clusterIPs[0]` say the same (`NormalizeClusterIPs`).
fn normalize(new: &mut Object, old: Option<&Object>) {
    let one = new.str_at(&["spec", "clusterIP"]).to_string();
    let many = new.at(&["spec", "clusterIPs"]).and_then(Value::as_array).cloned().unwrap_or_default();
    match old {
        None if !one.is_empty() && many.is_empty() => new.set(&["spec", "clusterIPs"], json!([one])),
        Some(old) => {
            let before = old.str_at(&["spec", "clusterIP"]);
            let unchanged = new.at(&["spec", "clusterIPs"]) == old.at(&["spec", "clusterIPs"]);
            if before != one && one.is_empty() && unchanged {
                new.remove(&["spec", "clusterIPs"]);
            } else if before != one && !one.is_empty() && (unchanged || many.is_empty()) {
                new.set(&["spec", "clusterIPs"], json!([one]));
            }
        }
        None => {}
    }
}

pub(crate) fn ports(service: &Object) -> &[Value] {
    service.at(&["spec", "ports"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn ports_mut(service: &mut Object) -> Option<&mut Vec<Value>> {
    service.0.get_mut("spec")?.get_mut("ports")?.as_array_mut()
}

pub(crate) fn node_port(port: &Value) -> i64 {
    port.get("nodePort").and_then(Value::as_i64).unwrap_or(0)
}

pub(crate) fn protocol(port: &Value) -> &str {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")
}
