//! One request to somewhere else, on a connection of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long connecting and the TLS handshake may take together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// By which browsers hand over a token meant for this server alone.
const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackendError {
    #[error("dial tcp {0}: {1}")]
    Dial(SocketAddr, std::io::Error),
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(SocketAddr),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    /// The address.
    pub address: SocketAddr,
    /// TLS, if it is spoken.
    pub tls: Option<Arc<rustls::ClientConfig>>,
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
        let client = wants_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
        let dial = async {
            let tcp = TcpStream::connect(self.address).await?;
            tcp.set_nodelay(true)?;
            Ok::<Box<dyn Stream>, std::io::Error>(match &self.tls {
                None => Box::new(tcp),
                Some(tls) => {
                    let name = ServerName::from(self.address.ip());
                    Box::new(TlsConnector::from(tls.clone()).connect(name, tcp).await?)
                }
            })
        };
        let stream = match tokio::time::timeout(DIAL_TIMEOUT, dial).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(BackendError::Dial(self.address, error)),
            Err(_) => return Err(BackendError::Timeout(self.address)),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The connection ends with the answer's body, or with the upgraded stream.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a proxied connection broke off");
            }
        });
        let request = self.outgoing(request, client.is_some())?;
        let mut response = sender.send_request(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(client) = client
        {
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

    fn outgoing(&self, request: Request<Body>, upgrades: bool) -> Result<Request<Body>, http::Error> {
        let (parts, body) = request.into_parts();
        let mut outgoing = Request::builder().method(parts.method).uri(&self.path).body(body)?;
        let upgrade = parts.headers.get(UPGRADE).cloned();
        let mut headers = parts.headers;
        strip_hop_by_hop(&mut headers);
        // Credentials for this server are for nobody else.
        headers.remove(AUTHORIZATION);
        strip_token(&mut headers);
        headers.insert(HOST, HeaderValue::from_str(&self.address.to_string())?);
        if let Some(upgrade) = upgrade.filter(|_| upgrades) {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, upgrade);
        }
        *outgoing.headers_mut() = headers;
        Ok(outgoing)
    }
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

fn wants_upgrade(headers: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")))
    };
    headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().any(says)
}

/// Removes what is between two ends of one connection only.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let fixed = [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    for name in named.iter().chain(&fixed) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

fn strip_token(headers: &mut HeaderMap) {
    let Some(text) = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()) else { return };
    if !text.contains(WEBSOCKET_TOKEN) {
        return;
    }
    let kept: Vec<&str> =
        text.split(',').map(str::trim).filter(|protocol| !protocol.starts_with(WEBSOCKET_TOKEN)).collect();
    match HeaderValue::from_str(&kept.join(", ")) {
        Ok(value) if !kept.is_empty() => {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        _ => {
            headers.remove(SEC_WEBSOCKET_PROTOCOL);
        }
    }
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

#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

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

/// Whether an address may be the end of a proxied request: not this machine's own, nor a link's, nor a group's.
pub(super) fn is_allowed(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}
