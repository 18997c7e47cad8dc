//! Running `nft`: one transaction a call, all or nothing.

use std::net::SocketAddrV4;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Remembered;
use super::element::{Front, Protocol};

/// How much of the program's complaint an error quotes.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program cannot be run.
    #[error("nft cannot be run (is nftables installed?): {0}")]
    Run(#[from] std::io::Error),
    /// The kernel or the program refused the transaction.
    #[error("nft: {0}")]
    Refused(String),
}

/// Applies one transaction, written in the language of `nft -f`.
///
/// # Errors
/// [`Error::Refused`] with the program's complaint; then nothing of the transaction was applied.
pub async fn apply(transaction: &str) -> Result<(), Error> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    let write = async {
        // nft reads to the end before it complains; a broken pipe is told better by its message.
        let _ = stdin.write_all(transaction.as_bytes()).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let end = message.char_indices().map(|(at, _)| at).take_while(|at| *at < MESSAGE_BYTES_MAX).last().unwrap_or(0);
    Err(Error::Refused(message.get(..=end).unwrap_or(&message).trim().to_owned()))
}

/// The output of a command that lists, item by item.
///
/// # Errors
/// [`Error::Refused`] if there is no such thing, or what is printed is no JSON.
pub async fn list(command: &[&str]) -> Result<Vec<Value>, Error> {
    let output = Command::new("nft").args(["--json", "--numeric"]).args(command).kill_on_drop(true).output().await?;
    if !output.status.success() {
        return Err(Error::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let mut document: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| Error::Refused(format!("its JSON: {error}")))?;
    match document["nftables"].take() {
        Value::Array(items) => Ok(items),
        _ => Ok(Vec::new()),
    }
}

/// Reads the clients whose endpoint the table remembers.
///
/// # Errors
/// [`Error::Refused`] if the table cannot be listed.
pub async fn affinity(table: &str) -> Result<Vec<Remembered>, Error> {
    let items = list(&["list", "map", "ip", table, "affinity"]).await?;
    let elements = items.iter().flat_map(|item| item["map"]["elem"].as_array().into_iter().flatten());
    Ok(elements.filter_map(remembered).collect())
}

/// A protocol as nft prints it, by name or by number.
pub fn protocol(printed: &Value) -> Protocol {
    match (printed.as_str(), printed.as_u64()) {
        (Some("tcp" | "6"), _) | (_, Some(6)) => Protocol::Tcp,
        (Some("udp" | "17"), _) | (_, Some(17)) => Protocol::Udp,
        _ => Protocol::Sctp,
    }
}

/// A port as nft prints it.
pub fn port(printed: &Value) -> Option<u16> {
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
