//! Update: the whole object is replaced.

use api::Status;
use api::decode::Target;
use axum::body::Body;
use http::Response;

use super::Call;
use crate::registry::{facts, update as registry};
use crate::{body, codec, content, managed, options};

/// Replaces an object, or the part of it that a subresource is.
///
/// # Errors
/// For bodies that do not decode, and whatever admission, validation or the store refuse them with.
pub async fn update(call: Call, body: Body) -> Result<Response<Body>, Status> {
    let format = content::body_format(&call.parts.headers)?;
    let bytes = body::read(body).await?;
    let ctx = &call.ctx;
    let object = codec::decode(ctx, &bytes, format, &Target::of(&call.resource))?;
    check_name(&call, &object)?;
    let target = call.target(options::to_value(&ctx.options, "UpdateOptions"));
    let creates = facts::allows_create_on_update(&target.storage);
    let mut change = |old: Option<&api::Object>| {
        let mut new = object.clone();
        if let Some(old) = old {
            managed::track_update(ctx, &target, old, &mut new)?;
        }
        Ok(new)
    };
    let updated = registry::update(ctx, &target, creates, &mut change).await?;
    call.respond(if updated.created { 201 } else { 200 }, updated.object)
}

/// The name in the object must be that in the path.
fn check_name(call: &Call, object: &api::Object) -> Result<(), Status> {
    let (found, wanted) = (object.name(), call.ctx.info.name.as_str());
    if found.is_empty() {
        return Err(Status::bad_request("name must be provided"));
    }
    if found != wanted {
        return Err(Status::bad_request(format!(
            "the name of the object ({found}) does not match the name on the URL ({wanted})"
        )));
    }
    let namespace = object.namespace();
    if call.resource.namespaced && !namespace.is_empty() && namespace != call.ctx.info.namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the URL ({})",
            call.ctx.info.namespace
        )));
    }
    Ok(())
}
