//! Where pods, containers, services and node servers are.

use std::net::{IpAddr, SocketAddr};

use api::{Object, Status};
use serde_json::Value;

use crate::Context;

/// Containers of any sort, in the order in which they are named to people.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

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

/// The address of a node's server.
pub(super) fn node_server(ctx: &Context, node: &str) -> Result<SocketAddr, Status> {
    let node = find(ctx, "nodes", "", node)?;
    let port = node.at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let address = array(&node, &["status", "addresses"])
        .iter()
        .filter(|address| text(address, "type") == "InternalIP")
        .find_map(|address| text(address, "address").parse::<IpAddr>().ok());
    match (address, port) {
        (Some(address), Some(port)) => Ok(SocketAddr::new(address, port)),
        (None, _) => Err(Status::internal(format!(
            "no preferred addresses found; known addresses: {}",
            Value::from(array(&node, &["status", "addresses"]).to_vec())
        ))),
        (_, None) => Err(Status::internal(format!("node {:?} says no port of its server", node.name()))),
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
    let address = pod.str_at(&["status", "podIP"]).parse::<IpAddr>().ok().filter(|ip| super::backend::is_allowed(*ip));
    match (address, u16::try_from(port)) {
        (Some(address), Ok(port)) => Ok(SocketAddr::new(address, port)),
        (None, _) => Err(Status::bad_request("address not allowed")),
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
        // Only pods are reached this way: an endpoint that somebody wrote by hand could be anything.
        let pods = list("addresses")
            .filter(|address| address.get("targetRef").is_some_and(|target| text(target, "kind") == "Pod"));
        let addresses = pods.filter_map(|address| text(address, "ip").parse::<IpAddr>().ok());
        all.extend(addresses.filter(|ip| super::backend::is_allowed(*ip)).map(|ip| SocketAddr::new(ip, port)));
    }
    if all.is_empty() {
        return Err(unavailable(format!("no endpoints available for service {id:?}")));
    }
    Ok(all[random as usize % all.len()])
}
