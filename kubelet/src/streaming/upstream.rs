//! The runtime's streaming server, as a client with SPDY sees it.

use axum::body::Body;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{STREAM_PROTOCOL, spdy};

/// How much of a refusal's text is passed on.
const REFUSAL_BYTES_MAX: usize = 16 << 10;

/// Why a stream cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client did not ask for an upgrade.
    #[error("Upgrade request required")]
    NoUpgrade,
    /// The client speaks none of the protocols.
    #[error("unable to negotiate protocol: client supports {offered}, server accepts {known}")]
    UnknownProtocol {
        /// The client's offers.
        offered: String,
        /// The protocols that are served.
        known: String,
    },
    /// The client's WebSocket handshake lacks a part.
    #[error("websocket: the handshake lacks {0}")]
    Handshake(&'static str),
    /// The runtime named an address that cannot be used.
    #[error("the container runtime's streaming address {0} is not valid")]
    Address(String),
    /// The runtime's server cannot be reached.
    #[error("the container runtime's streaming server: {0}")]
    Connect(#[from] std::io::Error),
    /// It does not answer as HTTP demands.
    #[error("the container runtime's streaming server: {0}")]
    Http(#[from] hyper::Error),
    /// It refused.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// The runtime's words.
        message: String,
    },
    /// A response could not be made.
    #[error("{0}")]
    Response(http::Error),
}

impl Error {
    /// The HTTP status that tells the client.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoUpgrade | Self::Handshake(_) => StatusCode::BAD_REQUEST,
            Self::UnknownProtocol { .. } => StatusCode::FORBIDDEN,
            Self::Refused { status, .. } => *status,
            Self::Address(_) | Self::Connect(_) | Self::Http(_) | Self::Response(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

/// A connection that speaks SPDY.
pub(super) struct Upstream {
    pub(super) stream: TokioIo<Upgraded>,
    /// The stream protocol that the server chose.
    pub(super) protocol: Option<String>,
}

/// Opens the connection that `url` stands for.
pub(super) async fn connect(url: &str, protocols: &[String]) -> Result<Upstream, Error> {
    let (builder, dialled) = dial(url).await?;
    let mut request = builder.method(Method::POST).header(CONNECTION, "Upgrade").header(UPGRADE, spdy::PROTOCOL);
    for protocol in protocols {
        request = request.header(STREAM_PROTOCOL, protocol);
    }
    let response = upgrade(request, dialled).await?;
    let protocol = response.headers().get(STREAM_PROTOCOL).and_then(|value| Some(value.to_str().ok()?.to_owned()));
    let stream = TokioIo::new(hyper::upgrade::on(response).await?);
    Ok(Upstream { stream, protocol })
}

/// Hands a client's WebSocket handshake on; answers with the server's answer to it, and the connection.
pub(super) async fn connect_websocket(
    url: &str,
    handshake: &HeaderMap,
) -> Result<(HeaderMap, TokioIo<Upgraded>), Error> {
    let (builder, dialled) = dial(url).await?;
    let mut request = builder.method(Method::GET).header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SEC_WEBSOCKET_PROTOCOL] {
        for value in handshake.get_all(&name) {
            request = request.header(&name, value);
        }
    }
    let response = upgrade(request, dialled).await?;
    let headers = response.headers().clone();
    Ok((headers, TokioIo::new(hyper::upgrade::on(response).await?)))
}

type Sender = hyper::client::conn::http1::SendRequest<Body>;

/// Connects to the server of a URL; answers with the beginning of a request for it.
async fn dial(url: &str) -> Result<(http::request::Builder, Sender), Error> {
    let invalid = || Error::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    let authority = uri.authority().ok_or_else(invalid)?.as_str().to_owned();
    let path = uri.path_and_query().ok_or_else(invalid)?.as_str().to_owned();
    let stream = TcpStream::connect(&authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "the connection to the runtime's streaming server failed");
        }
    });
    Ok((Request::builder().uri(path).header(HOST, authority), sender))
}

async fn upgrade(request: http::request::Builder, mut server: Sender) -> Result<Response<Incoming>, Error> {
    let request = request.body(Body::empty()).map_err(Error::Response)?;
    let response = server.send_request(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let status = response.status();
    let body = Limited::new(response.into_body(), REFUSAL_BYTES_MAX).collect().await;
    let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
    Err(Error::Refused { status, message: String::from_utf8_lossy(&bytes).trim().to_owned() })
}
