//! One connection, and why there is none, in Go's words.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::Service;

use super::proxy::Proxy;

/// How long connecting may take, and then agreeing on TLS (those of Go's default transport).
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many look-ups of names are under way for one connector: each holds a thread, and none can be ended.
const LOOKUPS_MAX: usize = 2;

/// A connection, with TLS or without.
pub(crate) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
/// Where a connection goes now that is to reach a service: a host and a port.
type Find = Arc<dyn Fn() -> Result<(String, u16), String> + Send + Sync>;

/// Why there is no answer, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{told}")]
pub struct Fault {
    /// In words.
    pub told: String,
    /// Whether the other end broke off.
    pub is_reset: bool,
}

/// Connects to the host of an address, with TLS if it begins with `https`.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: Arc<ClientConfig>,
    /// What the other end's certificate must be for, if that is not the host.
    name: Option<ServerName<'static>>,
    find: Option<Find>,
    proxy: Option<Proxy>,
    lookups: Arc<Semaphore>,
}

impl Connector {
    /// One that speaks TLS so; the other end's certificate must be for `name`, or else for the host that is connected to.
    pub(crate) fn new(tls: ClientConfig, name: Option<ServerName<'static>>) -> Self {
        Self { tls: Arc::new(tls), name, find: None, proxy: None, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// The same, to wherever `find` says when there is to be a connection, and not to the host of the address.
    pub(crate) fn to(self, find: impl Fn() -> Result<(String, u16), String> + Send + Sync + 'static) -> Self {
        Self { find: Some(Arc::new(find)), ..self }
    }

    /// The same by way of a proxy, through a tunnel.
    pub(super) fn through(self, proxy: Proxy) -> Self {
        Self { proxy: Some(proxy), ..self }
    }

    /// Connects.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(crate) async fn dial(&self, uri: &Uri) -> Result<Stream, Fault> {
        let plain = |told: String| Fault { told, is_reset: false };
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let name = match &self.name {
            Some(name) => Ok(name.clone()),
            None => ServerName::try_from(host.to_string()).map_err(|error| plain(format!("tls: {error}"))),
        };
        let (host, port) = match &self.find {
            Some(find) => find().map_err(plain)?,
            None => (host.to_string(), port),
        };
        let stream = TokioIo::new(self.reach(&host, port).await?);
        if !is_tls {
            return Ok(stream.into());
        }
        let agreeing = TlsConnector::from(self.tls.clone()).connect(name?, TokioIo::new(stream));
        let agreed = timeout(HANDSHAKE_TIMEOUT, agreeing).await;
        let agreed = agreed.map_err(|_| plain("net/http: TLS handshake timeout".into()))?;
        agreed.map(Into::into).map_err(|error| Fault { told: tls_told(&error), is_reset: is_reset(&error) })
    }
}

impl Connector {
    /// A connection to a host, or through the proxy to it.
    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, Fault> {
        let plain = |told: String| Fault { told, is_reset: false };
        let Some(proxy) = &self.proxy else { return self.connect(host, port).await };
        let stream = self.connect(&proxy.host, proxy.port).await;
        let mut stream =
            stream.map_err(|fault| Fault { told: format!("proxyconnect tcp: {}", fault.told), ..fault })?;
        let to = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let opened = timeout(DIAL_TIMEOUT, proxy.tunnel(&mut stream, &to)).await;
        opened.unwrap_or_else(|_| Err("proxyconnect tcp: i/o timeout".into())).map_err(plain)?;
        Ok(stream)
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Fault> {
        let late = |_| Err(Fault { told: format!("dial tcp {host}:{port}: i/o timeout"), is_reset: false });
        timeout(DIAL_TIMEOUT, connect(host, port, &self.lookups)).await.unwrap_or_else(late)
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Fault;
    type Future = BoxFuture<'static, Result<Stream, Fault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        async move { connector.dial(&uri).await }.boxed()
    }
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

async fn connect(host: &str, port: u16, lookups: &Arc<Semaphore>) -> Result<TcpStream, Fault> {
    let mut last = Fault { told: format!("dial tcp: lookup {host}: no such host"), is_reset: false };
    for address in addresses(host, port, lookups).await.unwrap_or_default() {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => {
                let told = format!("dial tcp {address}: connect: {}", system_error(&error));
                last = Fault { told, is_reset: is_reset(&error) };
            }
        }
    }
    Err(last)
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
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

impl From<&hyper::Error> for Fault {
    fn from(error: &hyper::Error) -> Self {
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let told = match source {
            Some(source) if source.kind() == io::ErrorKind::UnexpectedEof => "EOF".into(),
            Some(source) => system_error(source),
            None if error.is_incomplete_message() || error.is_canceled() => "EOF".into(),
            None if error.is_parse() => {
                format!("net/http: HTTP/1.x transport connection broken: malformed HTTP response: {error}")
            }
            None => error.to_string(),
        };
        Self { told, is_reset: error.is_incomplete_message() || source.is_some_and(is_reset) }
    }
}

impl From<legacy::Error> for Fault {
    /// What failed beneath says it.
    fn from(error: legacy::Error) -> Self {
        let mut source = error.source();
        while let Some(inner) = source {
            if let Some(fault) = inner.downcast_ref::<Self>() {
                return fault.clone();
            }
            if let Some(http) = inner.downcast_ref::<hyper::Error>() {
                return http.into();
            }
            source = inner.source();
        }
        Self { told: error.to_string(), is_reset: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_looked_up_a_few_at_a_time() {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        let taken = lookups.clone().acquire_many_owned(LOOKUPS_MAX as u32).await.unwrap();
        let short = Duration::from_millis(20);
        assert!(timeout(short, addresses("localhost", 1, &lookups)).await.is_err(), "it waits for its turn");
        assert!(addresses("127.0.0.1", 1, &lookups).await.is_some(), "an address is no name");
        drop(taken);
        assert!(addresses("localhost", 1, &lookups).await.is_some());
    }
}
