//! The server's side of a WebSocket handshake, and messages.

use axum::body::{Body, Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{SinkExt as _, Stream, StreamExt as _};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::{Error, upgraded, words};

/// The longest message that is taken from a client.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A WebSocket on a connection that was HTTP.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether the request asks for a WebSocket.
#[must_use]
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Chooses the first of the client's protocols that is known. A client that names none gets none, if that is known.
pub(super) fn negotiate(headers: &HeaderMap, known: &[&str]) -> Result<String, Error> {
    let offered = words(headers, SEC_WEBSOCKET_PROTOCOL.as_str());
    if offered.is_empty() && known.contains(&"") {
        return Ok(String::new());
    }
    let chosen = offered.iter().find(|protocol| known.contains(&protocol.as_str())).cloned();
    chosen.ok_or_else(|| Error::UnknownProtocol { offered: offered.join(", "), known: known.join(", ") })
}

/// The answer that accepts the handshake, and the connection to come.
pub(super) fn accept(request: &mut Request<Body>, protocol: &str) -> Result<(Response<Body>, OnUpgrade), Error> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).ok_or(Error::Handshake("Sec-WebSocket-Key"))?;
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
    if !protocol.is_empty() {
        response = response.header(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let response = response.body(Body::empty()).map_err(Error::Response)?;
    Ok((response, hyper::upgrade::on(request)))
}

/// The WebSocket, once the handshake's answer is sent.
pub(super) async fn socket(client: OnUpgrade) -> Option<Socket> {
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    let stream = upgraded(client).await?;
    Some(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await)
}

/// The message that ends a WebSocket in order.
pub(super) fn normal_close() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// Sends a body, such as a log, as WebSocket messages: `binary.k8s.io`, or text with `base64.binary.k8s.io`.
///
/// # Errors
/// If the client's handshake is not valid.
pub fn send_stream(
    mut request: Request<Body>,
    content: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
) -> Result<Response<Body>, Error> {
    let protocol = negotiate(request.headers(), &["", "binary.k8s.io", "base64.binary.k8s.io"])?;
    let (response, client) = accept(&mut request, &protocol)?;
    let text = protocol.starts_with("base64");
    tokio::spawn(async move {
        let Some(mut socket) = socket(client).await else { return };
        let mut content = std::pin::pin!(content);
        loop {
            tokio::select! {
                part = content.next() => {
                    let Some(Ok(part)) = part else { break };
                    let message = if text { Message::text(BASE64.encode(&part)) } else { Message::binary(part) };
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                // What the client says matters only for its end.
                message = socket.next() => if !matches!(message, Some(Ok(_))) {
                    return;
                },
            }
        }
        let _ = socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await;
    });
    Ok(response)
}
