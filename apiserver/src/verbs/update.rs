//! Update: the whole object is replaced.

use api::Status;
use api::decode::Target;
use axum::body::Body;
use bytes::Bytes;
use http::Response;

use super::Call;
use crate::content::Format;
use crate::conversion::Conversions;
use crate::registry::prepare;
use crate::registry::update::{self as registry, Rules};
use crate::{codec, content, managed, options};

/// Replaces an object, or the part of it that a subresource is.
///
/// # Errors
/// For bodies that do not decode, and whatever admission, validation or the store refuse them with.
pub async fn update(call: Call, body: Body) -> Result<Response<Body>, Status> {
    let format = content::body_format(&call.parts.headers)?;
    let bytes = call.read_body(body).await?;
    match call.workers_for(bytes.len() + call.stored_bytes()) {
        Some(workers) => workers.run(updated(call, bytes, format)).await,
        None => updated(call, bytes, format).await,
    }
}

async fn updated(call: Call, bytes: Bytes, format: Format) -> Result<Response<Body>, Status> {
    let ctx = &call.ctx;
    let kind = Target::of(&call.resource);
    let object = codec::decode(ctx, &bytes, format, &kind)?;
    ctx.sent(&object);
    call.check_name(&object)?;
    let target = call.target(options::to_value(&ctx.options, "UpdateOptions"));
    let creates = target.storage.flags.create_on_update;
    let mut decoded = Some(object);
    let mut change = |old: Option<&api::Object>, conversions: &Conversions| {
        // It is only decoded again when it has to be made anew.
        let mut new = match decoded.take() {
            Some(object) => object,
            None => codec::decode(ctx, &bytes, format, &kind)?,
        };
        prepare::owners(ctx, &mut new, "");
        match old {
            Some(old) => managed::track_update(ctx, &target, conversions, old, &mut new),
            None => managed::track_create(ctx, &target, conversions, &mut new),
        }
        Ok(new)
    };
    let updated = registry::update(ctx, &target, Rules { creates, checks_uid: true }, &mut change).await?;
    call.respond_written(updated).await
}
