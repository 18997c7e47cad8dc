//! List.

use api::{Object, Status};
use axum::body::Body;
use http::Response;
use http::header::ACCEPT_ENCODING;
use serde_json::Value;

use super::{Call, goes_out_as_stored};
use crate::answer::{self, accepts_gzip};
use crate::list::{self, body};
use crate::options::ListOptions;
use crate::registry::read;
use crate::selection::Selection;
use crate::workers::EXPENSIVE_BYTES;
use crate::{content, conversion, transform};

/// Answers with a list.
///
/// # Errors
/// As [`list::page`], and for options and selectors that make no sense.
pub async fn list(call: Call) -> Result<Response<Body>, Status> {
    let options = ListOptions::new(&call.query, false)?;
    let ctx = &call.ctx;
    let selection = Selection::new(&call.resource, call.storage(), &options)?;
    let namespace = ctx.info.namespace.clone();
    let is_plain = selection.is_everything() && goes_out_as_stored(&call.resource, &call.representation);
    let workers = if is_plain { None } else { call.workers_for(listed_bytes(&call, &namespace)) };
    match workers {
        Some(workers) => workers.run(listed(call, options, selection, namespace)).await,
        None => listed(call, options, selection, namespace).await,
    }
}

/// How long the objects are that a list looks at, as far as that matters.
fn listed_bytes(call: &Call, namespace: &str) -> usize {
    let snapshot = call.ctx.registry.snapshot();
    let mut bytes = 0;
    for entry in snapshot.list(&call.resource.prefix(namespace), None) {
        bytes += entry.value().len();
        if bytes > EXPENSIVE_BYTES {
            break;
        }
    }
    bytes
}

async fn listed(
    call: Call,
    options: ListOptions,
    selection: Selection,
    namespace: String,
) -> Result<Response<Body>, Status> {
    let ctx = &call.ctx;
    let page = list::page(&ctx.registry, &call.resource, &namespace, &selection, &options).await?;
    let accepts = call.parts.headers.get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    if goes_out_as_stored(&call.resource, &call.representation) {
        return Ok(body::respond(&call.resource, page, accepts.is_some_and(accepts_gzip)));
    }
    let stored_bytes = page.entries.iter().map(|entry| entry.value().len()).sum();
    let making = ctx.registry.state().bodies().make(stored_bytes, &ctx.user).await?;
    let mut items = Vec::with_capacity(page.entries.len());
    for object in page.entries.iter().filter_map(read) {
        items.push(conversion::shown(&call.resource, object)?);
    }
    let metadata = body::metadata(&page);
    let object = if call.representation.transform == content::Transform::None {
        let items = items.into_iter().map(|item| untyped(&call, item)).collect();
        let mut object = Object::default();
        object.set(&["kind"], call.resource.list_kind.as_str());
        object.set(&["apiVersion"], call.resource.api_version());
        object.set(&["metadata"], Value::Object(body::plain_metadata(&call.resource, &page)));
        object.set(&["items"], Value::Array(items));
        object
    } else {
        transform::many(ctx, &call.resource, items, metadata, call.representation.transform, &call.query)?
    };
    let bytes = making.done(answer::encode(&object, &call.representation)?);
    let response = answer::bytes(200, content::media_type(call.representation.format), bytes.clone());
    Ok(answer::compress(&call.parts.headers, response, Some(&bytes)))
}

/// Items of built-in lists leave `apiVersion` and `kind` out.
pub(super) fn untyped(call: &Call, mut item: Object) -> Value {
    if !call.resource.custom {
        item.0.remove("apiVersion");
        item.0.remove("kind");
    }
    item.into_value()
}
