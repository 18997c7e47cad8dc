//! `/api`, `/apis` and what is below them without being a resource.

use std::sync::Arc;

use api::discovery;
use api::{Object, Status};
use axum::body::Body;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::content::{Format, Representation};
use crate::{Context, answer, verbs};

const VERSIONS: [&str; 2] = ["v2", "v2beta1"];

/// Answers a request for a discovery document.
///
/// # Errors
/// 404 for versions that are not served of groups that are.
pub fn answer(
    ctx: &Arc<Context>,
    parts: &Parts,
    segments: &[&str],
    representation: Representation,
) -> Result<Response<Body>, Status> {
    let catalogue = ctx.registry.catalogue();
    let document = match segments {
        ["api" | "apis"] => {
            let core = segments[0] == "api";
            if let Some((version, media_type)) = aggregated_version(&parts.headers) {
                let document = discovery::aggregated(&catalogue, core, version);
                return Ok(tagged(&parts.headers, &document, media_type));
            }
            let address = &ctx.registry.config().advertised;
            if core { discovery::core_versions(&catalogue, address) } else { discovery::groups(&catalogue) }
        }
        ["api", version] => match discovery::resources(&catalogue, "", version) {
            Some(document) => document,
            None => return Ok(answer::page_not_found()),
        },
        ["apis", group] => match discovery::group(&catalogue, group) {
            Some(document) => document,
            None => return Ok(answer::page_not_found()),
        },
        ["apis", group, version] => match discovery::resources(&catalogue, group, version) {
            Some(document) => document,
            None if discovery::group(&catalogue, group).is_some() => return Err(verbs::unknown_path()),
            None => return Ok(answer::page_not_found()),
        },
        _ => return Ok(answer::page_not_found()),
    };
    let object = Object::from_value(document).ok_or_else(|| Status::internal("a discovery document is no object"))?;
    let json = Representation { format: Format::Json, ..representation };
    answer::object(200, &object, &representation).or_else(|_| answer::object(200, &object, &json))
}

/// The version of the aggregated form that the client prefers to the plain one, and its media type.
fn aggregated_version(headers: &HeaderMap) -> Option<(&'static str, &'static str)> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    for clause in accept.split(',') {
        let mut parts = clause.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or("");
        let parts: Vec<&str> = parts.collect();
        if parts.contains(&"as=APIGroupDiscoveryList") {
            if media_type != "application/json" || !parts.contains(&"g=apidiscovery.k8s.io") {
                continue;
            }
            let version = VERSIONS.into_iter().find(|v| parts.iter().any(|p| p.strip_prefix("v=") == Some(v)));
            if let Some(version) = version {
                let media_type = match version {
                    "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                    _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
                };
                return Some((version, media_type));
            }
        } else if media_type == "application/json" {
            return None;
        }
    }
    None
}

/// A document with its hash as entity tag; 304 if the client has it.
pub fn tagged(request: &HeaderMap, document: &Value, media_type: &'static str) -> Response<Body> {
    let body = serde_json::to_vec(document).expect("JSON values encode");
    let tag = Sha256::digest(&body).iter().map(|b| format!("{b:02X}")).collect::<String>();
    respond_tagged(request, body.into(), &tag, media_type)
}

/// Bytes with their hash as entity tag; 304 if the client has them.
pub fn respond_tagged(request: &HeaderMap, body: bytes::Bytes, tag: &str, media_type: &'static str) -> Response<Body> {
    let tag = HeaderValue::from_str(&format!("\"{tag}\"")).expect("a hash may stand in a header");
    let known = request.get(IF_NONE_MATCH).is_some_and(|known| known == tag);
    let mut response = if known {
        answer::bytes(304, media_type, bytes::Bytes::new())
    } else {
        answer::compress(request, answer::bytes(200, media_type, body.clone()), Some(&body))
    };
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(http::header::VARY, HeaderValue::from_static("Accept"));
    response
}
