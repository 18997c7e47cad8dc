//! Get.

use api::Status;
use axum::body::Body;
use http::Response;
use store::Entry;

use super::{Call, goes_out_as_stored};
use crate::list::{not_older_than, parse_version};
use crate::registry::{read, store_status};
use crate::{answer, registry};

/// Answers with one object. A subresource that is a view of its parent answers with the parent.
///
/// # Errors
/// 404, or 504 if the version asked for does not come.
pub async fn get(call: Call) -> Result<Response<Body>, Status> {
    let ctx = &call.ctx;
    let version = call.query.text("resourceVersion");
    let requested = parse_version(version).map_err(registry::create::plain_failure)?.unwrap_or(0);
    let snapshot = match requested {
        0 => ctx.registry.snapshot(),
        _ => not_older_than(&ctx.registry, [&call.resource.group, &call.resource.plural], requested).await?,
    };
    let namespace = if call.resource.namespaced { ctx.info.namespace.as_str() } else { "" };
    let key = call.resource.key(namespace, &ctx.info.name);
    let Some(entry) = snapshot.get(&key) else {
        return Err(Status::not_found(&call.resource.group, &call.resource.plural, &ctx.info.name));
    };
    let entry = &*ctx.registry.entry(&call.resource, entry).await?;
    if goes_out_as_stored(&call.resource, &call.representation) {
        return Ok(answer::stored(200, &entry.value(), entry.mod_revision()));
    }
    let (entry, bytes) = (entry.clone(), entry.value().len());
    match call.workers_for(bytes) {
        Some(workers) => workers.run(converted(call, entry, key)).await,
        None => converted(call, entry, key).await,
    }
}

/// The object in another form than the one that is stored.
async fn converted(call: Call, entry: Entry, key: String) -> Result<Response<Body>, Status> {
    let entry = &entry;
    let object = read(entry).ok_or_else(|| store_status(&store::StoreError::Io(format!("{key} does not decode"))))?;
    call.respond(200, object).await
}
