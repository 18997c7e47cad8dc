//! One connection to a webhook, and why there is none, in Go's words.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Place, Sender};
use crate::{Registry, service_endpoint};

/// How long connecting may take, and then agreeing on TLS (those of Go's default transport).
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to one of the endpoints of a service, or to the host of a URL.
pub(super) async fn open(
    registry: &Registry,
    place: &Place,
    tls: Arc<ClientConfig>,
    lookups: &Arc<Semaphore>,
) -> Result<Sender, String> {
    let (host, port) = match place {
        Place::Url { host, port, .. } => (host.clone(), *port),
        Place::Service { namespace, name, port, .. } => {
            let found = service_endpoint::resolve(registry, namespace, name, *port).map_err(|e| e.to_string())?;
            (found.host, found.port)
        }
    };
    let name = place.server_name();
    let name = ServerName::try_from(name).map_err(|error| format!("tls: {error}"))?;
    let stream = connect(&host, port, lookups).await?;
    let agreed = timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(tls).connect(name, stream)).await;
    let agreed = agreed.map_err(|_| "net/http: TLS handshake timeout".to_string())?;
    let stream = agreed.map_err(|error| tls_told(&error))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
    // It ends when the other end closes it, or when nobody can send on it any more.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a webhook broke off");
        }
    });
    Ok(sender)
}

/// The addresses that a host's name stands for. Whoever waits no longer leaves the look-up behind, which still counts.
async fn addresses(host: &str, port: u16, lookups: &Arc<Semaphore>) -> Option<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(vec![SocketAddr::new(address, port)]);
    }
    let counted = lookups.clone().acquire_owned().await.ok()?;
    let host = host.to_string();
    let looking = tokio::spawn(async move {
        let _counted = counted;
        lookup_host((host, port)).await.map(Iterator::collect)
    });
    looking.await.ok()?.ok()
}

async fn connect(host: &str, port: u16, lookups: &Arc<Semaphore>) -> Result<TcpStream, String> {
    let work = async {
        let mut last = format!("dial tcp: lookup {host}: no such host");
        let found = addresses(host, port, lookups).await.ok_or_else(|| last.clone())?;
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = format!("dial tcp {address}: connect: {}", system_error(&error)),
            }
        }
        Err(last)
    };
    timeout(DIAL_TIMEOUT, work).await.unwrap_or_else(|_| Err(format!("dial tcp {host}:{port}: i/o timeout")))
}

/// An error of the system as Go calls it.
fn system_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        io::ErrorKind::TimedOut => "connection timed out".into(),
        io::ErrorKind::HostUnreachable => "no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        _ => error.to_string(),
    }
}

fn tls_told(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        // The verifier speaks Go.
        Some(rustls::Error::General(text)) => text.clone(),
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {alert:?}"),
        Some(rustls::Error::InvalidMessage(_)) => "http: server gave HTTP response to HTTPS client".into(),
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".into(),
        None => format!("read: {}", system_error(error)),
    }
}

/// An error of HTTP as Go calls it.
pub(super) fn told(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    match source {
        Some(source) if source.kind() == io::ErrorKind::UnexpectedEof => "EOF".into(),
        Some(source) => system_error(source),
        None if error.is_incomplete_message() || error.is_canceled() => "EOF".into(),
        None if error.is_parse() => {
            format!("net/http: HTTP/1.x transport connection broken: malformed HTTP response: {error}")
        }
        None => error.to_string(),
    }
}
