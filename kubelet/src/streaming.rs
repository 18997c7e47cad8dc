//! Exec, attach and port-forward: the client's upgraded connection on one side, the runtime's streaming server on the other.
//!
//! The runtime's server speaks SPDY/3.1, which alone can close one direction of one stream. A client that speaks SPDY too
//! is joined to it byte by byte. A WebSocket client is translated: `v5.channel.k8s.io` and its
//! elders carry numbered channels that become SPDY streams ([`channels`]), and port-forward's
//! `SPDY/3.1+portforward.k8s.io` carries SPDY's own bytes in messages ([`tunnel`]). Port-forward's older
//! `v4.channel.k8s.io`, two channels for each port that the query names, is one that the runtime's server speaks itself, so
//! that client is joined to it as it is ([`plain_port_forward`]). The exit code comes from the runtime's server
//! as a Status on the error stream, and is passed on as it is.

mod channels;
pub mod spdy;
mod tunnel;
mod upstream;
mod websocket;

use axum::body::Body;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

pub use upstream::Error;
pub use websocket::{is_websocket, send_stream};

/// The header with which SPDY clients negotiate what the streams mean.
const STREAM_PROTOCOL: &str = "x-stream-protocol-version";
/// Protocols of exec and attach over SPDY, the newest first.
const REMOTE_COMMAND_PROTOCOLS: [&str; 4] =
    ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
/// The protocol of port-forward over SPDY.
const PORT_FORWARD_PROTOCOL: &str = "portforward.k8s.io";
/// The protocols of port-forward over a WebSocket that has two channels for each port.
const PORT_CHANNEL_PROTOCOLS: [&str; 2] = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/// Which streams an exec or attach has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streams {
    /// Input of the process.
    pub stdin: bool,
    /// Its output.
    pub stdout: bool,
    /// Its errors; never together with a terminal.
    pub stderr: bool,
    /// Whether the process has a terminal, which can be resized.
    pub tty: bool,
}

/// Joins a client that runs a command, or attaches to one, to the runtime's `url`.
///
/// # Errors
/// If the runtime's server cannot be reached or refuses, or the client asks for no protocol that is known.
pub async fn remote_command(request: Request<Body>, url: &str, streams: Streams) -> Result<Response<Body>, Error> {
    if is_websocket(request.headers()) {
        return channels::serve(request, url, streams).await;
    }
    spdy_client(request, url, &REMOTE_COMMAND_PROTOCOLS).await
}

/// Joins a client that forwards ports to the runtime's `url`.
///
/// # Errors
/// As [`remote_command`].
pub async fn port_forward(request: Request<Body>, url: &str) -> Result<Response<Body>, Error> {
    if wants_port_channels(request.headers()) {
        return plain_port_forward(request, url).await;
    }
    if is_websocket(request.headers()) {
        return tunnel::serve(request, url).await;
    }
    spdy_client(request, url, &[PORT_FORWARD_PROTOCOL]).await
}

/// Whether a client forwards ports over a WebSocket with two channels for each: then its request must name them.
#[must_use]
pub fn wants_port_channels(headers: &HeaderMap) -> bool {
    let offered = words(headers, SEC_WEBSOCKET_PROTOCOL.as_str());
    is_websocket(headers)
        && (offered.is_empty() || offered.iter().any(|p| PORT_CHANNEL_PROTOCOLS.contains(&p.as_str())))
}

/// A WebSocket client whose protocol the runtime's server speaks is joined to it as it is.
async fn plain_port_forward(mut request: Request<Body>, url: &str) -> Result<Response<Body>, Error> {
    if !request.headers().contains_key(SEC_WEBSOCKET_KEY) {
        return Err(Error::Handshake("Sec-WebSocket-Key"));
    }
    let (answer, mut runtime) = upstream::connect_websocket(url, request.headers()).await?;
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket");
    for name in [SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL] {
        // A client that named no protocol gets none.
        if let Some(value) = answer.get(&name).filter(|value| !value.is_empty()) {
            response = response.header(name, value);
        }
    }
    let client = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Some(mut client) = upgraded(client).await {
            // One side that ends is the ordinary end.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut runtime).await;
        }
    });
    response.body(Body::empty()).map_err(Error::Response)
}

/// A SPDY client is joined to the runtime as it is.
async fn spdy_client(mut request: Request<Body>, url: &str, known: &[&str]) -> Result<Response<Body>, Error> {
    let asked = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !asked.eq_ignore_ascii_case(spdy::PROTOCOL) {
        return Err(Error::NoUpgrade);
    }
    let offered = words(request.headers(), STREAM_PROTOCOL);
    // Clients older than the negotiation send no header.
    let offered = if offered.is_empty() { vec![known[known.len() - 1].to_owned()] } else { offered };
    if !offered.iter().any(|protocol| known.contains(&protocol.as_str())) {
        return Err(Error::UnknownProtocol { offered: offered.join(", "), known: known.join(", ") });
    }
    let upstream = upstream::connect(url, &offered).await?;
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, spdy::PROTOCOL);
    if let Some(protocol) = upstream.protocol {
        response = response.header(STREAM_PROTOCOL, protocol);
    }
    let client = hyper::upgrade::on(&mut request);
    let mut runtime = upstream.stream;
    tokio::spawn(async move {
        if let Some(mut client) = upgraded(client).await {
            // One side that ends is the ordinary end.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut runtime).await;
        }
    });
    response.body(Body::empty()).map_err(Error::Response)
}

async fn upgraded(client: OnUpgrade) -> Option<TokioIo<hyper::upgrade::Upgraded>> {
    match client.await {
        Ok(stream) => Some(TokioIo::new(stream)),
        Err(error) => {
            tracing::debug!(%error, "a client left before its connection was upgraded");
            None
        }
    }
}

/// All words of a header that may be repeated and may hold lists.
fn words(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}
