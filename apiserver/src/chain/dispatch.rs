//! The last stage: what the path leads to. The catalogue is asked once, here.

use std::sync::Arc;

use api::catalogue::Resource;
use api::{Status, UserInfo};
use axum::body::Body;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{Method, Response};

use super::Asked;
use super::audit::Event;
use super::inflight::TooMany;
use super::limit::Limited;
use crate::context::WriteOptions;
use crate::group_versions::Remote;
use crate::request::{Query, RequestInfo};
use crate::verbs::patch::{PatchType, patch_type};
use crate::{Context, Registry, aggregator, answer, documents, options, verbs};

/// A resource that is served.
pub struct Served {
    /// The row of the version that the client speaks.
    pub resource: Arc<Resource>,
    /// The row of the version that is stored, where that is another: most requests need not count one more user of it.
    pub stored_as: Option<Arc<Resource>>,
}

impl Served {
    fn find(registry: &Registry, info: &RequestInfo) -> Option<Self> {
        let catalogue = registry.catalogue();
        let resource = catalogue.get(&info.group, &info.version, &info.resource)?;
        let is_own = resource.storage_group == resource.group && resource.storage_version == resource.version;
        let stored_as = if is_own { None } else { catalogue.storage(resource).cloned() };
        Some(Self { resource: resource.clone(), stored_as })
    }
}

/// Answers a request that is authenticated, has its place, and is allowed.
///
/// # Errors
/// A `Status` for the client.
pub(super) async fn dispatch(
    registry: &Registry,
    user: Arc<UserInfo>,
    asked: Asked,
    limited: Limited,
    event: &mut Event,
) -> Result<Response<Body>, Status> {
    let remote = registry.group_versions().remote_at(&asked.info.path).cloned();
    if let Some(remote) = remote {
        return delegate(registry, user, asked, limited, &remote, event).await;
    }
    let Asked { parts, body, query, info } = asked;
    let served = find(registry, &info).await;
    event.counts = counts(served.as_ref(), &info);
    let is_write = info.is_resource_request && matches!(info.verb.as_str(), "create" | "update" | "patch");
    let options = if is_write { write_options(&parts, &query, &info)? } else { agent_options(&parts) };
    let time = query.get("timeout").and_then(options::timeout);
    let ctx = Context::new(user, info, options, registry.clone()).limited(limited).within(time);
    let ctx = Arc::new(ctx.audited(event.trail.clone()));
    event.audit_id = Some(ctx.audit_id.clone());
    if let (Some(encryption), Some(served)) = (&registry.config().encryption, &served) {
        encryption.check_opened(&served.resource, &ctx.info)?;
    }
    let answered = match served {
        _ if ctx.info.path.starts_with("//") => Ok(answer::page_not_found()),
        Some(served) => verbs::dispatch(ctx.clone(), served, parts, body, query).await,
        None if ctx.info.is_resource_request => verbs::no_resource(&ctx),
        None => documents::answer(&ctx, &parts, &query).await,
    };
    event.warnings.extend(ctx.take_warnings());
    answered.map(|response| keep_place(&ctx, response))
}

/// Has a request answered by the service that serves its group and version.
async fn delegate(
    registry: &Registry,
    user: Arc<UserInfo>,
    asked: Asked,
    limited: Limited,
    remote: &Remote,
    event: &mut Event,
) -> Result<Response<Body>, Status> {
    let Asked { parts, body, query, info } = asked;
    let ctx = Context::new(user, info, WriteOptions::default(), registry.clone()).limited(limited);
    let ctx = ctx.audited(event.trail.clone());
    event.audit_id = Some(ctx.audit_id.clone());
    // The body goes on as it comes, so that its place is needed from now on.
    ctx.enter().await.map_err(TooMany::status)?;
    // What lasts has its place until it begins, and the other server knows when that is (`RequestDelegated`).
    if ctx.info.is_long_running() {
        drop(ctx.take_place());
    }
    let response = aggregator::serve(&ctx, remote, parts, body, &query, event).await;
    Ok(keep_place(&ctx, response))
}

/// The place of a request is held until its answer is written. A watch keeps its own.
fn keep_place(ctx: &Context, mut response: Response<Body>) -> Response<Body> {
    if let Some(place) = ctx.take_place().filter(|_| !ctx.info.is_long_running()) {
        response.extensions_mut().insert(place);
    }
    response
}

/// The resource that a request is about, if there is one. Requests for what is not served, and for what tells what is, wait
/// for definitions whose status is ahead of the catalogue.
async fn find(registry: &Registry, info: &RequestInfo) -> Option<Served> {
    let find = || if info.is_resource_request { Served::find(registry, info) } else { None };
    match find() {
        None if info.is_resource_request || documents::tells_resources(&info.path) => {
            registry.state().catalogue_followed().await;
            find()
        }
        found => found,
    }
}

/// Whether there is what a request asks for: what anybody may think up is not kept apart in the metrics.
fn counts(served: Option<&Served>, info: &RequestInfo) -> bool {
    if !info.is_resource_request {
        return documents::is_measured(&info.path);
    }
    let has = |served: &Served| info.subresource.is_empty() || served.resource.subresource(&info.subresource).is_some();
    served.is_some_and(has)
}

fn write_options(parts: &Parts, query: &Query, info: &RequestInfo) -> Result<WriteOptions, Status> {
    let kind = match info.verb.as_str() {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        _ => "PatchOptions",
    };
    let content_type = parts.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let is_apply = parts.method == Method::PATCH && patch_type(content_type) == Some(PatchType::Apply);
    options::write_options(query, kind, agent(parts), is_apply)
}

fn agent_options(parts: &Parts) -> WriteOptions {
    WriteOptions { field_manager: api::apply::manager_name("", agent(parts)), ..Default::default() }
}

fn agent(parts: &Parts) -> &str {
    parts.headers.get(USER_AGENT).and_then(|v| std::str::from_utf8(v.as_bytes()).ok()).unwrap_or("")
}
