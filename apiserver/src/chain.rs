//! The stages of every request before its verb: authentication, impersonation, classification, a place, authorisation.

pub mod inflight;

use std::sync::Arc;

use api::catalogue::Resource;
use api::{Status, UserInfo};
use axum::body::Body;
use http::header::{HeaderName, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use metrics::Tally;

use crate::authentication::{anonymous, bearer, impersonation};
use crate::authorization::{self, Attributes};
use crate::content;
use crate::context::WriteOptions;
use crate::flow_control::Flow;
use crate::request::{Query, RequestInfo};
use crate::server::connections::Seat;
use crate::verbs::patch::{PatchType, patch_type};
use crate::{Context, Registry, answer, documents, options, verbs};
use inflight::{Inflight, TooMany};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const WARNING: HeaderName = HeaderName::from_static("warning");
/// Who asks without credentials.
const ANONYMOUS: &str = "system:anonymous";
/// How long an audit id from a client may be.
const AUDIT_ID_LENGTH_MAX: usize = 64;
/// How long all warnings of an answer together may be; more are cut short (`endpoints/filters/warning`).
const WARNINGS_BYTES_MAX: usize = 4 * 1024;

/// What a request turned out to be, for the metrics.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Whether it was allowed and came to something that there is: no other request is counted by what it asks for.
    pub counts: bool,
    /// Whether the server cut it short for its own sake.
    pub terminated: bool,
}

impl Outcome {
    /// The server cut the request short.
    pub fn terminated() -> Self {
        Self { terminated: true, ..Self::default() }
    }
}

/// Answers a request.
pub async fn handle(
    registry: &Registry,
    inflight: &Arc<Inflight>,
    request: Request<Body>,
    query: Query,
    info: Arc<RequestInfo>,
) -> (Response<Body>, Outcome) {
    let (parts, body) = request.into_parts();
    let representation = content::of_errors(&parts.headers, &query);
    let given = parts.headers.get(AUDIT_ID).filter(|id| id.len() <= AUDIT_ID_LENGTH_MAX).cloned();
    let mut notes = Notes::default();
    let answered = answer_request(registry, inflight, parts, body, query, info, &mut notes).await;
    let is_refused = answered.as_ref().is_err_and(|status| *status == TooMany.status());
    let mut response = match answered {
        _ if is_refused => answer::too_many_requests(),
        answered => answered.unwrap_or_else(|status| answer::error(&status, representation.as_ref())),
    };
    let headers = response.headers_mut();
    if let Some(id) = given.or_else(|| notes.audit_id.and_then(|id| HeaderValue::from_str(&id).ok())) {
        headers.insert(AUDIT_ID, id);
    }
    if let Some(flow) = notes.flow {
        registry.metrics().dispatched.with([&flow.schema, &flow.level], Tally::add_one);
        flow.set_headers(headers);
    }
    add_warnings(headers, notes.warnings);
    (response, Outcome { counts: notes.counts, terminated: is_refused })
}

/// What the answer's headers tell beside what the verb answers, also where that is an error.
#[derive(Default)]
struct Notes {
    warnings: Vec<String>,
    audit_id: Option<String>,
    flow: Option<Arc<Flow>>,
    counts: bool,
}

async fn answer_request(
    registry: &Registry,
    inflight: &Arc<Inflight>,
    mut parts: Parts,
    body: Body,
    query: Query,
    info: Arc<RequestInfo>,
    notes: &mut Notes,
) -> Result<Response<Body>, Status> {
    if let Some(error) = query.get("timeout").and_then(options::timeout_fault) {
        return Err(Status::bad_request(format!("invalid timeout specified in the request URL - {error}")));
    }
    let asker = authenticate(registry, &mut parts, &mut notes.warnings).await?;
    if let Some(seat) = parts.extensions.get::<Arc<Seat>>().filter(|_| asker.username != ANONYMOUS) {
        seat.set_known();
    }
    let asked = attributes(&asker, &info, &query);
    let user = impersonation::impersonate(&mut parts.headers, asked, &asker, registry).await?.unwrap_or(asker);
    notes.flow = classify(registry, &user, &info);
    // What has a body gets its place when that is there.
    let enters_later = takes_body(&info).then(|| inflight.clone());
    let place = match enters_later {
        Some(_) => None,
        None => inflight.enter(&user, &info).await.map_err(TooMany::status)?,
    };
    authorize(registry, attributes(&user, &info, &query)).await?;
    let resource = resource(registry, &info).await;
    notes.counts = counts(resource.as_deref(), &info);
    let is_write = info.is_resource_request && matches!(info.verb.as_str(), "create" | "update" | "patch");
    let options = if is_write { write_options(&parts, &query, &info)? } else { agent_options(&parts) };
    let ctx = Arc::new(Context::new(user, info, options, registry.clone()).limited(enters_later, place));
    notes.audit_id = Some(ctx.audit_id.clone());
    let answered = if ctx.info.is_resource_request {
        match resource {
            _ if !is_known(registry, resource.as_deref(), &ctx.info) => Ok(answer::page_not_found()),
            resource => verbs::dispatch(ctx.clone(), resource, parts, body, query).await,
        }
    } else if ctx.info.path.starts_with("//") {
        Ok(answer::page_not_found())
    } else {
        documents::answer(&ctx, &parts, &query).await
    };
    notes.warnings.extend(ctx.take_warnings());
    answered.map(|mut response| {
        // The place is held until the answer is written.
        if let Some(place) = ctx.take_place() {
            response.extensions_mut().insert(Arc::new(place));
        }
        response
    })
}

/// Whether a request is answered by one of the verbs that read a body.
fn takes_body(info: &RequestInfo) -> bool {
    info.is_resource_request && inflight::changes(info) && !info.is_long_running()
}

/// The row of the catalogue that a request is about, if there is one. Requests for what is not served, and for what
/// tells what is, wait for definitions whose status is ahead of the catalogue.
async fn resource(registry: &Registry, info: &RequestInfo) -> Option<Arc<Resource>> {
    let served = || registry.peek_catalogue().get(&info.group, &info.version, &info.resource).cloned();
    let found = if info.is_resource_request { served() } else { None };
    if found.is_none() && (info.is_resource_request || documents::tells_resources(&info.path)) {
        registry.state().catalogue_followed().await;
        return if info.is_resource_request { served() } else { None };
    }
    found
}

/// Whether a path leads into a group that is served.
fn is_known(registry: &Registry, resource: Option<&Resource>, info: &RequestInfo) -> bool {
    let has_group = || registry.peek_catalogue().iter().any(|resource| resource.group == info.group);
    !info.path.starts_with("//") && (resource.is_some() || has_group())
}

/// Whether there is what a request asks for: what anybody may think up is not kept apart in the metrics.
fn counts(resource: Option<&Resource>, info: &RequestInfo) -> bool {
    if !info.is_resource_request {
        return documents::is_measured(&info.path);
    }
    resource.is_some_and(|resource| info.subresource.is_empty() || resource.subresource(&info.subresource).is_some())
}

/// Who asks: the identity that an in-process caller put in, or what the first authenticator finds. Credentials end here.
async fn authenticate(
    registry: &Registry,
    parts: &mut Parts,
    warnings: &mut Vec<String>,
) -> Result<Arc<UserInfo>, Status> {
    if bearer::is_ignored(&parts.headers) {
        warnings.push(bearer::EXTRA_SPACE.into());
    }
    let user = identify(registry, parts).await?;
    bearer::clear(&mut parts.headers);
    Ok(user)
}

async fn identify(registry: &Registry, parts: &Parts) -> Result<Arc<UserInfo>, Status> {
    if let Some(user) = parts.extensions.get::<Arc<UserInfo>>() {
        return Ok(user.clone());
    }
    if let Some(user) = parts.extensions.get::<UserInfo>() {
        return Ok(Arc::new(user.clone()));
    }
    let started = registry.clock().instant();
    let found = recognise(registry, parts).await;
    let took = registry.clock().instant().saturating_duration_since(started);
    registry.metrics().authenticated(found.as_ref().ok().map(|user| user.username.as_str()), took);
    found
}

/// Asks the authenticators, in order.
async fn recognise(registry: &Registry, parts: &Parts) -> Result<Arc<UserInfo>, Status> {
    let mut failed = false;
    for authenticator in &registry.plugins().authenticators {
        match authenticator.authenticate(parts, registry).await {
            Ok(Some(user)) => return Ok(user),
            Ok(None) => {}
            Err(error) => {
                tracing::info!(%error, "a request could not be authenticated");
                failed = true;
            }
        }
    }
    if failed { Err(Status::unauthorized()) } else { Ok(anonymous()) }
}

/// Which flow the request belongs to; connections that last belong to none, but for watches.
fn classify(registry: &Registry, user: &UserInfo, info: &RequestInfo) -> Option<Arc<Flow>> {
    (info.verb == "watch" || !info.is_long_running()).then(|| registry.flows().classify(user, info))
}

async fn authorize(registry: &Registry, attributes: Attributes<'_>) -> Result<(), Status> {
    let started = registry.clock().instant();
    let allowed = authorization::authorize(attributes, registry).await;
    let took = registry.clock().instant().saturating_duration_since(started);
    registry.metrics().authorized(if allowed.is_ok() { "allowed" } else { "no-opinion" }, took);
    allowed
}

fn attributes<'a>(user: &'a UserInfo, info: &'a RequestInfo, query: &'a Query) -> Attributes<'a> {
    let selects = matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") && !info.is_watch_path();
    Attributes {
        user,
        verb: &info.verb,
        namespace: &info.namespace,
        group: &info.group,
        version: &info.version,
        resource: &info.resource,
        subresource: &info.subresource,
        name: &info.name,
        field_selector: if selects { query.text("fieldSelector") } else { "" },
        is_resource_request: info.is_resource_request,
        path: &info.path,
    }
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

/// `299 - "text"`, as much as fits.
fn add_warnings(headers: &mut http::HeaderMap, warnings: Vec<String>) {
    let mut left = WARNINGS_BYTES_MAX;
    for text in warnings {
        let mut quoted = String::with_capacity(text.len() + 8);
        for c in text.chars().filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        let value = format!("299 - \"{quoted}\"");
        if value.len() > left {
            return;
        }
        left -= value.len();
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(WARNING, value);
        }
    }
}
