//! Other clusters on this machine: each draws its node ports from the same range without knowing of the others, and of two
//! that lead the same port somewhere only one is heard. Whoever takes a port that another has is told so.

use std::collections::{HashMap, HashSet};

use client::{EventType, Note, ObjectKey, SeriesRecorder};
use k8s_openapi::api::core::v1::{ObjectReference, Service};
use kube::Resource as _;
use serde_json::Value;

use super::element::{Front, Key};
use super::printed;
use super::service::Elements;
use crate::nft::{self, Error};
use crate::pod_network;

/// Where tables keep the node ports that lead somewhere, and those that lead nowhere yet.
const MAPS: [&str; 2] = ["node-fronts", "node-refused"];

/// The node ports among elements.
pub(super) fn node_ports(elements: &Elements) -> HashSet<Front> {
    let front = |key: &Key| match key {
        Key::Front(front) | Key::Refused(front) if front.address.is_none() => Some(*front),
        _ => None,
    };
    elements.keys().filter_map(front).collect()
}

/// The node ports of other clusters, each with the table that it is in.
///
/// # Errors
/// If `nft` cannot be asked.
pub(super) async fn served(own_table: &str) -> Result<HashMap<Front, String>, Error> {
    let mut found = HashMap::new();
    let tables = nft::list(&["list", "tables", "ip"]).await?;
    let names = tables.iter().filter_map(|item| item["table"]["name"].as_str());
    for table in names.filter(|name| name.starts_with(pod_network::TABLE_PREFIX) && *name != own_table) {
        for map in MAPS {
            // A table that goes meanwhile, or is of another release, serves nothing.
            let items = nft::list(&["list", "map", "ip", table, map]).await.unwrap_or_default();
            found.extend(fronts(&items).map(|front| (front, table.to_owned())));
        }
    }
    Ok(found)
}

/// The fronts of a map: `[{"concat": [protocol, port]}, verdict]` each.
fn fronts(items: &[Value]) -> impl Iterator<Item = Front> + '_ {
    let elements = items.iter().flat_map(|item| item["map"]["elem"].as_array().into_iter().flatten());
    elements.filter_map(|element| {
        let key = element.get(0)?;
        let [protocol, port] = key.get("concat")?.as_array()?.as_slice() else { return None };
        Some(Front { address: None, protocol: printed::protocol(protocol), port: printed::port(port)? })
    })
}

/// Tells the log and the events of a service that it shares node ports.
pub(super) fn tell(service: &Service, key: &ObjectKey, front: Front, table: &str, events: &SeriesRecorder) {
    let (protocol, port) = (front.protocol.nft(), front.port);
    tracing::warn!(service = %key, port, protocol, table, "another cluster on this machine serves this node port");
    let note = format!(
        "another cluster on this machine serves node port {port}/{protocol} (table {table}): only one of the two is \
         reached there; change spec.ports[].nodePort"
    );
    let regarding =
        ObjectReference { resource_version: service.metadata.resource_version.clone(), ..service.object_ref(&()) };
    events.note(Note {
        regarding,
        related: None,
        type_: EventType::Warning,
        reason: "NodePortInUse",
        action: "SyncServiceRules",
        note,
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::element::{Protocol, Value as Shown};
    use super::*;

    fn front(protocol: Protocol, port: u16) -> Front {
        Front { address: None, protocol, port }
    }

    #[test]
    fn node_ports_are_read_as_nft_prints_them() {
        let printed = json!([
            {"metainfo": {"version": "1.0.6"}},
            {"map": {"family": "ip", "name": "node-fronts", "table": "coracle-x", "elem": [
                [{"concat": ["tcp", 30080]}, {"goto": {"target": "pick-1"}}],
                [{"concat": [17, 30053]}, {"goto": {"target": "pick-2"}}],
                [{"concat": ["10.0.0.1", "tcp", 80]}, {"drop": null}],
                "odd",
            ]}},
            {"map": {"name": "node-refused"}},
        ]);
        let found: Vec<Front> = fronts(printed.as_array().unwrap()).collect();
        assert_eq!(found, [front(Protocol::Tcp, 30080), front(Protocol::Udp, 30053)]);
    }

    #[test]
    fn only_fronts_without_an_address_are_node_ports() {
        let address = Some([10, 43, 0, 9].into());
        let elements: Elements = [
            (Key::Front(front(Protocol::Tcp, 30080)), Shown::Pick(1)),
            (Key::Refused(front(Protocol::Udp, 30081)), Shown::Reject),
            (Key::Inner(front(Protocol::Tcp, 30082)), Shown::Pick(1)),
            (Key::Front(Front { address, ..front(Protocol::Tcp, 80) }), Shown::Pick(1)),
        ]
        .into();
        assert_eq!(node_ports(&elements), [front(Protocol::Tcp, 30080), front(Protocol::Udp, 30081)].into());
    }
}
