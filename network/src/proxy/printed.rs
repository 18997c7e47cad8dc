//! Elements of the table as `nft` prints them.

use std::net::SocketAddrV4;

use serde_json::Value;

use super::Remembered;
use super::element::{Front, Protocol};
use crate::nft::{Error, list};

/// Reads the clients whose endpoint the table remembers.
///
/// # Errors
/// [`Error::Refused`] if the table cannot be listed.
pub(super) async fn affinity(table: &str) -> Result<Vec<Remembered>, Error> {
    let items = list(&["list", "map", "ip", table, "affinity"]).await?;
    let elements = items.iter().flat_map(|item| item["map"]["elem"].as_array().into_iter().flatten());
    Ok(elements.filter_map(remembered).collect())
}

/// A protocol as nft prints it, by name or by number.
pub(super) fn protocol(printed: &Value) -> Protocol {
    match (printed.as_str(), printed.as_u64()) {
        (Some("tcp" | "6"), _) | (_, Some(6)) => Protocol::Tcp,
        (Some("udp" | "17"), _) | (_, Some(17)) => Protocol::Udp,
        _ => Protocol::Sctp,
    }
}

/// A port as nft prints it.
pub(super) fn port(printed: &Value) -> Option<u16> {
    printed.as_u64().and_then(|port| u16::try_from(port).ok())
}

/// One element: `[{"elem": {"val": {"concat": [client, address, protocol, port]}, …}}, {"concat": [address, port]}]`.
fn remembered(element: &Value) -> Option<Remembered> {
    let key = element.get(0)?;
    let key = key.get("elem").map_or(key, |elem| &elem["val"])["concat"].as_array()?;
    let value = element.get(1)?;
    let value = value.get("elem").map_or(value, |elem| &elem["val"])["concat"].as_array()?;
    let [client, address, of, number] = key.as_slice() else { return None };
    Some(Remembered {
        client: client.as_str()?.parse().ok()?,
        front: Front { address: Some(address.as_str()?.parse().ok()?), protocol: protocol(of), port: port(number)? },
        endpoint: SocketAddrV4::new(value.first()?.as_str()?.parse().ok()?, port(value.get(1)?)?),
    })
}
