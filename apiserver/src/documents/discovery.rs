//! `/api`, `/apis` and what is below them without being a resource.

mod aggregated;

use std::sync::Arc;

use api::discovery;
use api::{Object, Status};
use axum::body::Body;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};
use metrics::Counter;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::content::{self, Format, Representation, Transform};
use crate::request::Query;
use crate::{Context, Registry, answer, verbs};
use aggregated::Made;

/// The parameters of the media type of the aggregated form.
const AGGREGATED: [(&str, &str); 3] = [("g", "apidiscovery.k8s.io"), ("v", "v2"), ("as", "APIGroupDiscoveryList")];

/// Answers a request for a discovery document.
///
/// # Errors
/// 404 for versions that are not served of groups that are, 405 and 406.
pub fn answer(ctx: &Arc<Context>, parts: &Parts, segments: &[&str], query: &Query) -> Result<Response<Body>, Status> {
    let catalogue = ctx.registry.catalogue();
    // What the reference's router serves is strict about the method; what stands before it is not.
    let routed = |streams| match parts.method {
        Method::GET => content::accepts(&parts.headers, streams),
        _ => Err(verbs::method_not_allowed()),
    };
    let document = match segments {
        ["api" | "apis"] => {
            let core = segments[0] == "api";
            if core {
                routed(false)?;
            }
            if let Some(representation) = aggregated_form(&parts.headers, query) {
                let (document, tag) = whole(&ctx.registry, core)?;
                return aggregated(parts, &document, &tag, representation);
            }
            let address = &ctx.registry.config().advertised;
            match core {
                true => discovery::core_versions(&catalogue, address),
                false => discovery::group_list(&ctx.registry.group_versions().ordered(&catalogue)),
            }
        }
        ["api", version] => {
            let document = discovery::resources(&catalogue, "", version).ok_or_else(verbs::unknown_path)?;
            routed(false)?;
            document
        }
        ["apis", group] => {
            let groups = ctx.registry.group_versions().ordered(&catalogue);
            match groups.iter().find(|(name, _)| name == group) {
                Some((name, versions)) => discovery::group_of(name, versions),
                None => return Ok(answer::page_not_found()),
            }
        }
        ["apis", group, version] => match discovery::resources(&catalogue, group, version) {
            Some(document) => {
                routed(false)?;
                document
            }
            None if catalogue.versions(group).is_empty() => return Ok(answer::page_not_found()),
            None => return Err(verbs::unknown_path()),
        },
        _ => return Ok(answer::page_not_found()),
    };
    let representation = content::negotiate_among(&parts.headers, query, |_, transform| transform == Transform::None)?;
    let object = Object::from_value(document).ok_or_else(|| Status::internal("a discovery document is no object"))?;
    answer::object(200, &object, &representation)
}

/// How the client takes the aggregated form, wherever it names it.
fn aggregated_form(headers: &HeaderMap, query: &Query) -> Option<Representation> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    let wanted = content::clauses(accept);
    let clause =
        wanted.iter().find(|clause| AGGREGATED.iter().all(|(name, value)| clause.param(name) == Some(*value)))?;
    let format = content::FORMATS.into_iter().find(|format| clause.fits(content::media_type(*format)))?;
    let pretty = clause.param("pretty") == Some("1") || content::is_pretty(headers, query);
    Some(Representation { format, pretty, transform: Transform::None })
}

/// The last document of its form, which everybody asks for that begins to speak with a server.
#[derive(Default)]
pub struct Whole(Mutex<Option<Made>>);

/// The aggregated form of `/api` or `/apis`, with its tag.
fn whole(registry: &Registry, core: bool) -> Result<(Arc<Value>, Arc<str>), Status> {
    let catalogue = Arc::clone(&registry.catalogue());
    let tagged = |document: Value| match serde_json::to_vec(&document) {
        Ok(bytes) => Ok((document, tag_of(&bytes))),
        Err(error) => Err(Status::internal(error.to_string())),
    };
    let count = || registry.metrics().various.discovery.with([], Counter::add_one);
    if core {
        count();
        let (document, tag) = tagged(discovery::aggregated(&catalogue, true, "v2"))?;
        return Ok((Arc::new(document), tag.into()));
    }
    let (table, discovered) = (registry.group_versions(), registry.aggregator().discovered());
    let mut last = registry.whole_discovery().0.lock();
    if last.as_ref().is_none_or(|last| !last.is_current(&catalogue, &table, &discovered)) {
        count();
        let made = tagged(aggregated::groups(&catalogue, &table, &discovered))?;
        *last = Some(Made::new(catalogue, &table, discovered, made));
    }
    let last = last.as_ref().ok_or_else(|| Status::internal("a discovery document is lost"))?;
    Ok((last.document.clone(), last.tag.clone()))
}

fn aggregated(parts: &Parts, document: &Value, tag: &str, form: Representation) -> Result<Response<Body>, Status> {
    let media_type = match form.format {
        Format::Json => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Format::Yaml => "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Format::Protobuf => "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    };
    let object = Object::from_value(document.clone()).ok_or_else(|| Status::internal("a document is no object"))?;
    let mut response = respond_tagged(&parts.headers, answer::encode(&object, &form)?, tag, media_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    Ok(response)
}

/// The hash of a document, as an entity tag.
pub fn tag_of(body: &[u8]) -> String {
    Sha512::digest(body).iter().map(|b| format!("{b:02X}")).collect()
}

/// Bytes with their hash as entity tag; 304 if the client has them.
pub fn respond_tagged(request: &HeaderMap, body: bytes::Bytes, tag: &str, media_type: &'static str) -> Response<Body> {
    let tag = HeaderValue::from_str(&format!("\"{tag}\"")).expect("a hash may stand in a header");
    let known = request.get(IF_NONE_MATCH).is_some_and(|known| known == tag);
    let mut response = if known {
        let mut unchanged = answer::bytes(304, media_type, bytes::Bytes::new());
        unchanged.headers_mut().remove(CONTENT_TYPE);
        unchanged
    } else {
        answer::compress(request, answer::bytes(200, media_type, body.clone()), Some(&body))
    };
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(http::header::VARY, HeaderValue::from_static("Accept"));
    response
}
