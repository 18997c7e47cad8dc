//! Where pods, containers, services and node servers are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use api::{Object, Status};
use rustls::pki_types::ServerName;
use serde_json::Value;

use super::address::{is_allowed, not_allowed};
use super::backend::{Backend, Tls};
use crate::Context;

/// Containers of any sort, in the order in which they are named to people.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// How many endpoints of a service are looked at for one that is a pod's.
const ENDPOINTS_MAX: usize = 1_000;

pub(super) fn array<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

/// A stored object.
pub(super) fn find(ctx: &Context, resource: &str, namespace: &str, name: &str) -> Result<Object, Status> {
    ctx.registry.get("", resource, namespace, name).ok_or_else(|| Status::not_found("", resource, name))
}

/// The container that is meant, which must be said if there is more than one.
pub(super) fn container(pod: &Object, asked: &str) -> Result<String, Status> {
    let name = pod.name();
    let all = || CONTAINER_LISTS.iter().flat_map(|list| array(pod, &["spec", list])).map(|c| text(c, "name"));
    if !asked.is_empty() {
        if all().any(|container| container == asked) {
            return Ok(asked.to_string());
        }
        return Err(Status::bad_request(format!("container {asked} is not valid for pod {name}")));
    }
    match array(pod, &["spec", "containers"]) {
        [one] => Ok(text(one, "name").to_string()),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {name}"))),
        _ => {
            let names = all().collect::<Vec<_>>().join(" ");
            let why = format!("a container name must be specified for pod {name}, choose one of: [{names}]");
            Err(Status::bad_request(why))
        }
    }
}

/// Which addresses of a node are asked for first.
const ADDRESS_TYPES: [&str; 5] = ["InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS", "Hostname"];
/// The port of a node's server that says none (`--kubelet-port`).
const KUBELET_PORT: u16 = 10250;

/// A node's server.
pub(super) struct NodeServer {
    /// Where it is.
    pub address: SocketAddr,
    /// The name of its host, which its certificate is for.
    pub host: String,
    node: String,
}

impl NodeServer {
    /// Finds the server of a node: of this process's own agent where that is known to listen, of others where their status says.
    ///
    /// # Errors
    /// 404 for no node, 400 if its address is one that nobody is led to.
    pub(super) async fn find(ctx: &Context, name: &str) -> Result<Self, Status> {
        let node = find(ctx, "nodes", "", name)?;
        if let Some(address) = ctx.registry.state().agent(name) {
            return Ok(Self { address, host: address.ip().to_string(), node: name.to_string() });
        }
        let port = node.at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0).unwrap_or(KUBELET_PORT);
        let addresses = array(&node, &["status", "addresses"]);
        let of = |kind: &&str| addresses.iter().find(|address| text(address, "type") == *kind);
        let Some(found) = ADDRESS_TYPES.iter().find_map(of) else {
            let known = Value::from(addresses.to_vec());
            return Err(Status::internal(format!("no preferred addresses found; known addresses: {known}")));
        };
        let host = text(found, "address").to_string();
        let address = super::address::resolve(&host, port).await?;
        Ok(Self { address, host, node: name.to_string() })
    }

    /// The way to a path of it.
    ///
    /// # Errors
    /// The host has a name that no certificate can be for.
    pub(super) fn backend(&self, kubelet: Arc<rustls::ClientConfig>, path: String) -> Result<Backend, Status> {
        let name = ServerName::try_from(self.host.clone()).map_err(|error| Status::bad_request(error.to_string()))?;
        let tls = Tls { config: kubelet, name, node: Some(self.node.clone()) };
        Ok(Backend { address: self.address, tls: Some(tls), path })
    }
}

/// `[scheme:]name[:port]`
pub(super) struct Asked<'a> {
    pub https: bool,
    pub name: &'a str,
    pub port: &'a str,
}

impl<'a> Asked<'a> {
    /// Takes an id apart (`SplitSchemeNamePort`).
    pub(super) fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let good = !name.is_empty() && matches!(scheme, "" | "http" | "https");
        good.then_some(Self { https: scheme == "https", name, port })
    }
}

/// The address of a pod at the port asked for, at the first that it declares, or at the scheme's own.
pub(super) fn pod(ctx: &Context, asked: &Asked<'_>) -> Result<SocketAddr, Status> {
    let pod = find(ctx, "pods", &ctx.info.namespace, asked.name)?;
    let declared = || {
        let ports = array(&pod, &["spec", "containers"]).iter().filter_map(|c| c.get("ports")?.as_array()).flatten();
        ports.into_iter().find_map(|port| port.get("containerPort").and_then(Value::as_u64))
    };
    let port = match asked.port {
        "" => declared().unwrap_or(if asked.https { 443 } else { 80 }),
        port => port.parse().map_err(|_| Status::bad_request(format!("invalid port {port:?}")))?,
    };
    let address = pod.str_at(&["status", "podIP"]).parse::<IpAddr>().ok().filter(|ip| is_allowed(*ip));
    match (address, u16::try_from(port)) {
        (Some(address), Ok(port)) => Ok(SocketAddr::new(address, port)),
        (None, _) => Err(not_allowed()),
        (_, Err(_)) => Err(Status::bad_request(format!("invalid port {port}"))),
    }
}

/// One of the endpoints of a service, drawn with `random`.
pub(super) fn service(ctx: &Context, id: &str, asked: &Asked<'_>, random: u32) -> Result<SocketAddr, Status> {
    let unavailable = |message: String| Status::failure(503, "ServiceUnavailable", message);
    let namespace = &ctx.info.namespace;
    let mut port_name = asked.port.to_string();
    if let Ok(number) = asked.port.parse::<i64>() {
        let service = find(ctx, "services", namespace, asked.name)?;
        let ports = array(&service, &["spec", "ports"]);
        let found = ports.iter().find(|port| port.get("port").and_then(Value::as_i64) == Some(number));
        let found =
            found.ok_or_else(|| unavailable(format!("no service port {number} found for service {:?}", asked.name)))?;
        port_name = text(found, "name").to_string();
    }
    let endpoints = find(ctx, "endpoints", namespace, asked.name)?;
    let mut all = Vec::new();
    for subset in array(&endpoints, &["subsets"]) {
        let list = |field: &str| subset.get(field).and_then(Value::as_array).into_iter().flatten();
        let Some(port) = list("ports").find(|port| text(port, "name") == port_name) else { continue };
        let Some(port) = port.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        all.extend(list("addresses").map(|address| (address, port)));
    }
    // The first that is a pod's, from one drawn on.
    let start = if all.is_empty() { 0 } else { random as usize % all.len() };
    all.rotate_left(start);
    let found =
        all.into_iter().take(ENDPOINTS_MAX).find_map(|(address, port)| Some((pod_address(ctx, address)?, port)));
    found
        .map(|(address, port)| SocketAddr::new(address, port))
        .ok_or_else(|| unavailable(format!("no endpoints available for service {id:?}")))
}

/// The address of an endpoint that is a pod's own (`isValidAddress` in pkg/registry/core/service): one that somebody wrote by hand
/// could be anything.
fn pod_address(ctx: &Context, endpoint: &Value) -> Option<IpAddr> {
    let target = endpoint.get("targetRef")?;
    if text(target, "namespace") != ctx.info.namespace {
        return None;
    }
    let pod = ctx.registry.get("", "pods", &ctx.info.namespace, text(target, "name"))?;
    let address = text(endpoint, "ip");
    let is_own = array(&pod, &["status", "podIPs"]).iter().any(|ip| text(ip, "ip") == address);
    address.parse().ok().filter(|ip| is_own && is_allowed(*ip))
}
