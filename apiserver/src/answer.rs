//! Responses: objects, statuses and documents as bytes with their headers.

use std::io::Write;

use api::object::splice_resource_version;
use api::schema::Schema;
use api::{Object, Status, json};
use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::Value;
use store::Revision;

use crate::content::{Format, Representation, media_type};
use crate::pieces;

/// Bodies longer than this are compressed, if the client accepts that.
pub const GZIP_THRESHOLD_BYTES: usize = 128 * 1024;

/// A response with these bytes.
pub fn bytes(code: u16, media_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Stored bytes as they are, with their revision put in.
pub fn stored(code: u16, value: &Bytes, revision: Revision) -> Response<Body> {
    /// What the resource version adds, at most.
    const REVISION_BYTES: usize = 48;
    if value.len() > pieces::LARGE_BYTES {
        let [head, rest] = pieces::stored(b"", value, revision);
        let mut response = bytes(code, media_type(Format::Json), Bytes::new());
        *response.body_mut() = pieces::body([head, rest, Bytes::from_static(b"\n")]);
        return response;
    }
    let mut body = Vec::with_capacity(value.len() + REVISION_BYTES);
    splice_resource_version(value, revision, &mut body);
    body.push(b'\n');
    bytes(code, media_type(Format::Json), body)
}

/// Plain text.
pub fn text(code: u16, body: impl Into<String>) -> Response<Body> {
    let mut response = bytes(code, "text/plain; charset=utf-8", body.into());
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// What is answered for paths that nothing serves.
pub fn page_not_found() -> Response<Body> {
    text(404, "404 page not found\n")
}

/// What a client gets that has to come back later (`tooManyRequests` in apiserver's filters).
pub fn too_many_requests(retry_after_seconds: u32) -> Response<Body> {
    let mut response = text(429, "Too many requests, please try again later.\n");
    response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(retry_after_seconds));
    response
}

/// A status as the answer in JSON, where nothing is known of what the client wants.
pub fn status(status: &Status, format: Format) -> Response<Body> {
    error(status, Some(&Representation { format, ..Default::default() }))
}

/// A status as the answer, in the client's representation where there is one.
pub fn error(status: &Status, representation: Option<&Representation>) -> Response<Body> {
    let indented = || json::indented(&status.to_json());
    let mut response = match representation {
        None => bytes(status.code, media_type(Format::Json), indented()),
        Some(Representation { format: Format::Json, pretty: true, .. }) => {
            bytes(status.code, media_type(Format::Json), indented())
        }
        Some(Representation { format: Format::Json, .. }) => {
            let mut body = status.to_json();
            body.push(b'\n');
            bytes(status.code, media_type(Format::Json), body)
        }
        Some(other) => {
            let value = serde_json::to_value(status).expect("a Status is JSON");
            let object = Object::from_value(value).expect("a Status is an object");
            match encode(&object, &Representation { transform: Default::default(), ..*other }) {
                Ok(body) => bytes(status.code, media_type(other.format), body),
                Err(_) => bytes(status.code, media_type(Format::Json), status.to_json()),
            }
        }
    };
    let retry = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    if retry > 0 {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(retry));
    }
    if status.code == 403 {
        response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    }
    response
}

/// An object in the representation agreed on (transformations have been made).
///
/// # Errors
/// 406 if the object cannot be written in that format.
pub fn object(code: u16, object: &Object, representation: &Representation) -> Result<Response<Body>, Status> {
    Ok(bytes(code, media_type(representation.format), encode(object, representation)?))
}

/// A JSON document, indented for people.
pub fn json(code: u16, value: &Value, representation: &Representation) -> Response<Body> {
    typed_json(code, value, None, representation)
}

/// A JSON document of a built-in definition, whose members come in its order.
pub fn typed_json(
    code: u16,
    value: &Value,
    definition: Option<&str>,
    representation: &Representation,
) -> Response<Body> {
    let mut body = Vec::new();
    json::value(&mut body, value, definition.and_then(Schema::builtin_definition));
    let body = if representation.pretty { json::indented(&body) } else { body };
    bytes(code, media_type(Format::Json), body)
}

/// The bytes of an object in a format.
///
/// # Errors
/// 406 if the object cannot be written in that format.
pub fn encode(object: &Object, representation: &Representation) -> Result<Bytes, Status> {
    match representation.format {
        Format::Json => {
            let mut body = json::object(&object.0, representation.pretty);
            if !representation.pretty {
                body.push(b'\n');
            }
            Ok(body.into())
        }
        Format::Yaml => Ok(api::yaml::object(&object.0).into()),
        Format::Protobuf => crate::codec::to_protobuf(object),
    }
}

/// Compresses a long body if the client accepts gzip and the body is there as a whole.
pub fn compress(request: &HeaderMap, response: Response<Body>, whole: Option<&Bytes>) -> Response<Body> {
    let accepts = request.get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(accepts_gzip);
    let Some(body) = whole.filter(|body| accepts && body.len() >= GZIP_THRESHOLD_BYTES) else { return response };
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let Ok(compressed) = encoder.write_all(body).and_then(|()| encoder.finish()) else { return response };
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, Body::from(compressed))
}

/// Whether an `Accept-Encoding` header names gzip.
pub fn accepts_gzip(header: &str) -> bool {
    header.split(',').any(|encoding| {
        let mut parts = encoding.split(';');
        parts.next().is_some_and(|name| name.trim().eq_ignore_ascii_case("gzip"))
            && !parts.any(|p| matches!(p.trim(), "q=0" | "q=0.0"))
    })
}
