//! Connect: what is plugged in takes the whole request over.

use std::sync::Arc;

use api::Status;
use api::catalogue::Resource;
use axum::body::Body;
use http::request::Parts;
use http::{Request, Response};
use serde_json::json;

use crate::Context;
use crate::plug::{Connecter, Operation};
use crate::registry::target::Target;

/// Hands a request over, after admission has seen it.
///
/// # Errors
/// What admission refuses it with, or the connecter answers.
pub async fn connect(
    ctx: Arc<Context>,
    connecter: Arc<dyn Connecter>,
    resource: &Arc<Resource>,
    parts: Parts,
    body: Body,
) -> Result<Response<Body>, Status> {
    let target = Target {
        resource: resource.clone(),
        storage: resource.clone(),
        subresource: ctx.info.subresource.clone(),
        namespace: ctx.info.namespace.clone(),
        name: ctx.info.name.clone(),
        options: json!({}),
    };
    // Reading a log is a get and no connection to the pod.
    if ctx.info.subresource != "log" {
        target.admit(&ctx, Operation::Connect, None, None).await?;
        target.validate(&ctx, Operation::Connect, None, None).await?;
    }
    connecter.connect(ctx, Request::from_parts(parts, body)).await
}
