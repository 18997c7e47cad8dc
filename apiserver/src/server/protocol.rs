//! What of HTTP is checked before a request is one, and how its bytes are read.

use std::sync::Arc;

use axum::body::Body;
use http::header::{CONNECTION, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;

use super::arriving::Arriving;
use super::connections::Seat;
use super::limits::Limits;
use super::streams::Streams;
use crate::answer;
use crate::plug::PeerCertificate;

/// How long the head of a request may be (`MaxHeaderBytes` in apiserver's `secure_serving.go`).
const HEAD_BYTES_MAX: usize = 1 << 20;
/// How many headers a request may have. Go counts only their bytes; hyper writes to a place for each that there may be
/// before it reads a head, which with thousands of them costs as much as a third of a whole GET.
const HEADERS_MAX: usize = 256;
/// How much of the body of one HTTP/2 stream may be under way (`MaxUploadBufferPerStream`).
const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// How much of all bodies of one HTTP/2 connection may be under way.
const H2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// How long one HTTP/2 frame may be (`MaxReadFrameSize`).
const H2_FRAME_BYTES_MAX: u32 = 256 << 10;
/// How many requests one HTTP/2 connection may have open; watches are open for long.
const H2_STREAMS_MAX: u32 = 1_000;
/// How much HTTP/2 buffers of one answer.
const H2_SEND_BUFFER_BYTES: usize = 64 << 10;
/// How many streams a client may have reset before they were looked at (`maxQueuedControlFrames` is its like in Go).
const H2_RESETS_MAX: usize = 200;
/// How many streams may be refused for their content until the connection is.
const H2_ERRORS_MAX: usize = 1_024;

/// HTTP/1.1 as it is served. Hyper's own bound of what it buffers for writing counts only without `pipeline_flush`.
pub(super) fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // How long headers take is watched together with everything else about the connection.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
}

/// HTTP/2 as it is served.
pub(super) fn http2(limits: &Limits) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams::new(limits.stall_timeout));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES_MAX)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("it is a MiB"))
        .max_pending_accept_reset_streams(H2_RESETS_MAX)
        .max_local_error_reset_streams(H2_ERRORS_MAX)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    builder
}

/// A request from the wire: nothing of the extensions that in-process callers may set can be in it.
///
/// # Errors
/// The answer to what is no request.
pub(super) fn received(
    request: Request<Incoming>,
    peer: Option<&PeerCertificate>,
    seat: &Arc<Seat>,
) -> Result<Request<Body>, Response<Body>> {
    if let Some(refused) = refuse(&request) {
        return Err(refused);
    }
    let mut request = request.map(|body| Body::new(Arriving::new(body)));
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer.clone());
    }
    request.extensions_mut().insert(seat.clone());
    Ok(request)
}

/// The answer to `CONNECT`: nothing is connected to, and what follows such a request is no HTTP.
pub(super) fn unconnected(response: Response<Body>, is_http2: bool) -> Response<Body> {
    let is_success = response.status().is_success();
    let mut response = if is_success { answer::page_not_found() } else { response };
    if !is_http2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What Go's server answers to a request that is none.
fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    let is_http2 = request.version() == Version::HTTP_2;
    let (code, text) = match check(request, is_http2) {
        Ok(()) => return None,
        Err(refused) => refused,
    };
    let mut response = answer::text(code, text);
    if !is_http2 && !response.status().is_success() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

fn check<B>(request: &Request<B>, is_http2: bool) -> Result<(), (u16, &'static str)> {
    let headers = request.headers();
    check_host(headers, request.version(), request.method())?;
    if is_http2 {
        return Ok(());
    }
    match (request.uri().path(), request.method()) {
        // What is asked of the server as a whole.
        ("*", &Method::OPTIONS) => return Err((200, "")),
        (path, method) if !path.starts_with(['/', '*']) && method != Method::CONNECT => {
            return Err((400, "400 Bad Request"));
        }
        _ => {}
    }
    if headers.get_all(TRANSFER_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || headers.get_all(TRANSFER_ENCODING).iter().nth(1).is_some()
    {
        return Err((501, "Unsupported transfer encoding"));
    }
    match headers.get(EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Err((417, "")),
        _ => Ok(()),
    }
}

/// `readRequest` in Go's `net/http`: one host, and no odd one.
fn check_host(headers: &HeaderMap, version: Version, method: &Method) -> Result<(), (u16, &'static str)> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 && method != Method::CONNECT => {
            Err((400, "400 Bad Request: missing required Host header"))
        }
        (_, Some(_)) => Err((400, "400 Bad Request")),
        (Some(host), None) if !host.as_bytes().iter().all(|byte| is_of_host(*byte)) => {
            Err((400, "400 Bad Request: malformed Host header"))
        }
        _ => Ok(()),
    }
}

/// `ValidHostHeader` in Go's `httpguts`.
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(method: &str, headers: &[(&str, &str)], code: u16) {
        let mut request = Request::builder().method(method).uri("/version");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = refuse(&request.body(()).unwrap());
        assert_eq!(response.map_or(200, |response| response.status().as_u16()), code, "{method} {headers:?}");
    }

    #[test]
    fn what_is_no_request_is_refused_as_by_gos_server() {
        refused("GET", &[("host", "x")], 200);
        refused("GET", &[("host", "")], 200);
        refused("GET", &[("host", "[::1]:6443")], 200);
        refused("GET", &[], 400);
        refused("GET", &[("host", "x"), ("host", "y")], 400);
        refused("GET", &[("host", "a b")], 400);
        refused("CONNECT", &[], 200);
        refused("POST", &[("host", "x"), ("transfer-encoding", "chunked")], 200);
        refused("POST", &[("host", "x"), ("transfer-encoding", "gzip, chunked")], 501);
        refused("POST", &[("host", "x"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 501);
        refused("POST", &[("host", "x"), ("expect", "100-Continue")], 200);
        refused("POST", &[("host", "x"), ("expect", "a cake")], 417);
    }
}
