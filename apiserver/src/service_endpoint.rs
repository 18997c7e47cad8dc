//! Where a service is: the one of its endpoints that the server connects to itself, for webhooks and for other API servers
//! (`ResolveEndpoint` and `ResolveCluster` in apiserver's `util/proxy`).
//!
//! It is an endpoint and not the service's address, which leads nowhere where no node has service rules.

use api::Object;
use serde_json::Value;

use crate::Registry;
use crate::options::ListOptions;
use crate::selection::Selection;

pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
const SLICES: [&str; 3] = ["discovery.k8s.io", "v1", "endpointslices"];

/// Why a service leads nowhere; the texts are the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    /// There is none of that name.
    #[error("service {0:?} not found")]
    NotFound(String),
    /// It is of a type that has no endpoints.
    #[error("unsupported service type {0:?}")]
    UnsupportedType(String),
    /// It has no such port.
    #[error("no service port {1} found for service {0:?}")]
    NoPort(String, u16),
    /// None of its endpoints is ready, or there is none.
    #[error("no endpoints available for service {0:?}")]
    NoEndpoints(String),
}

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// An address; the name of a host for a service that is an external name.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One of the ready endpoints of a service at one of its ports, drawn anew at each call; of its first family if it has
/// two.
///
/// # Errors
/// [`ResolveError`]
pub(crate) fn resolve(registry: &Registry, namespace: &str, name: &str, port: u16) -> Result<Endpoint, ResolveError> {
    let service = registry.get("", "services", namespace, name);
    let service = service.ok_or_else(|| ResolveError::NotFound(name.to_string()))?;
    match service.str_at(&["spec", "type"]) {
        "ClusterIP" | "NodePort" | "LoadBalancer" => {}
        "ExternalName" => {
            let host = service.str_at(&["spec", "externalName"]).to_string();
            return Ok(Endpoint { host, port });
        }
        other => return Err(ResolveError::UnsupportedType(other.to_string())),
    }
    let ports = items(service.at(&["spec", "ports"]));
    let found = ports.iter().find(|found| found["port"].as_u64() == Some(u64::from(port)));
    let found = found.ok_or_else(|| ResolveError::NoPort(name.to_string(), port))?;
    let port_name = found["name"].as_str().unwrap_or("");
    let mut slices = slices(registry, namespace, name);
    let start = draw(registry, slices.len());
    slices.rotate_left(start);
    let family = items(service.at(&["spec", "ipFamilies"])).first().and_then(Value::as_str).unwrap_or("");
    slices.sort_by_key(|slice| !family.is_empty() && slice.str_at(&["addressType"]) != family);
    let ready = slices.iter().find_map(|slice| ready(registry, slice, port_name));
    ready.ok_or_else(|| ResolveError::NoEndpoints(name.to_string()))
}

/// The slices of endpoints of a service.
pub(crate) fn slices(registry: &Registry, namespace: &str, service: &str) -> Vec<Object> {
    let catalogue = registry.catalogue();
    let [group, version, plural] = SLICES;
    let Some(row) = catalogue.get(group, version, plural) else { return Vec::new() };
    let options = ListOptions { label_selector: format!("{SERVICE_NAME_LABEL}={service}"), ..ListOptions::default() };
    let Ok(selection) = Selection::new(row, row, &options) else { return Vec::new() };
    let (snapshot, prefix) = (registry.snapshot(), row.prefix(namespace));
    let selected = snapshot.list(&prefix, None).filter(|entry| selection.matches(entry));
    selected.filter_map(crate::registry::read).collect()
}

/// A ready endpoint of a slice that has the port, beginning with any.
fn ready(registry: &Registry, slice: &Object, port_name: &str) -> Option<Endpoint> {
    let named = |port: &&Value| port["name"].as_str().unwrap_or("") == port_name;
    let port = items(slice.at(&["ports"])).iter().filter(named).find_map(|port| port["port"].as_u64())?;
    let endpoints = items(slice.at(&["endpoints"]));
    let start = draw(registry, endpoints.len());
    let (before, after) = endpoints.split_at(start);
    let is_ready = |endpoint: &&Value| endpoint["conditions"]["ready"].as_bool().unwrap_or(true);
    let found = after.iter().chain(before).find(is_ready)?;
    let host = found["addresses"][0].as_str()?.to_string();
    Some(Endpoint { host, port: u16::try_from(port).ok()? })
}

/// A place among so many.
fn draw(registry: &Registry, among: usize) -> usize {
    let mut random = [0; 4];
    registry.clock().random(&mut random);
    if among == 0 { 0 } else { u32::from_le_bytes(random) as usize % among }
}

fn items(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::{Memory, Operation, Transaction};

    use super::*;
    use crate::{ApiServer, Config};

    async fn put(registry: &Registry, group: &str, resource: &str, object: Value) {
        let object = Object::from_value(object).unwrap();
        let key = crate::registry::key(group, resource, "a", object.name());
        let operations = vec![Operation::Put(key.into(), object.encode())];
        registry.store().commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
    }

    async fn service(registry: &Registry, name: &str, spec: Value) {
        put(registry, "", "services", json!({"metadata": {"namespace": "a", "name": name}, "spec": spec})).await;
    }

    async fn slice(registry: &Registry, name: &str, of: &str, family: &str, endpoints: Value, port: Value) {
        let labels = json!({SERVICE_NAME_LABEL: of});
        let metadata = json!({"namespace": "a", "name": name, "labels": labels});
        let slice = json!({"metadata": metadata, "addressType": family, "endpoints": endpoints, "ports": [port]});
        put(registry, SLICES[0], SLICES[2], slice).await;
    }

    #[tokio::test]
    async fn a_service_leads_to_what_is_ready() {
        let server = ApiServer::new(Config::new(Memory::new()));
        let registry = server.registry();
        let find = |name: &str, port: u16| {
            resolve(registry, "a", name, port)
                .map(|found| format!("{} {}", found.host, found.port))
                .map_err(|error| error.to_string())
        };
        assert_eq!(find("none", 443).unwrap_err(), "service \"none\" not found");
        let spec = json!({"type": "ClusterIP", "ipFamilies": ["IPv4", "IPv6"], "ports": [
            {"port": 443, "name": "https"}, {"port": 80, "name": "http"}]});
        service(registry, "s", spec).await;
        assert_eq!(find("s", 8443).unwrap_err(), "no service port 8443 found for service \"s\"");
        assert_eq!(find("s", 443).unwrap_err(), "no endpoints available for service \"s\"");
        let endpoint = |address: &str, ready: Value| json!({"addresses": [address], "conditions": {"ready": ready}});
        let https = json!({"name": "https", "port": 9443});
        slice(registry, "v6", "s", "IPv6", json!([endpoint("fd00::1", true.into())]), https.clone()).await;
        assert_eq!(find("s", 443).unwrap(), "fd00::1 9443");
        let some = json!([endpoint("10.0.0.1", false.into()), endpoint("10.0.0.2", Value::Null)]);
        slice(registry, "v4", "s", "IPv4", some, https).await;
        // Whatever is drawn: the first family, and not what is not ready.
        for _ in 0..20 {
            assert_eq!(find("s", 443).unwrap(), "10.0.0.2 9443");
        }
        assert_eq!(find("s", 80).unwrap_err(), "no endpoints available for service \"s\"");
        service(registry, "out", json!({"type": "ExternalName", "externalName": "example.com"})).await;
        assert_eq!(find("out", 8443).unwrap(), "example.com 8443");
        service(registry, "odd", json!({"type": "Odd"})).await;
        assert_eq!(find("odd", 1).unwrap_err(), "unsupported service type \"Odd\"");
        // Headless ones and those whose ports have no names are as good.
        service(registry, "plain", json!({"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 443}]})).await;
        let port = json!({"name": "", "port": 1});
        slice(registry, "p", "plain", "IPv4", json!([endpoint("10.0.0.3", true.into())]), port).await;
        assert_eq!(find("plain", 443).unwrap(), "10.0.0.3 1");
    }
}
