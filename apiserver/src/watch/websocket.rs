//! A watch over a WebSocket: every event is a message of its own (`WatchServer.HandleWS` in apiserver's `handlers`).

use std::convert::Infallible;

use api::Status;
use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use futures::{SinkExt, Stream, StreamExt};
use http::header::{
    CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::answer;

/// The longest message that is taken from a client, which has nothing to say.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// The only version of the protocol.
const VERSION: &str = "13";

/// Answers the handshake, and sends the frames of a watch once it is through. `is_text` tells frames that are lines from
/// those that have their length before them.
///
/// # Errors
/// None; what is wrong with the handshake is answered without a status.
pub fn respond(
    mut parts: Parts,
    is_text: bool,
    frames: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Result<Response<Body>, Status> {
    let response = match handshake(&parts.headers) {
        Ok(response) => response,
        Err(refused) => return Ok(*refused),
    };
    let client = parts.extensions.remove::<OnUpgrade>();
    let client = client.ok_or_else(|| Status::internal("the connection cannot be upgraded"))?;
    tokio::spawn(async move {
        let Ok(stream) = client.await else { return };
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, Some(config)).await;
        send(socket, is_text, frames).await;
    });
    Ok(response)
}

async fn send(
    mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    is_text: bool,
    frames: impl Stream<Item = Result<Bytes, Infallible>>,
) {
    let mut frames = std::pin::pin!(frames);
    let mut rest = BytesMut::new();
    loop {
        tokio::select! {
            frame = frames.next() => {
                let Some(Ok(frame)) = frame else { break };
                rest.extend_from_slice(&frame);
                while let Some(event) = take(&mut rest, is_text) {
                    let message = match is_text {
                        true => Message::text(String::from_utf8_lossy(&event).into_owned()),
                        false => Message::binary(event),
                    };
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            }
            // What the client says matters only for its end.
            message = socket.next() => if !matches!(message, Some(Ok(_))) {
                return;
            },
        }
    }
    let _ = socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await;
}

/// The first whole event of those that have come.
fn take(rest: &mut BytesMut, is_text: bool) -> Option<Bytes> {
    const LENGTH_BYTES: usize = 4;
    if is_text {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        return Some(rest.split_to(end + 1).freeze());
    }
    let length = u32::from_be_bytes(rest.get(..LENGTH_BYTES)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    if rest.len() < LENGTH_BYTES + length {
        return None;
    }
    rest.advance(LENGTH_BYTES);
    Some(rest.split_to(length).freeze())
}

/// The answer that accepts a handshake, or the one that does not.
fn handshake(headers: &HeaderMap) -> Result<Response<Body>, Box<Response<Body>>> {
    let refuse = |code: StatusCode, text: &'static str| {
        let mut response = answer::bytes(code.as_u16(), "text/plain", text);
        response.headers_mut().clear();
        Box::new(response)
    };
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|key| !key.is_empty()) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "mismatch challenge/response"));
    };
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        let mut response = refuse(StatusCode::BAD_REQUEST, "missing or bad WebSocket Version");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, http::HeaderValue::from_static(VERSION));
        return Err(response);
    }
    if headers.get(ORIGIN).is_none_or(|origin| origin.is_empty()) {
        return Err(refuse(StatusCode::FORBIDDEN, ""));
    }
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> =
        offered.flat_map(|value| value.split(',')).map(str::trim).filter(|protocol| !protocol.is_empty()).collect();
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
    match offered[..] {
        [] => {}
        [one] => response = response.header(SEC_WEBSOCKET_PROTOCOL, one),
        [..] => return Err(refuse(StatusCode::BAD_REQUEST, "")),
    }
    response.body(Body::empty()).map_err(|_| refuse(StatusCode::BAD_REQUEST, ""))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn events_are_told_apart() {
        let mut rest = BytesMut::from(&b"{\"a\":1}\n{\"b\""[..]);
        assert_eq!(take(&mut rest, true).as_deref(), Some(&b"{\"a\":1}\n"[..]));
        assert_eq!(take(&mut rest, true), None);
        rest.extend_from_slice(b":2}\n");
        assert_eq!(take(&mut rest, true).as_deref(), Some(&b"{\"b\":2}\n"[..]));
        let mut rest = BytesMut::from(&b"\0\0\0\x02ab\0\0\0\x01"[..]);
        assert_eq!(take(&mut rest, false).as_deref(), Some(&b"ab"[..]));
        assert_eq!(take(&mut rest, false), None);
    }

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], code: u16, protocol: Option<&str>) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), http::HeaderValue::from_static(value)))
            .collect();
        let response = handshake(&headers).unwrap_or_else(|refused| *refused);
        assert_eq!(response.status().as_u16(), code);
        let found = response.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        assert_eq!(found, protocol);
    }

    #[test]
    fn handshakes() {
        let [key, version, origin] = [
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("origin", "http://a.example"),
        ];
        check(&[version, origin], 400, None);
        check(&[key, ("sec-websocket-version", "8"), origin], 400, None);
        check(&[key, version], 403, None);
        check(&[key, version, origin], 101, None);
        check(&[key, version, origin, ("sec-websocket-protocol", "one")], 101, Some("one"));
        check(&[key, version, origin, ("sec-websocket-protocol", "one, two")], 400, None);
    }
}
