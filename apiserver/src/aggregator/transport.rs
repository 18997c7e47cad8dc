//! Connections to the service of an aggregated API: kept, over HTTP/2 where the other end knows it, and showing the front proxy's
//! certificate (`BuildTransportConfig` in kube-aggregator).

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower::Service;

use crate::Registry;
use crate::group_versions::Remote;
use crate::outgoing::{self, Trust};

/// How many services have connections that are kept.
const TRANSPORTS_MAX: usize = 200;
/// How many connections to one address are kept while they are not used, and for how long (`tlsTransportCache` in client-go).
const IDLE_MAX: usize = 25;
const IDLE_TIME: Duration = Duration::from_secs(90);
/// How often an HTTP/2 connection on which nothing happens is asked whether it lives, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the head of an answer may be.
const HEAD_BYTES_MAX: u32 = 1 << 20;

/// The transports of the services that were asked last.
#[derive(Default)]
pub(crate) struct Transports(Mutex<Vec<Arc<Transport>>>);

impl Transports {
    /// The transport to what serves this.
    ///
    /// # Errors
    /// What is wrong with the authorities that it is to be of.
    pub(crate) fn of(&self, registry: &Registry, remote: &Remote) -> Result<Arc<Transport>, String> {
        let mut known = self.0.lock();
        if let Some(found) = known.iter().position(|transport| transport.is_of(remote)) {
            // The last that was used is the first, so that the least used goes.
            known[..=found].rotate_right(1);
            return Ok(known[0].clone());
        }
        let made = Arc::new(Transport::new(registry, remote)?);
        known.insert(0, made.clone());
        known.truncate(TRANSPORTS_MAX);
        Ok(made)
    }

    /// Lets go of the connections of one that failed; requests that are under way keep theirs.
    pub(crate) fn forget(&self, transport: &Arc<Transport>) {
        self.0.lock().retain(|known| !Arc::ptr_eq(known, transport));
    }
}

/// The connections to one service under one set of authorities.
pub(crate) struct Transport {
    host: String,
    ca_bundle: Vec<u8>,
    insecure: bool,
    client: Client<Connector, Body>,
    /// For a connection that is to change its protocol, which only one over HTTP/1.1 can.
    upgrading: Connector,
}

impl Transport {
    fn new(registry: &Registry, remote: &Remote) -> Result<Self, String> {
        let trust = match remote.insecure {
            true => Trust::Anybody,
            false => Trust::Authorities(&remote.ca_bundle),
        };
        let shown = registry.plugins().front_proxy.as_ref().map(|front_proxy| front_proxy.shown());
        let host = remote.service.host();
        let name = ServerName::try_from(host.clone()).map_err(|error| format!("tls: {error}"))?;
        let config = |protocols: &[&str]| {
            let mut config = outgoing::tls_config(trust, shown.clone())?;
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            Ok::<_, String>(Connector { tls: Arc::new(config), name: name.clone() })
        };
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_MAX)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_max_header_list_size(HEAD_BYTES_MAX)
            .set_host(true);
        let client = builder.build(config(&["h2", "http/1.1"])?);
        let upgrading = config(&["http/1.1"])?;
        Ok(Self { host, ca_bundle: remote.ca_bundle.clone(), insecure: remote.insecure, client, upgrading })
    }

    fn is_of(&self, remote: &Remote) -> bool {
        self.insecure == remote.insecure && self.ca_bundle == remote.ca_bundle && self.host == remote.service.host()
    }

    /// Sends a request, whose address has a scheme and an authority; one on a kept connection that was just closed is sent again on
    /// another.
    ///
    /// # Errors
    /// Why there is no answer, in Go's words.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, String> {
        self.client.request(request).await.map_err(|error| told(&error))
    }

    /// A connection of its own, which speaks HTTP/1.1.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn dial(&self, uri: &Uri) -> Result<TlsStream<TcpStream>, String> {
        self.upgrading.dial(uri).await
    }
}

/// Why a request has no answer: what failed beneath says it.
fn told(error: &legacy::Error) -> String {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(dial) = inner.downcast_ref::<DialError>() {
            return dial.0.clone();
        }
        if let Some(http) = inner.downcast_ref::<hyper::Error>() {
            return outgoing::http_told(http);
        }
        source = inner.source();
    }
    error.to_string()
}

/// Connects to the host of an address and agrees on TLS with it, under the name of a service.
#[derive(Clone)]
struct Connector {
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct DialError(String);

impl Connector {
    async fn dial(&self, uri: &Uri) -> Result<TlsStream<TcpStream>, String> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().ok_or("the address has no port")?;
        outgoing::connect_tls(host, port, self.name.clone(), self.tls.clone()).await
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Stream, DialError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        async move { connector.dial(&uri).await.map(|stream| Stream(TokioIo::new(stream))).map_err(DialError) }.boxed()
    }
}

/// A connection that tells what it speaks.
struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let (_, session) = self.0.inner().get_ref();
        let connected = Connected::new();
        if session.alpn_protocol() == Some(b"h2") { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
