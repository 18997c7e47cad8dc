//! The elements of one Service and its EndpointSlices in the table: a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use api::services::is_headless;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::endpoints::is_ready;

use super::element::{Front, Key, Protocol, Value};

/// A Service or EndpointSlice that carries one of these labels, whatever its value, is not served here: another program
/// serves it, or nobody does.
const UNSERVED_LABELS: [&str; 2] = ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"];
/// Endpoints behind one front are at most as many as the endpoints of a full service; the rest is left out.
pub const ENDPOINTS_MAX: usize = 1 << 16;
/// Endpoints for clients on this node are numbered from here on, where they differ from those for others.
pub const INNER_OFFSET: u32 = 1 << 16;
/// How long ClientIP affinity lasts if the Service does not say.
const AFFINITY_SECONDS: u32 = 10_800;

/// The elements of one service.
pub type Elements = BTreeMap<Key, Value>;

/// The endpoints of one service port, sorted into those that may be used.
#[derive(Debug, Default, PartialEq, Eq)]
struct Backends {
    all: Vec<SocketAddrV4>,
    local: Vec<SocketAddrV4>,
}

/// Whether a Service or EndpointSlice is served here at all.
#[must_use]
pub fn is_served(of: &ObjectMeta) -> bool {
    !of.labels.iter().flat_map(|labels| labels.keys()).any(|label| UNSERVED_LABELS.contains(&label.as_str()))
}

/// The elements that `service` with its `slices` needs on the node `node`.
///
/// Headless services, ExternalName and those that another proxy serves need none.
#[must_use]
pub fn elements(service: &Service, slices: &[Arc<EndpointSlice>], node: &str) -> Elements {
    let mut elements = Elements::new();
    let Some(spec) = &service.spec else { return elements };
    if !is_served(&service.metadata)
        || spec.type_.as_deref() == Some("ExternalName")
        || spec.cluster_ip.as_deref().is_some_and(is_headless)
    {
        return elements;
    }
    for port in spec.ports.iter().flatten() {
        let Some(protocol) = Protocol::parse(port.protocol.as_deref()) else { continue };
        let backends = backends(slices, port.name.as_deref().unwrap_or_default(), node);
        for backend in &backends.all {
            elements.insert(Key::Hairpin(*backend.ip()), Value::Member);
        }
        let affinity = affinity_seconds(spec);
        add_cluster_fronts(&mut elements, spec, port, protocol, &backends, affinity);
        add_external_fronts(&mut elements, service, spec, port, protocol, &backends, affinity);
    }
    elements
}

/// How many endpoints of the service are on this node and ready: what its health-check node port tells.
#[must_use]
pub fn local_endpoints(slices: &[Arc<EndpointSlice>], node: &str) -> usize {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let local = endpoints.filter(|endpoint| is_ready(endpoint) && endpoint.node_name.as_deref() == Some(node));
    local.flat_map(|endpoint| &endpoint.addresses).collect::<BTreeSet<_>>().len()
}

/// Whether the service has an endpoint that is ready, wherever it is.
pub(super) fn any_endpoints(slices: &[Arc<EndpointSlice>]) -> bool {
    slices.iter().flat_map(|slice| slice.endpoints.iter().flatten()).any(is_ready)
}

fn add_cluster_fronts(
    elements: &mut Elements,
    spec: &ServiceSpec,
    port: &ServicePort,
    protocol: Protocol,
    backends: &Backends,
    affinity: Option<u32>,
) {
    let local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let used = if local { &backends.local } else { &backends.all };
    for address in addresses(spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip)) {
        let Some(port) = port_number(port.port) else { continue };
        let front = Front { address: Some(address), protocol, port };
        add_front(elements, front, used, affinity);
        // A cluster IP without any endpoint needs no element: the static rules refuse what was not translated.
        if used.is_empty() && !backends.all.is_empty() {
            elements.insert(Key::Refused(front), Value::Drop);
        }
    }
}

fn add_external_fronts(
    elements: &mut Elements,
    service: &Service,
    spec: &ServiceSpec,
    port: &ServicePort,
    protocol: Protocol,
    backends: &Backends,
    affinity: Option<u32>,
) {
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    let used = if local { &backends.local } else { &backends.all };
    let ranges = source_ranges(spec);
    let service_port = port_number(port.port);
    let balancers = balancer_addresses(service);
    let external = addresses(spec.external_ips.iter().flatten());
    let addressed = balancers.iter().chain(&external).filter_map(|address| Some((Some(*address), service_port?)));
    let node_port = port.node_port.and_then(port_number).map(|port| (None, port));
    for (address, port) in addressed.chain(node_port) {
        let front = Front { address, protocol, port };
        add_front(elements, front, used, affinity);
        if local && used != &backends.all {
            add_inner_front(elements, front, &backends.all, affinity);
        }
        if used.is_empty() {
            let verdict = if backends.all.is_empty() { Value::Reject } else { Value::Drop };
            elements.insert(Key::Refused(front), verdict);
        }
        if address.is_some_and(|address| balancers.contains(&address)) && !ranges.is_empty() {
            elements.insert(Key::Guarded(front), Value::Member);
            elements.extend(ranges.iter().map(|range| (Key::Admitted(front, *range), Value::Member)));
        }
    }
}

fn add_front(elements: &mut Elements, front: Front, backends: &[SocketAddrV4], affinity: Option<u32>) {
    let count = index(backends.len());
    if count == 0 {
        return;
    }
    let pick = if affinity.is_some() { Value::Affine(count) } else { Value::Pick(count) };
    elements.insert(Key::Front(front), pick);
    if let Some(seconds) = affinity {
        elements.insert(Key::Sticky(front), Value::Remember(seconds));
    }
    for (number, backend) in (0..).zip(backends) {
        elements.insert(Key::Endpoint(front, number), Value::Endpoint(*backend));
    }
}

fn add_inner_front(elements: &mut Elements, front: Front, backends: &[SocketAddrV4], affinity: Option<u32>) {
    let count = index(backends.len());
    if count == 0 {
        return;
    }
    let pick = if affinity.is_some() { Value::AffineInner(count) } else { Value::PickInner(count) };
    elements.insert(Key::Inner(front), pick);
    for (number, backend) in (INNER_OFFSET..).zip(backends) {
        elements.insert(Key::Endpoint(front, number), Value::Endpoint(*backend));
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).expect("no more than ENDPOINTS_MAX endpoints are collected")
}

/// The endpoints of the port named `name`: ready ones, or if there is none, those that still serve while they
/// terminate. The choice is made apart for all and for the local ones, as `categorizeEndpoints` does.
fn backends(slices: &[Arc<EndpointSlice>], name: &str, node: &str) -> Backends {
    let mut ready = BTreeSet::new();
    let mut ready_local = BTreeSet::new();
    let mut leaving = BTreeSet::new();
    let mut leaving_local = BTreeSet::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let mut ports = slice.ports.iter().flatten();
        let port = ports.find(|port| port.name.as_deref().unwrap_or_default() == name);
        let Some(port) = port.and_then(|port| port_number(port.port?)) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            // All addresses of an endpoint are the same endpoint; the first is the one to use.
            let Some(Ok(address)) = endpoint.addresses.first().map(|address| address.parse::<Ipv4Addr>()) else {
                continue;
            };
            let local = endpoint.node_name.as_deref() == Some(node);
            let address = SocketAddrV4::new(address, port);
            if is_ready(endpoint) {
                ready.insert(address);
                ready_local.extend(local.then_some(address));
            } else if is_leaving(endpoint) {
                leaving.insert(address);
                leaving_local.extend(local.then_some(address));
            }
        }
    }
    let choose = |ready: BTreeSet<_>, leaving: BTreeSet<_>| -> Vec<_> {
        let chosen = if ready.is_empty() { leaving } else { ready };
        chosen.into_iter().take(ENDPOINTS_MAX - 1).collect()
    };
    Backends { all: choose(ready, leaving), local: choose(ready_local, leaving_local) }
}

fn is_leaving(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_some_and(|conditions| {
        conditions.serving.or(conditions.ready).unwrap_or(true) && conditions.terminating == Some(true)
    })
}

fn affinity_seconds(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let client = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = client.and_then(|client| client.timeout_seconds).and_then(|seconds| u32::try_from(seconds).ok());
    Some(seconds.filter(|seconds| *seconds > 0).unwrap_or(AFFINITY_SECONDS))
}

fn balancer_addresses(service: &Service) -> BTreeSet<Ipv4Addr> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
    // With mode Proxy the balancer itself wants to see every packet.
    let direct = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    direct.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
}

fn source_ranges(spec: &ServiceSpec) -> BTreeSet<Ipv4Net> {
    let ranges: BTreeSet<Ipv4Net> =
        spec.load_balancer_source_ranges.iter().flatten().filter_map(|range| range.trim().parse().ok()).collect();
    let everyone = ranges.iter().any(|range| range.prefix_len() == 0);
    if everyone { BTreeSet::new() } else { Ipv4Net::aggregate(&ranges.into_iter().collect()).into_iter().collect() }
}

fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> BTreeSet<Ipv4Addr> {
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn port_number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests;
