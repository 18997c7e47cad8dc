//! What the store holds, counted when it is asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use metrics::Text;
use serde_json::Value;
use store::Snapshot;

use super::RESOURCES_MAX;
use crate::{Registry, allocator};

/// What the store is called among those that there could be.
const STORE: &str = "store-0";

/// Objects and bytes of one resource.
#[derive(Default)]
struct Holding {
    objects: u64,
    bytes: u64,
}

/// Adds the number and size of the objects of each resource.
pub(super) fn collect(registry: &Registry, text: &mut Text) {
    let (catalogue, snapshot) = (registry.catalogue(), registry.snapshot());
    // Several versions and groups may show what is stored once.
    let stored = catalogue.iter().filter(|resource| resource.stored());
    let resources: BTreeMap<(String, String), String> = stored
        .map(|resource| ((resource.storage_group.clone(), resource.plural.clone()), resource.prefix("")))
        .take(RESOURCES_MAX)
        .collect();
    for ((group, resource), prefix) in &resources {
        let mut holding = Holding::default();
        for entry in snapshot.list(prefix, None) {
            holding.objects += 1;
            holding.bytes += entry.value().len() as u64;
        }
        let labels = [("group", group.as_str()), ("resource", resource.as_str())];
        text.value("apiserver_resource_objects", &labels, holding.objects as f64);
        text.value("apiserver_resource_size_estimate_bytes", &labels, holding.bytes as f64);
        text.value("apiserver_watch_cache_resource_version", &labels, revision(snapshot.revision()));
        let full = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
        text.value("apiserver_storage_objects", &[("resource", &full)], holding.objects as f64);
    }
    if let Some(control) = registry.flow_control() {
        control.collect(&**registry.store(), text);
    }
    unavailable(registry, &snapshot, text);
    addresses(registry, &snapshot, text);
    ports(&snapshot, text);
    size(registry, text);
    registry.metrics().requests.collect_levels(registry.seconds(registry.clock().instant()), text);
}

/// Which groups are said to be not available.
fn unavailable(registry: &Registry, snapshot: &Snapshot, text: &mut Text) {
    for service in registry.list_in(snapshot, "apiregistration.k8s.io", "apiservices", "").iter().take(RESOURCES_MAX) {
        let conditions = service.at(&["status", "conditions"]).and_then(Value::as_array).into_iter().flatten();
        let is_available = |condition: &Value| condition["type"] == "Available" && condition["status"] == "True";
        let available = conditions.into_iter().any(is_available);
        let labels = [("name", service.name())];
        text.value("aggregator_unavailable_apiservice", &labels, if available { 0.0 } else { 1.0 });
    }
}

/// How many addresses services have taken of each range, and how many they may still take: neither the first nor, of
/// IPv4, the last is given away (`ipallocator` in `pkg/registry/core/service`).
fn addresses(registry: &Registry, snapshot: &Snapshot, text: &mut Text) {
    let taken = registry.list_in(snapshot, "networking.k8s.io", "ipaddresses", "");
    let taken: Vec<IpAddr> = taken.iter().filter_map(|address| address.name().parse().ok()).collect();
    for range in &registry.config().service_cidrs {
        let bits = range.max_prefix_len() - range.prefix_len();
        let reserved = if range.addr().is_ipv4() { 2.0 } else { 1.0 };
        let size = (f64::from(bits).exp2() - reserved).max(0.0);
        let count = taken.iter().filter(|address| range.contains(*address)).count() as f64;
        let (range, labels) = (range.trunc().to_string(), "cidr");
        text.value("kube_apiserver_clusterip_allocator_allocated_ips", &[(labels, &range)], count);
        text.value("kube_apiserver_clusterip_allocator_available_ips", &[(labels, &range)], size - count);
    }
}

/// How many node ports services have taken, and how many they may still take.
fn ports(snapshot: &Snapshot, text: &mut Text) {
    let held = snapshot.list(allocator::PORTS_HELD, None).count() as f64;
    let all = (allocator::NODE_PORT_MAX - allocator::NODE_PORT_MIN + 1) as f64;
    text.value("kube_apiserver_nodeport_allocator_allocated_ports", &[], held);
    text.value("kube_apiserver_nodeport_allocator_available_ports", &[], all - held);
}

/// How much room the store takes on the disk, if it is on one.
fn size(registry: &Registry, text: &mut Text) {
    if let Some(bytes) = registry.store().disk_bytes() {
        text.value("apiserver_storage_size_bytes", &[("storage_cluster_id", STORE)], bytes as f64);
    }
}

/// A revision as a number that a float holds exactly: its fifteen last digits.
fn revision(revision: u64) -> f64 {
    const DIGITS: u64 = 1_000_000_000_000_000;
    (revision % DIGITS) as f64
}
