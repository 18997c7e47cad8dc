//! One request to somewhere else, on a connection of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{
    CONNECTION, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificates::API_SERVER;
use crate::request::upgrade;
use crate::server::connections::Seat;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What stands before a node's name in its certificate.
const NODE_USER: &str = "system:node:";
/// How long connecting and the TLS handshake may take together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackendError {
    #[error("dial tcp {0}: {1}")]
    Dial(SocketAddr, std::io::Error),
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(SocketAddr),
    #[error("the other end changed the protocol without being asked to")]
    Unasked,
    #[error("{0} shows the certificate of {1:?} and not of node {2:?}")]
    Other(SocketAddr, String, String),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
}

impl BackendError {
    /// Whether the other end is not who it should be, or says so in a way that cannot be understood.
    pub(super) fn is_about_tls(&self) -> bool {
        match self {
            Self::Other(..) => true,
            Self::Dial(_, error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
            _ => false,
        }
    }
}

/// How the other end is spoken to with TLS.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    /// Whom is trusted, and what is shown.
    pub config: Arc<rustls::ClientConfig>,
    /// The name that the other end's certificate must be for.
    pub name: ServerName<'static>,
    /// The node that the other end must be, if it is a node's server.
    pub node: Option<String>,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    /// The address.
    pub address: SocketAddr,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Path and query.
    pub path: String,
}

impl Backend {
    /// The URL, for messages.
    pub(super) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, self.path)
    }

    /// Sends the request there, and joins the two connections if the other end changes the protocol.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, BackendError> {
        let client = upgrade::is_wanted(request.headers()).then(|| hyper::upgrade::on(&mut request));
        let stream = match tokio::time::timeout(DIAL_TIMEOUT, self.dial()).await {
            Ok(dialled) => dialled?,
            Err(_) => return Err(BackendError::Timeout(self.address)),
        };
        let request = self.outgoing(request, client.is_some())?;
        exchange(stream, request, client).await
    }

    async fn dial(&self) -> Result<Box<dyn Stream>, BackendError> {
        let failed = |error| BackendError::Dial(self.address, error);
        let tcp = TcpStream::connect(self.address).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let stream = TlsConnector::from(tls.config.clone()).connect(tls.name.clone(), tcp).await.map_err(failed)?;
        if let Some(node) = &tls.node
            && let Some(other) = other_than(node, stream.get_ref().1.peer_certificates())
        {
            return Err(BackendError::Other(self.address, other, node.clone()));
        }
        Ok(Box::new(stream))
    }

    fn outgoing(&self, request: Request<Body>, upgrades: bool) -> Result<Request<Body>, http::Error> {
        let (parts, body) = request.into_parts();
        let mut outgoing = Request::builder().method(parts.method).uri(&self.path).body(body)?;
        let mut headers = parts.headers;
        let given = headers.clone();
        let upgrade = take_upgrade(&mut headers);
        if let Some(seat) = parts.extensions.get::<Arc<Seat>>() {
            forwarded_for(&mut headers, &given, seat.client())?;
        }
        // The name that the client asked for goes on, as with a `ReverseProxy` in Go.
        if !headers.contains_key(HOST) {
            let host = parts.uri.authority().map_or_else(|| self.address.to_string(), |host| host.to_string());
            headers.insert(HOST, HeaderValue::from_str(&host)?);
        }
        if let Some(upgrade) = upgrade.filter(|_| upgrades) {
            set_upgrade(&mut headers, upgrade);
        }
        *outgoing.headers_mut() = headers;
        Ok(outgoing)
    }
}

/// Sends a request on a connection over HTTP/1.1, and joins it with the client's if the other end changes the protocol.
///
/// # Errors
/// Why there is no answer.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
    client: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Response<Body>, BackendError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection ends with the answer's body, or with the upgraded stream.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection broke off");
        }
    });
    let mut response = sender.send_request(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client else { return Err(BackendError::Unasked) };
        let server = hyper::upgrade::on(&mut response);
        tokio::spawn(join(client, server));
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        return Ok(answer);
    }
    let (mut parts, body) = response.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// Takes out what is between two ends of one connection only; the protocol that is wanted, if another is.
pub(crate) fn take_upgrade(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get(UPGRADE).cloned();
    strip_hop_by_hop(headers);
    upgrade
}

/// Says for whom the request goes on, after all that it came through before.
///
/// # Errors
/// None that can happen: what is put together was a header or is an address.
pub(crate) fn forwarded_for(headers: &mut HeaderMap, given: &HeaderMap, client: IpAddr) -> Result<(), http::Error> {
    let before = given.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned);
    let all: Vec<String> = before.chain([client.to_string()]).collect();
    headers.insert(FORWARDED_FOR, HeaderValue::from_str(&all.join(", "))?);
    Ok(())
}

/// Asks for another protocol.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Passes bytes both ways until either end closes.
async fn join(client: hyper::upgrade::OnUpgrade, server: hyper::upgrade::OnUpgrade) {
    match tokio::try_join!(client, server) {
        Ok((client, server)) => {
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
                tracing::debug!(%error, "an upgraded connection broke off");
            }
        }
        Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
    }
}

/// Whose certificate the other end shows, if it says that it is another node or the API server. The API server's own is refused
/// so that no node can lead it to itself.
fn other_than(node: &str, chain: Option<&[CertificateDer<'_>]>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(chain?.first()?).ok()?;
    let name = certificate.subject().iter_common_name().last()?.as_str().ok()?;
    let is_other = name.strip_prefix(NODE_USER).is_some_and(|named| named != node) || name == API_SERVER;
    is_other.then(|| name.to_string())
}

/// Removes what is between two ends of one connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let fixed = [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    for name in named.iter().chain(&fixed) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

/// TLS to a pod or a service, whose certificate nobody here can judge (the reference does not verify it either).
pub(super) fn unverified() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Unverified(provider.clone()));
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes every server for who it says it is.
#[derive(Debug)]
pub(crate) struct Unverified(pub Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
