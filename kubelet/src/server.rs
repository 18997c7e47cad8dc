//! The node server: logs, exec, attach, port-forward, pods and figures of this node, over HTTPS.
//!
//! The API server is its usual client. Whoever shows a certificate of the cluster's CA, or a token that the API server
//! recognises, is known; members of `system:masters` may do all, others what a SubjectAccessReview allows.

mod cadvisor;
mod figures;
mod identity;
pub mod logs;
mod pages;
mod query;
mod routes;
mod stats;
mod system_logs;
mod zpages;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use client::Clock;
use futures::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{Cri, Directory, NodeMetrics};
use figures::Figures;
use identity::Peer;

/// The port of a stock node.
pub const PORT: u16 = 10250;
/// How long a client may take for the TLS handshake and for a request's headers.
const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Why the node server does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener cannot be used.
    #[error("the node server's listener: {0}")]
    Listener(std::io::Error),
    /// A certificate or key is not valid PEM.
    #[error("the node server's {what}: {source}")]
    Pem {
        /// Which.
        what: &'static str,
        /// The fault.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificates do not fit.
    #[error("the node server's TLS: {0}")]
    Tls(String),
}

/// Configuration of the node server.
pub struct Config {
    /// Where it listens.
    pub listener: TcpListener,
    /// The node's name, which access reviews are about.
    pub node_name: String,
    /// The serving certificate, asked for at each handshake.
    pub certificate: Arc<dyn ResolvesServerCert>,
    /// The CA of client certificates, as PEM.
    pub client_ca_pem: String,
    /// The node as the server tells of it.
    pub about: About,
}

/// The node as its server tells of it, beside its pods.
#[derive(Clone, Default)]
pub struct About {
    /// Where the agent and its server count.
    pub metrics: NodeMetrics,
    /// The agent's directory.
    pub root_dir: PathBuf,
    /// Parent of the cgroups of pods.
    pub cgroup_root: String,
    /// The compiler that made the program.
    pub program: String,
    /// Its version, as major and minor.
    pub version: String,
    /// The flags that it was started with.
    pub flags: BTreeMap<String, String>,
    /// The content of `/configz`.
    pub config: Value,
}

impl About {
    /// The node whose agent has this configuration.
    pub fn of(config: &crate::Config) -> Self {
        Self {
            metrics: config.metrics.clone(),
            root_dir: config.root_dir.clone(),
            cgroup_root: config.cgroup_root.clone(),
            config: zpages::configz(config),
            ..Self::default()
        }
    }
}

/// The parts that handlers work with.
pub(crate) struct Node {
    name: String,
    directory: Directory,
    cri: Cri,
    client: kube::Client,
    clock: Clock,
    about: About,
    figures: Arc<Figures>,
}

/// The running node server. It ends when its token is cancelled.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
}

impl Server {
    /// Serves what `directory` and `cri` know; `client` answers who may ask.
    ///
    /// # Errors
    /// If the listener or the certificates cannot be used.
    pub fn start(
        config: Config,
        directory: Directory,
        cri: Cri,
        client: kube::Client,
        clock: Clock,
        token: CancellationToken,
    ) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move {
            let acceptor = acceptor(&config)?;
            let listener = config.listener;
            let address = listener.local_addr().map_err(Error::Listener)?;
            let about = config.about;
            let figures = about.metrics.agent.families();
            let cri = cri.watched(about.metrics.agent.families(), clock.clone());
            let node = Arc::new(Node { name: config.node_name, directory, cri, client, clock, about, figures });
            let router = routes::router(node);
            tokio::spawn(async move {
                tokio::select! {
                    () = accept(listener, acceptor, router, token.clone()) => {}
                    () = token.cancelled() => {}
                }
            });
            Ok(Self { address })
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Client certificates are asked for and checked, but a client may have none and bring a token.
fn acceptor(config: &Config) -> Result<TlsAcceptor, Error> {
    let pem = |what| move |source| Error::Pem { what, source };
    let tls = |error: &dyn std::fmt::Display| Error::Tls(error.to_string());
    let certificates = |what, text: &str| -> Result<Vec<CertificateDer<'static>>, Error> {
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(pem(what))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client CA", &config.client_ca_pem)? {
        roots.add(certificate).map_err(|error| tls(&error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| tls(&error))?;
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(&error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(config.certificate.clone());
    // Connections are upgraded here, which HTTP/2 does in another way that no client uses.
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, router: Router, token: CancellationToken) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, acceptor.clone(), router.clone());
                let token = token.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        () = token.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the node server cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    let limit = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(limit, acceptor.accept(stream)).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = Peer(certificate.and_then(identity::of_certificate));
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (router, peer) = (router.clone(), peer.clone());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.oneshot(request)
    });
    let serve = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = serve.await {
        tracing::debug!(%error, "a connection to the node server failed");
    }
}

#[cfg(test)]
mod tests;
