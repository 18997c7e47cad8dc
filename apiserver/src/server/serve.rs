//! HTTP/1.1 and HTTP/2 over TLS.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use metrics::Counter;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ApiServer;
use crate::plug::PeerCertificate;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may go on after the server was told to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long headers may take to come.
const HEADER_TIMEOUT: Duration = Duration::from_secs(32);
/// How many connections there may be at once; more are closed as they come.
const CONNECTIONS_MAX: usize = 16_384;
/// How long the listener rests when the system is out of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How much one HTTP/2 stream may have under way (`MaxUploadBufferPerStream` is smaller in the reference).
const H2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// How much one HTTP/2 connection may have under way.
const H2_CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// How long one HTTP/2 frame may be.
const H2_FRAME_BYTES_MAX: u32 = 256 << 10;
/// How many requests one HTTP/2 connection may have open; watches are open for long.
const H2_STREAMS_MAX: u32 = 1_000;
/// How much HTTP/2 buffers of one answer.
const H2_SEND_BUFFER_BYTES: usize = 1 << 20;

impl ApiServer {
    /// Serves until `stop` is cancelled, then lets requests under way end.
    pub async fn serve(&self, listener: TcpListener, tls: Arc<rustls::ServerConfig>, stop: CancellationToken) {
        let acceptor = TlsAcceptor::from(tls);
        let connections = TaskTracker::new();
        connections.spawn(crate::strategy::events::expire(self.registry().clone(), stop.clone()));
        let closing = CancellationToken::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let Ok(place) = places.clone().try_acquire_owned() else {
                        tracing::warn!("there are {CONNECTIONS_MAX} connections; one more is closed");
                        continue;
                    };
                    let connection =
                        Connection { server: self.clone(), acceptor: acceptor.clone(), closing: closing.clone() };
                    connections.spawn(async move {
                        connection.run(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
        drop(listener);
        self.registry().state().stop();
        closing.cancel();
        connections.close();
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, connections.wait()).await;
    }
}

struct Connection {
    server: ApiServer,
    acceptor: TlsAcceptor,
    closing: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.server.registry().metrics().tls_handshake_errors.with([], Counter::add_one);
                return tracing::debug!(%error, "TLS handshake failed");
            }
            Err(_) => {
                self.server.registry().metrics().tls_handshake_errors.with([], Counter::add_one);
                return tracing::debug!("TLS handshake timed out");
            }
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let peer = certificates
            .map(|chain| PeerCertificate::new(chain.iter().cloned().map(CertificateDer::into_owned).collect()));
        let server = self.server;
        let service = service_fn(move |request: Request<Incoming>| {
            let server = server.clone();
            let peer = peer.clone();
            async move { Ok::<Response<Body>, std::convert::Infallible>(server.handle(received(request, peer)).await) }
        });
        let builder = builder();
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke off");
        }
    }
}

/// A request from the wire: nothing of the extensions that in-process callers may set can be in it.
fn received(request: Request<Incoming>, peer: Option<PeerCertificate>) -> Request<Body> {
    let drains = request.version() < Version::HTTP_2;
    let mut request = request.map(|body| if drains { Body::new(Unread(Some(body))) } else { Body::new(body) });
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    request
}

/// How much of a body that nobody wants is read, so that an answer given before it was read does not cost the
/// connection (as in Go's server).
const UNREAD_BYTES_MAX: u64 = 256 << 10;
/// How long that may take.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of an HTTP/1.1 request, which is read to its end even when it is dropped before.
struct Unread(Option<Incoming>);

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = self.0.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let small = |body: &Incoming| body.size_hint().upper().is_some_and(|bytes| bytes <= UNREAD_BYTES_MAX);
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream() && small(body)) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let rest = async move { while let Some(Ok(_)) = body.frame().await {} };
            runtime.spawn(tokio::time::timeout(UNREAD_TIMEOUT, rest));
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES_MAX)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES);
    builder
}
