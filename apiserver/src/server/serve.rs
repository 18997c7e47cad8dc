//! HTTP/1.1 and HTTP/2 over TLS.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use metrics::Counter;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activity::Due;
use super::connections::{Connections, Seat};
use super::leaving::{self, Leaving};
use super::limits::KEEPALIVE_PERIOD;
use super::wire::Wire;
use super::{ApiServer, protocol, streams};
use crate::chain::receive::Lasting;
use crate::plug::PeerCertificate;

/// How long requests under way may go on after the server was told to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the listener rests when the system is out of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How TLS names HTTP/2.
const HTTP2_PROTOCOL: &[u8] = b"h2";

impl ApiServer {
    /// Serves until `stop` is cancelled, then lets requests under way end.
    pub fn serve(
        &self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        stop: CancellationToken,
    ) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let acceptor = TlsAcceptor::from(tls);
            let tasks = TaskTracker::new();
            let closing = CancellationToken::new();
            let connections = Connections::new(self.limits());
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => break,
                };
                match accepted {
                    Ok((stream, from)) => {
                        let Some(seat) = connections.admit(from.ip()) else {
                            tracing::warn!(%from, "every connection is busy; one more is closed");
                            continue;
                        };
                        let connection = Connection {
                            server: self.clone(),
                            acceptor: acceptor.clone(),
                            closing: closing.clone(),
                            seat,
                        };
                        tasks.spawn(connection.run(stream, from));
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
            tasks.close();
            let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, tasks.wait()).await;
        })
    }
}

struct Connection {
    server: ApiServer,
    acceptor: TlsAcceptor,
    closing: CancellationToken,
    seat: Arc<Seat>,
}

impl Connection {
    async fn run(self, stream: TcpStream, from: SocketAddr) {
        prepare(&stream);
        let timeout = self.server.limits().handshake_timeout;
        let handshake = tokio::time::timeout(timeout, self.acceptor.accept(stream));
        let failed = || self.server.registry().metrics().tls_handshake_errors.with([], Counter::add_one);
        let stream = tokio::select! {
            accepted = handshake => match accepted {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    failed();
                    return tracing::debug!(%from, %error, "TLS handshake failed");
                }
                Err(_) => {
                    failed();
                    return tracing::debug!(%from, "TLS handshake timed out");
                }
            },
            () = self.seat.evicted() => return tracing::debug!(%from, "a connection made room for another"),
            () = self.closing.cancelled() => return,
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2_PROTOCOL);
        self.seat.activity().begin_http(is_http2);
        let ended = if is_http2 { self.http2(stream).await } else { self.http1(stream).await };
        match ended {
            Ok(()) => {}
            Err(Ended::Silent(why)) => tracing::debug!(%from, why, "a connection was closed"),
            Err(Ended::Broken(error)) => tracing::debug!(%from, %error, "a connection broke off"),
        }
    }

    async fn http1(&self, stream: TlsStream<TcpStream>) -> Result<(), Ended> {
        let service = self.service(&stream);
        let service = service_fn(move |request| {
            let service = service.clone();
            async move {
                // What a client does not read must not pile up.
                service.seat.activity().writable().await;
                Ok::<_, Infallible>(service.answer(request).await)
            }
        });
        let io = TokioIo::new(Wire::http1(stream, self.seat.clone()));
        let connection = protocol::http1().serve_connection(io, service).with_upgrades();
        self.watch(connection, |connection| connection.graceful_shutdown()).await
    }

    async fn http2(&self, stream: TlsStream<TcpStream>) -> Result<(), Ended> {
        let service = self.service(&stream);
        let service = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.answer(request).await) }
        });
        let io = TokioIo::new(Wire::http2(stream, self.seat.clone()));
        let connection = protocol::http2(self.server.limits()).serve_connection(io, service);
        self.watch(connection, |connection| connection.graceful_shutdown()).await
    }

    fn service(&self, stream: &TlsStream<TcpStream>) -> Arc<Service> {
        let certificates = stream.get_ref().1.peer_certificates();
        let peer = certificates
            .map(|chain| PeerCertificate::new(chain.iter().cloned().map(CertificateDer::into_owned).collect()));
        Arc::new(Service { server: self.server.clone(), peer, seat: self.seat.clone() })
    }

    /// Runs a connection until it ends, has been silent for too long, has to make room, or the server stops.
    async fn watch<C>(&self, connection: C, shut_down: impl Fn(Pin<&mut C>)) -> Result<(), Ended>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = std::pin::pin!(connection);
        // In a set of its own it is asked only when something of it happened, and not with each byte of the connection.
        let mut interruptions = FuturesUnordered::from_iter([self.interrupted(false)]);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => return ended.map_err(Ended::Broken),
                Some(interruption) = interruptions.next() => match interruption {
                    Interruption::End(why) => return Err(Ended::Silent(why)),
                    Interruption::Closing => {
                        shut_down(connection.as_mut());
                        interruptions.push(self.interrupted(true));
                    }
                },
            }
        }
    }

    /// Resolves when the connection cannot go on as before.
    async fn interrupted(&self, is_closing: bool) -> Interruption {
        loop {
            let next = match self.seat.activity().due(self.server.limits()) {
                Due::At(time) => time,
                Due::Over(why) => return Interruption::End(why),
            };
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.seat.evicted() => return Interruption::End("it made room for another"),
                () = self.closing.cancelled(), if !is_closing => return Interruption::Closing,
            }
        }
    }
}

/// What happens to a connection from outside.
enum Interruption {
    /// It ends, and why.
    End(&'static str),
    /// The server stops: requests under way may end.
    Closing,
}

/// How a connection ended that did not end by itself.
enum Ended {
    Silent(&'static str),
    Broken(hyper::Error),
}

/// What answers the requests of one connection.
struct Service {
    server: ApiServer,
    peer: Option<PeerCertificate>,
    seat: Arc<Seat>,
}

impl Service {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Leaving> {
        let mut under_way = leaving::Request::begin(self.seat.clone());
        let (is_connect, is_http2) = (request.method() == Method::CONNECT, request.version() == Version::HTTP_2);
        let mut response = match protocol::received(request, self.peer.as_ref(), &self.seat) {
            Ok(request) => self.server.handle(request).await,
            Err(refused) => refused,
        };
        if is_connect {
            response = protocol::unconnected(response, is_http2);
        }
        if response.extensions_mut().remove::<Lasting>().is_some() {
            under_way.set_lasting();
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.seat.activity().leave_http();
        }
        let place = response.extensions_mut().remove();
        response.map(|body| Leaving::new(body, under_way, place, streams::progress()))
    }
}

/// What the sockets of clients are set to.
fn prepare(stream: &TcpStream) {
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_PERIOD).with_interval(KEEPALIVE_PERIOD);
    let set = stream.set_nodelay(true).and_then(|()| socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = set {
        tracing::debug!(%error, "a socket's options could not be set");
    }
}
