//! Create.

use api::Status;
use api::decode::Target;
use axum::body::Body;
use bytes::Bytes;
use http::Response;

use super::Call;
use crate::content::Format;
use crate::conversion::{self, Conversions};
use crate::plug::Operation;
use crate::registry;
use crate::registry::create::GivenVersion;
use crate::registry::prepare;
use crate::{codec, content, managed, options};

/// Creates an object, or hands it to what is plugged in for a resource that is not stored.
///
/// # Errors
/// For bodies that do not decode, and whatever admission, validation or the store refuse them with.
pub async fn create(call: Call, body: Body) -> Result<Response<Body>, Status> {
    let format = content::body_format(&call.parts.headers)?;
    let bytes = call.read_body(body).await?;
    match call.workers_for(bytes.len()) {
        Some(workers) => workers.run(created(call, bytes, format)).await,
        None => created(call, bytes, format).await,
    }
}

async fn created(call: Call, bytes: Bytes, format: Format) -> Result<Response<Body>, Status> {
    let ctx = &call.ctx;
    let kind = match call.subresource() {
        Some(subresource) => Target::of_subresource(&call.resource, subresource),
        None => Target::of(&call.resource),
    };
    let mut object = codec::decode(ctx, &bytes, format, &kind)?;
    ctx.sent(&object);
    let target = call.target(options::to_value(&ctx.options, "CreateOptions"));
    let endpoints = &ctx.registry.plugins().endpoints;
    let (group, plural) = (&call.resource.group, &call.resource.plural);
    if let Some(creater) = endpoints.find_creater(group, plural, &target.subresource) {
        if call.resource.namespaced {
            prepare::namespace(&target, &mut object)?;
        }
        prepare::owners(ctx, &mut object, "");
        managed::track_unstored(ctx, &kind, &target.subresource, &mut object);
        target.admit(ctx, Operation::Create, Some(&mut object), None).await?;
        target.validate(ctx, Operation::Create, Some(&object), None).await?;
        let answer = creater.create(ctx, &ctx.info.name, object).await?;
        return call.respond_as_is(201, answer);
    }
    if !target.subresource.is_empty() || !call.resource.stored() {
        return Err(super::method_not_allowed());
    }
    // What only the system sets is owned by nobody.
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        object.remove(&["metadata", field]);
    }
    prepare::owners(ctx, &mut object, "");
    let make = |conversions: &Conversions| {
        // It may be needed again where somebody has to be asked.
        let mut object = if conversion::asks(&call.resource) { object.clone() } else { std::mem::take(&mut object) };
        managed::track_create(ctx, &target, conversions, &mut object);
        object
    };
    let object = ctx.registry.with_conversions(&call.resource, make).await?;
    call.respond_written(registry::create::create(ctx, &target, object, GivenVersion::Refused).await?).await
}
