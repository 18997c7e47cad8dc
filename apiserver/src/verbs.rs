//! What is done, one file a verb.

pub mod computed;
pub mod connect;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod patch;
pub mod scale;
pub mod update;
pub mod watch;

use std::sync::Arc;

use api::catalogue::{Resource, Subresource};
use api::{Object, Status};
use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Response};
use serde_json::Value;

use crate::chain::dispatch::Served;
use crate::chain::inflight::TooMany;
use crate::content::{Format, Representation, Transform, negotiate_among};
use crate::registry::Written;
use crate::registry::target::Target;
use crate::request::{Query, RequestInfo};
use crate::workers::{EXPENSIVE_BYTES, UsersWorkers};
use crate::{Context, answer, content, transform};

/// A request about a resource, once it is known which.
pub struct Call {
    /// Who asks what, and all that is needed to answer.
    pub ctx: Arc<Context>,
    /// Method, headers and extensions.
    pub parts: Parts,
    /// The query.
    pub query: Query,
    /// The row of the catalogue that is meant.
    pub resource: Arc<Resource>,
    /// The row of the version that is stored, where that is another.
    stored_as: Option<Arc<Resource>>,
    /// The representation that the client wants.
    pub representation: Representation,
}

impl Call {
    /// The subresource that is meant, if one is.
    pub fn subresource(&self) -> Option<&Subresource> {
        self.resource.subresource(&self.ctx.info.subresource)
    }

    /// The row of the version that is stored.
    pub fn storage(&self) -> &Arc<Resource> {
        self.stored_as.as_ref().unwrap_or(&self.resource)
    }

    /// The target of a write with these options.
    pub fn target(&self, options: Value) -> Target {
        Target {
            storage: self.storage().clone(),
            resource: self.resource.clone(),
            subresource: self.ctx.info.subresource.clone(),
            namespace: if self.resource.namespaced { self.ctx.info.namespace.clone() } else { String::new() },
            name: self.ctx.info.name.clone(),
            options,
            view: None,
        }
    }

    /// Checks that an object is the one that the path names.
    ///
    /// # Errors
    /// 400 if it is not.
    pub fn check_name(&self, object: &Object) -> Result<(), Status> {
        let (found, wanted) = (object.name(), self.ctx.info.name.as_str());
        if found.is_empty() {
            return Err(Status::bad_request(format!(
                "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
            )));
        }
        if found != wanted {
            return Err(Status::bad_request(format!(
                "the name of the object ({found}) does not match the name on the URL ({wanted})"
            )));
        }
        let (found, wanted) = (object.namespace(), self.ctx.info.namespace.as_str());
        if self.resource.namespaced && !found.is_empty() && found != wanted {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(why));
        }
        Ok(())
    }

    /// The request's body. Only when it is there does the request count among those under way.
    ///
    /// # Errors
    /// As [`Room::receive`](crate::body::Room::receive), and 429 if there is no place for the request.
    pub async fn read_body(&self, body: Body) -> Result<Bytes, Status> {
        let bodies = self.ctx.registry.state().bodies();
        let received = bodies.receive(body, &self.ctx.user).await?;
        self.ctx.enter().await.map_err(TooMany::status)?;
        let bytes = bodies.work_on(received, &self.ctx.user).await?;
        let verb = if self.ctx.info.verb == "deletecollection" { "delete_collection" } else { &self.ctx.info.verb };
        let labels = [&*self.resource.group, &*self.resource.plural, verb];
        self.ctx.registry.metrics().body_sizes.with(labels, |sizes| sizes.observe(bytes.len() as f64));
        Ok(bytes)
    }

    /// The threads for this request, if so many bytes have to be worked on for it that it takes more than a moment.
    pub fn workers_for(&self, bytes: usize) -> Option<UsersWorkers> {
        (bytes > EXPENSIVE_BYTES).then(|| self.ctx.registry.state().workers().of(self.ctx.user.clone()))
    }

    /// How long the object that is named is as it is stored, in bytes.
    pub fn stored_bytes(&self) -> usize {
        let namespace = if self.resource.namespaced { self.ctx.info.namespace.as_str() } else { "" };
        let key = self.resource.key(namespace, &self.ctx.info.name);
        self.ctx.registry.snapshot().get(&key).map_or(0, |entry| entry.value().len())
    }

    /// The user agent, or the empty string.
    pub fn user_agent(&self) -> &str {
        self.parts.headers.get(http::header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// Answers with a stored object.
    ///
    /// # Errors
    /// If it cannot be put in the form that the client wants.
    pub async fn respond(&self, code: u16, stored: Object) -> Result<Response<Body>, Status> {
        let object = self.ctx.registry.convert_one(&self.resource, stored, &self.resource.api_version()).await?;
        self.respond_as_is(code, object)
    }

    /// Answers with what was written: with the stored bytes, if they are what the client wants.
    ///
    /// # Errors
    /// If it cannot be put in the form that the client wants.
    pub async fn respond_written(&self, written: Written) -> Result<Response<Body>, Status> {
        let code = if written.created { 201 } else { 200 };
        match &written.encoded {
            Some((bytes, revision)) if goes_out_as_stored(&self.resource, &self.representation) => {
                Ok(answer::stored(code, bytes, *revision))
            }
            _ => self.respond(code, written.object).await,
        }
    }

    /// Answers with an object in the version of the request, or of another kind.
    ///
    /// # Errors
    /// If it cannot be put in the form that the client wants.
    pub fn respond_as_is(&self, code: u16, object: Object) -> Result<Response<Body>, Status> {
        let object = transform::one(&self.ctx, &self.resource, object, self.representation.transform, &self.query)?;
        answer::object(code, &object, &self.representation)
    }
}

/// Answers a request about a resource that is served.
///
/// # Errors
/// A `Status` for the client.
pub async fn dispatch(
    ctx: Arc<Context>,
    served: Served,
    parts: Parts,
    body: Body,
    query: Query,
) -> Result<Response<Body>, Status> {
    let info = &ctx.info;
    let Served { resource, stored_as } = served;
    if !has_shape(info, &resource)? {
        return no_resource(&ctx);
    }
    if !info.subresource.is_empty() {
        let Some(subresource) = resource.subresource(&info.subresource) else {
            let of_custom = || Status::not_found(&info.group, &info.resource, &info.name);
            return Err(if resource.custom { of_custom() } else { unknown_path() });
        };
        let endpoints = &ctx.registry.plugins().endpoints;
        if let Some(connecter) = endpoints.find_connecter(&resource.group, &resource.plural, &subresource.name) {
            return connect::connect(ctx.clone(), connecter, &resource, &query, parts, body).await;
        }
    }
    if let Some(warning) = resource.definition.as_ref().and_then(|d| d.deprecation_warning.as_ref()) {
        ctx.warn(warning.as_str());
    }
    if let Some(warning) = resource.flags.deprecated {
        ctx.warn(warning);
        let labels = [&*resource.group, &resource.version, &resource.plural, &info.subresource, ""];
        ctx.registry.metrics().deprecated.with(labels, |gauge| gauge.set(1.0));
    }
    check_route(&parts, &resource, info)?;
    let representation =
        negotiate_among(&parts.headers, &query, |format, transform| can_be_written(&resource, format, transform))?;
    check_path(info, &resource)?;
    let verb = ctx.info.verb.clone();
    let call = Call { ctx, parts, query, resource, stored_as, representation };
    route(call, &verb, body).await
}

/// Refuses names that cannot be part of a key (`NamespaceKeyFunc`).
fn check_path(info: &RequestInfo, resource: &Resource) -> Result<(), Status> {
    let (name, namespace) = (info.name.as_str(), info.namespace.as_str());
    if name.is_empty() && !info.subresource.is_empty() {
        return Err(Status::bad_request("name must be provided"));
    }
    let why = match name {
        "." | ".." => format!("may not be '{name}'"),
        _ if name.contains('%') => "may not contain '%'".to_string(),
        _ if matches!(namespace, "." | "..") => {
            return Err(Status::failure(500, "", format!("invalid key: \"/{}/{namespace}\"", resource.plural)));
        }
        _ => return Ok(()),
    };
    Err(Status::bad_request(format!("Name parameter invalid: {name:?}: {why}")))
}

/// What a path gets that names no resource: below a group of custom resources the plain answer.
pub(crate) fn no_resource(ctx: &Context) -> Result<Response<Body>, Status> {
    let catalogue = ctx.registry.catalogue();
    let mut of_group = catalogue.iter().filter(|r| r.group == ctx.info.group).map(|r| r.custom);
    if of_group.all(|custom| custom) { Ok(answer::page_not_found()) } else { Err(unknown_path()) }
}

/// Whether the path has the parts that the resource has: a namespace if it is in one, and nothing after the subresource.
fn has_shape(info: &RequestInfo, resource: &Resource) -> Result<bool, Status> {
    const PARTS_MAX: usize = 3;
    if info.parts.len() > PARTS_MAX && info.verb != "proxy" && info.subresource != "proxy" {
        return Ok(false);
    }
    if !resource.namespaced {
        let nested = !info.namespace.is_empty() && (resource.plural != "namespaces" || info.parts.len() == 1);
        return Ok(!nested);
    }
    if info.verb == "proxy" {
        return Ok(false);
    }
    let reads_all = matches!(info.verb.as_str(), "list" | "watch") && info.parts.len() == 1 && resource.stored();
    if !info.namespace.is_empty() || reads_all {
        return Ok(true);
    }
    // Across namespaces a collection is only read.
    let read_only = info.parts.len() == 1 && resource.stored() && !resource.custom;
    if read_only { Err(method_not_allowed()) } else { Ok(false) }
}

/// What the path's own rules say before anything is done: a method that it has, a media type that it can answer in, and
/// of patches one that it takes.
fn check_route(parts: &Parts, resource: &Resource, info: &RequestInfo) -> Result<(), Status> {
    let named = info.parts.len() > 1;
    let fits = match parts.method {
        Method::GET => true,
        Method::POST => !named || !info.subresource.is_empty(),
        Method::PUT | Method::PATCH => named,
        Method::DELETE => true,
        _ => false,
    };
    if !fits {
        return Err(method_not_allowed());
    }
    if parts.method == Method::PATCH {
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let kind = patch::patch_type(content_type);
        if resource.custom && kind.is_none_or(|kind| kind == patch::PatchType::Strategic) {
            return Err(content::unsupported_custom_patch());
        }
        if kind.is_none() {
            return Err(content::unsupported_patch());
        }
    }
    // Nothing looks at custom resources before their own handler negotiates.
    if resource.custom {
        return Ok(());
    }
    let streams = parts.method == Method::GET && (!named || info.is_watch_path());
    content::accepts(&parts.headers, streams)
}

/// Custom resources have no protobuf form, and tables have none either; what is not stored has no table.
fn can_be_written(resource: &Resource, format: Format, transform: Transform) -> bool {
    match (format, transform) {
        (Format::Protobuf, Transform::Table(_)) => false,
        (_, Transform::Table(_)) => resource.stored() || resource.has_verb("list"),
        (Format::Protobuf, Transform::None) => !resource.custom,
        _ => true,
    }
}

async fn route(call: Call, verb: &str, body: Body) -> Result<Response<Body>, Status> {
    let allowed: &[String] = match call.subresource() {
        Some(subresource) => &subresource.verbs,
        None => &call.resource.verbs,
    };
    if !call.resource.stored() && call.ctx.info.subresource.is_empty() {
        let endpoints = &call.ctx.registry.plugins().endpoints;
        match (verb, endpoints.find_lister(&call.resource.group, &call.resource.plural)) {
            ("get", Some(lister)) => return computed::get(&call, &*lister),
            ("list", Some(lister)) => return computed::list(&call, &*lister),
            ("watch", Some(_)) => return Err(computed::no_watch(&call)),
            _ => {}
        }
    }
    if !allowed.iter().any(|v| v == verb) {
        return Err(method_not_allowed());
    }
    match (verb, call.ctx.info.subresource.as_str()) {
        (_, "scale") => scale::handle(call, verb, body).await,
        ("get", _) => get::get(call).await,
        ("list", "") => list::list(call).await,
        ("watch", "") => watch::watch(call).await,
        ("create", _) => create::create(call, body).await,
        ("update", _) => update::update(call, body).await,
        ("patch", _) => patch::patch(call, body).await,
        ("delete", "") => delete::delete(call, body).await,
        ("deletecollection", "") => delete::delete_collection(call, body).await,
        _ => Err(method_not_allowed()),
    }
}

/// What a path below a known group and version gets that leads nowhere.
pub fn unknown_path() -> Status {
    Status::failure(404, "NotFound", "the server could not find the requested resource")
        .with_details(Default::default())
}

/// What a method gets that a path does not have.
pub fn method_not_allowed() -> Status {
    Status::failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        .with_details(Default::default())
}

/// Whether a stored object can go out as it is stored.
pub fn goes_out_as_stored(resource: &Resource, representation: &Representation) -> bool {
    representation.format == Format::Json
        && !representation.pretty
        && representation.transform == Transform::None
        && resource.group == resource.storage_group
        && resource.version == resource.storage_version
}
