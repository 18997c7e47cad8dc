//! One connection, and why there is none, in Go's words.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long connecting may take, and then agreeing on TLS (those of Go's default transport).
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a host, which must show a certificate for a name.
///
/// # Errors
/// Why there is no connection.
pub(crate) async fn connect_tls(
    host: &str,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, String> {
    let stream = connect(host, port).await?;
    let agreed = timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(tls).connect(name, stream)).await;
    let agreed = agreed.map_err(|_| "net/http: TLS handshake timeout".to_string())?;
    agreed.map_err(|error| tls_told(&error))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let work = async {
        let found = lookup_host((host, port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| format!("dial tcp: lookup {host}: no such host"))?.collect();
        let mut last = format!("dial tcp: lookup {host}: no such host");
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
pub(crate) fn http_told(error: &hyper::Error) -> String {
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
