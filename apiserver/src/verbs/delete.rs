//! Delete and deletecollection.

use api::{Object, Status};
use axum::body::Body;
use http::Response;

use super::Call;
use crate::codec;
use crate::content::{Representation, Transform};
use crate::list;
use crate::list::body as list_body;
use crate::options::{DeleteOptions, ListOptions};
use crate::registry::delete as registry;
use crate::registry::read;
use crate::registry::target::Target;
use crate::selection::Selection;
use crate::{answer, content, conversion, transform};

/// Deletes an object.
///
/// # Errors
/// 404, 409, or what admission or the store refuse it with.
pub async fn delete(call: Call, body: Body) -> Result<Response<Body>, Status> {
    let options = read_options(&call, body).await?;
    match call.workers_for(call.stored_bytes()) {
        Some(workers) => workers.run(deleted(call, options)).await,
        None => deleted(call, options).await,
    }
}

async fn deleted(call: Call, options: DeleteOptions) -> Result<Response<Body>, Status> {
    let target = call.target(options.to_value());
    let deleted = registry::delete(&call.ctx, &target, &options).await?;
    let code = if !deleted.gone && options.orphan_dependents == Some(false) { 202 } else { 200 };
    if deleted.gone && !target.storage.flags.return_deleted {
        let status = registry::success(&target, &deleted.object);
        let object = serde_json::to_value(&status).ok().and_then(Object::from_value);
        let object = object.ok_or_else(|| Status::internal("a status is no object"))?;
        return answer::object(code, &object, &Representation { transform: Transform::None, ..call.representation });
    }
    call.respond(code, deleted.object).await
}

/// Deletes what a list with the same options would show.
///
/// # Errors
/// The first error; what was deleted until then stays deleted.
pub async fn delete_collection(call: Call, body: Body) -> Result<Response<Body>, Status> {
    let options = read_options(&call, body).await?;
    let list_options = ListOptions::new(&call.query, false)?;
    let base = call.target(options.to_value());
    let selection = Selection::new(&call.resource, &base.storage, &list_options)?;
    let registry_handle = &call.ctx.registry;
    let page = list::page(registry_handle, &call.resource, &base.namespace, &selection, &list_options).await?;
    let mut items = Vec::with_capacity(page.entries.len());
    for entry in &page.entries {
        let Some(object) = read(entry) else { continue };
        let target =
            Target { namespace: object.namespace().to_string(), name: object.name().to_string(), ..base.clone() };
        match registry::delete(&call.ctx, &target, &options).await {
            Ok(_) => items.push(conversion::shown(&call.resource, object)?),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let bytes = page.entries.iter().map(|entry| entry.value().len()).sum();
    match call.workers_for(bytes) {
        Some(workers) => workers.run(async move { shown(&call, items, &page) }).await,
        None => shown(&call, items, &page),
    }
}

/// What was deleted, as a list.
fn shown(call: &Call, items: Vec<Object>, page: &list::Page) -> Result<Response<Body>, Status> {
    let metadata = list_body::metadata(page);
    let object = if call.representation.transform == content::Transform::None {
        let items: Vec<serde_json::Value> = items.into_iter().map(|item| super::list::untyped(call, item)).collect();
        let mut object = Object::default();
        object.set(&["kind"], call.resource.list_kind.as_str());
        object.set(&["apiVersion"], call.resource.api_version());
        object.set(&["metadata"], serde_json::Value::Object(list_body::plain_metadata(&call.resource, page)));
        object.set(&["items"], items);
        object
    } else {
        transform::many(&call.ctx, &call.resource, items, metadata, call.representation.transform, &call.query)?
    };
    answer::object(200, &object, &call.representation)
}

async fn read_options(call: &Call, body: Body) -> Result<DeleteOptions, Status> {
    let bytes = call.read_body(body).await?;
    let options = if bytes.is_empty() {
        DeleteOptions::new(None, &call.query)?
    } else {
        let format = content::body_format(&call.parts.headers)?;
        let object = codec::decode_options(&bytes, format, "DeleteOptions")?;
        call.ctx.sent(&object);
        DeleteOptions::new(Some(&object), &call.query)?
    };
    if options.propagation_policy.is_none()
        && options.orphan_dependents.is_none()
        && let Some(warning) = call.resource.flags.orphan_warning
    {
        call.ctx.warn(warning);
    }
    Ok(options)
}
