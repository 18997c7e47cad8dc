//! `/openapi/v2` and `/openapi/v3`. Documents are made when first asked for and kept while the catalogue stays.

use std::collections::HashMap;
use std::sync::Arc;

use api::catalogue::Catalogue;
use api::{Status, openapi};
use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::request::Parts;
use http::{HeaderValue, Response};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::discovery::respond_tagged;
use crate::request::Query;
use crate::{Context, answer, content};

/// How many documents are kept; the largest is some megabytes long, and only clients that ask make them.
const DOCUMENTS_MAX: usize = 64;

/// Documents of the newest catalogue, by path.
#[derive(Default)]
pub struct Documents(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    catalogue: Option<Arc<Catalogue>>,
    documents: HashMap<String, (Bytes, String)>,
}

impl Documents {
    /// The bytes and hash of a document, made if they are not there.
    fn get_or_make(
        &self,
        catalogue: &Arc<Catalogue>,
        path: &str,
        make: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<(Bytes, String)> {
        {
            let mut kept = self.0.lock();
            if !kept.catalogue.as_ref().is_some_and(|c| Arc::ptr_eq(c, catalogue)) {
                *kept = Kept { catalogue: Some(catalogue.clone()), documents: HashMap::new() };
            }
            if let Some(found) = kept.documents.get(path) {
                return Some(found.clone());
            }
        }
        let bytes = Bytes::from(make()?);
        let tag: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02X}")).collect();
        let mut kept = self.0.lock();
        if kept.documents.len() < DOCUMENTS_MAX && kept.catalogue.as_ref().is_some_and(|c| Arc::ptr_eq(c, catalogue)) {
            kept.documents.insert(path.to_string(), (bytes.clone(), tag.clone()));
        }
        Some((bytes, tag))
    }
}

/// Answers a request for an OpenAPI document.
///
/// # Errors
/// 406 for encodings other than JSON.
pub fn answer(ctx: &Arc<Context>, parts: &Parts, segments: &[&str], query: &Query) -> Result<Response<Body>, Status> {
    let accept = parts.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    if !accept.is_empty() && !accept.contains("json") && !accept.contains("*/*") {
        return Err(content::not_acceptable());
    }
    let catalogue = ctx.registry.catalogue();
    let documents = ctx.registry.documents();
    let path = segments.join("/");
    let found = match segments {
        ["openapi", "v2"] => documents.get_or_make(&catalogue, &path, || Some(openapi::v2_document(&catalogue))),
        ["openapi", "v3"] => {
            documents.get_or_make(&catalogue, &path, || Some(openapi::v3_index(&catalogue).to_string().into_bytes()))
        }
        ["openapi", "v3", "api", version] => {
            documents.get_or_make(&catalogue, &path, || openapi::v3_document(&catalogue, "", version))
        }
        ["openapi", "v3", "apis", group, version] => {
            documents.get_or_make(&catalogue, &path, || openapi::v3_document(&catalogue, group, version))
        }
        _ => None,
    };
    let Some((bytes, tag)) = found else { return Ok(answer::page_not_found()) };
    let mut response = respond_tagged(&parts.headers, bytes, &tag, "application/json");
    if query.get("hash").is_some_and(|hash| !hash.is_empty()) {
        let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
        response.headers_mut().insert(CACHE_CONTROL, forever);
    }
    Ok(response)
}
