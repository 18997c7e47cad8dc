//! `/openapi/v2` and `/openapi/v3`. Documents are made when first asked for and kept while the catalogue stays, and while the
//! services of APIServices say the same.

mod aggregated;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use api::Status;
use api::catalogue::Catalogue;
use api::openapi::{self, Builtin};
use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, Response};
use parking_lot::Mutex;
use serde_json::Value;

use super::discovery::{respond_tagged, tag_of};
use crate::content::{Clause, clauses};
use crate::request::Query;
use crate::{Context, Registry, answer};
use aggregated::Parts;

/// How many documents are kept; the largest is some megabytes long, and only clients that ask make them.
const DOCUMENTS_MAX: usize = 64;

/// Documents of the newest catalogue, by path.
#[derive(Default)]
pub struct Documents {
    kept: Mutex<Kept>,
    builtin: OnceLock<Builtin>,
}

#[derive(Default)]
struct Kept {
    catalogue: Option<Arc<Catalogue>>,
    /// What the document of version 2 was merged of, beside the catalogue.
    parts: Parts,
    documents: HashMap<String, (Bytes, String)>,
}

impl Kept {
    /// Goes over to another catalogue and other parts, and keeps the documents that they do not change.
    fn follow(&mut self, catalogue: &Arc<Catalogue>, parts: &Parts) {
        if !self.parts.is_same(parts) {
            self.documents.retain(|path, _| !path.starts_with(V2_PATH));
            self.parts = parts.clone();
        }
        if self.catalogue.as_ref().is_some_and(|c| Arc::ptr_eq(c, catalogue)) {
            return;
        }
        self.documents.retain(|path, (_, tag)| {
            let segments: Vec<&str> = path.split('/').collect();
            version_hash(catalogue, &segments).as_ref() == Some(tag)
        });
        self.catalogue = Some(catalogue.clone());
    }
}

impl Documents {
    /// The bytes and hash of a document, made if they are not there.
    fn get_or_make(
        &self,
        catalogue: &Arc<Catalogue>,
        parts: &Parts,
        path: &str,
        make: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<(Bytes, String)> {
        {
            let mut kept = self.kept.lock();
            kept.follow(catalogue, parts);
            if let Some(found) = kept.documents.get(path) {
                return Some(found.clone());
            }
        }
        let bytes = Bytes::from(make()?);
        let segments: Vec<&str> = path.split('/').collect();
        let tag = version_hash(catalogue, &segments).unwrap_or_else(|| tag_of(&bytes));
        let mut kept = self.kept.lock();
        let is_current =
            kept.catalogue.as_ref().is_some_and(|c| Arc::ptr_eq(c, catalogue)) && kept.parts.is_same(parts);
        // The document of everything is the dearest by far: who asks for all others must not keep it from being kept.
        let has_room = path.starts_with(V2_PATH) || kept.documents.len() < DOCUMENTS_MAX;
        if has_room && is_current {
            kept.documents.insert(path.to_string(), (bytes.clone(), tag.clone()));
        }
        Some((bytes, tag))
    }

    fn version_2(&self, catalogue: &Catalogue, parts: &Parts) -> Vec<u8> {
        parts.merge(openapi::v2_document(catalogue, self.builtin.get_or_init(Builtin::write)))
    }
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    /// The messages of gnostic's `OpenAPIv2.proto` or `OpenAPIv3.proto`.
    Protobuf,
}

/// What the paths of documents of version 2 begin with.
const V2_PATH: &str = "openapi/v2";
/// What each version of the documents is called as protobuf, now and before.
const V2_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];
const V3_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
];

/// What the client wants of what there is; its own order of preference counts.
fn encoding(wanted: &[Clause<'_>], protobuf: [&str; 2]) -> Option<Encoding> {
    wanted.iter().find_map(|clause| {
        if clause.fits_loosely("application/json") {
            return Some(Encoding::Json);
        }
        protobuf.iter().any(|name| clause.fits_loosely(name)).then_some(Encoding::Protobuf)
    })
}

/// Answers a request for an OpenAPI document.
///
/// # Errors
/// None so far.
pub async fn answer(
    ctx: &Arc<Context>,
    head: &http::request::Parts,
    segments: &[&str],
    query: &Query,
) -> Result<Response<Body>, Status> {
    let segments: Vec<String> = segments.iter().map(|segment| (*segment).to_string()).collect();
    let (registry, headers, query) = (ctx.registry.clone(), head.headers.clone(), query.clone());
    let parts = Parts::of(&registry);
    let is_own = parts.is_empty();
    let work = move || {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        find(&registry, &parts, &headers, &segments, &query)
    };
    // What services say may be long, and is read here.
    if is_own {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Status::internal(format!("an OpenAPI document could not be put together: {error}")))
}

fn find(registry: &Registry, parts: &Parts, headers: &HeaderMap, segments: &[&str], query: &Query) -> Response<Body> {
    let catalogue = Arc::clone(&registry.catalogue());
    let documents = registry.documents();
    let path = segments.join("/");
    if let ["openapi", "v3"] = segments {
        let index = documents
            .get_or_make(&catalogue, parts, &path, || Some(openapi::v3_index(&catalogue).to_string().into_bytes()));
        let body = index.map(|(bytes, _)| bytes).unwrap_or_default();
        return answer::bytes(200, "text/plain; charset=utf-8", parts.index(body));
    }
    let (is_v2, is_v3) = (matches!(segments, ["openapi", "v2"]), matches!(segments, ["openapi", "v3", ..]));
    let protobuf = if is_v2 { V2_PROTOBUF } else { V3_PROTOBUF };
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).filter(|a| !a.is_empty()).unwrap_or("*/*");
    let wanted = clauses(accept);
    let remote = parts.version_3(segments);
    if is_v3 && remote.is_none() && !is_served(&catalogue, segments) {
        return bare(404, true);
    }
    if wanted.is_empty() && !is_v2 {
        return bare(200, false);
    }
    let Some(encoding) = encoding(&wanted, protobuf) else { return bare(406, is_v2) };
    let json = || match segments {
        ["openapi", "v2"] => Some(documents.version_2(&catalogue, parts)),
        ["openapi", "v3", "api", version] => openapi::v3_document(&catalogue, "", version),
        ["openapi", "v3", "apis", group, version] => openapi::v3_document(&catalogue, group, version),
        ["openapi", "v3", path @ ..] => openapi::v3_root_document(&catalogue, &path.join("/")),
        _ => None,
    };
    let found = match (&remote, encoding) {
        (Some(remote), _) => remote.written(encoding == Encoding::Protobuf),
        (None, Encoding::Json) => documents.get_or_make(&catalogue, parts, &path, json),
        // Both have the hash of the JSON, by which the index tells of them.
        (None, Encoding::Protobuf) => documents.get_or_make(&catalogue, parts, &path, json).and_then(|(whole, tag)| {
            let made = documents.get_or_make(&catalogue, parts, &format!("{path} as protobuf"), || {
                let document: Value = serde_json::from_slice(&whole).ok()?;
                Some(if is_v2 { openapi::v2_protobuf(&document) } else { openapi::v3_protobuf(&document) })
            });
            made.map(|(bytes, _)| (bytes, tag))
        }),
    };
    let Some((bytes, tag)) = found else {
        return if is_v3 { bare(404, true) } else { answer::page_not_found() };
    };
    let media_type = if encoding == Encoding::Protobuf { protobuf[0] } else { "application/json" };
    let known = query.get("hash").filter(|hash| !hash.is_empty());
    if known.is_some_and(|hash| hash != tag) {
        return moved(&path, &tag);
    }
    let mut response = respond_tagged(headers, bytes, &tag, media_type);
    if is_v2 {
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    }
    if known.is_some() {
        let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
        response.headers_mut().insert(CACHE_CONTROL, forever);
    }
    response
}

/// Whether there is a document of version 3 for a path.
fn is_served(catalogue: &Catalogue, segments: &[&str]) -> bool {
    match segments {
        ["openapi", "v3", "api", version] => !catalogue.of_version("", version).is_empty(),
        ["openapi", "v3", "apis", group, version] => !catalogue.of_version(group, version).is_empty(),
        ["openapi", "v3", path @ ..] => openapi::v3_root_hash(catalogue, &path.join("/")).is_some(),
        _ => false,
    }
}

/// An answer without a body or its type.
fn bare(code: u16, is_v2: bool) -> Response<Body> {
    let mut response = answer::bytes(code, "application/json", Bytes::new());
    response.headers_mut().remove(CONTENT_TYPE);
    if code == 406 {
        if is_v2 {
            response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    }
    response
}

/// To the newest document, for a client that names the hash of an older one.
fn moved(path: &str, hash: &str) -> Response<Body> {
    let mut response = answer::bytes(301, "application/json", Bytes::new());
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    for (name, value) in [(LOCATION, format!("/{path}?hash={hash}")), (ETAG, format!("\"{hash}\""))] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// The hash under which the index tells of the document of a group and version; it is the document's tag too.
fn version_hash(catalogue: &Catalogue, segments: &[&str]) -> Option<String> {
    match segments {
        ["openapi", "v3", "api", version] => openapi::v3_hash(catalogue, "", version),
        ["openapi", "v3", "apis", group, version] => openapi::v3_hash(catalogue, group, version),
        ["openapi", "v3", path @ ..] => openapi::v3_root_hash(catalogue, &path.join("/")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_everything_is_kept_however_many_others_are() {
        let (documents, catalogue, parts) = (Documents::default(), Arc::new(Catalogue::default()), Parts::default());
        let make = |path: &str| {
            let mut is_made = false;
            documents.get_or_make(&catalogue, &parts, path, || {
                is_made = true;
                Some(Vec::new())
            });
            is_made
        };
        let others = (0..DOCUMENTS_MAX).map(|number| format!("openapi/v3/apis/g/v{number}"));
        assert_eq!(others.filter(|path| make(path)).count(), DOCUMENTS_MAX);
        let whole = [V2_PATH.to_owned(), format!("{V2_PATH} as protobuf")];
        assert_eq!(whole.clone().map(|path| make(&path)), [true, true]);
        assert_eq!(whole.map(|path| make(&path)), [false, false]);
        assert!(documents.kept.lock().documents.len() <= DOCUMENTS_MAX + 2);
    }
}
