//! Paths that are no resources: health, version, metrics, discovery, OpenAPI.

mod backup;
pub mod discovery;
pub mod health;
pub mod openapi;
mod zpages;

use std::sync::Arc;

use api::Status;
use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use serde_json::{Value, json};

use crate::content::Representation;
use crate::flow_control::Dump;
use crate::request::Query;
use crate::{Context, Registry, answer, content, metrics};

/// What the document at `/version` is.
const VERSION_INFO: &str = "io.k8s.apimachinery.pkg.version.Info";

/// Answers a request for a document.
///
/// # Errors
/// A `Status` for the client.
pub async fn answer(ctx: &Arc<Context>, parts: &Parts, query: &Query) -> Result<Response<Body>, Status> {
    let path = ctx.info.path.as_str();
    if let Some(response) = health::answer(ctx, path, query) {
        return Ok(response);
    }
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let is_get = parts.method == Method::GET;
    if let Some(document) = ctx.registry.plugins().documents.get(path) {
        let representation = content::of_errors(&parts.headers, query).unwrap_or_default();
        return Ok(fixed(path, answer::json(200, document, &representation)));
    }
    match segments.as_slice() {
        [""] | ["index.html"] => Ok(answer::json(200, &paths(ctx), &pretty(Representation::default()))),
        ["version"] if !is_get => Err(crate::verbs::method_not_allowed()),
        ["version"] => {
            content::accepts_one_of(&parts.headers, &["application/json"], &[])?;
            Ok(answer::typed_json(200, &version(), Some(VERSION_INFO), &pretty(Representation::default())))
        }
        ["metrics"] => figures(ctx, metrics::text).await,
        ["metrics", "slis"] => figures(ctx, metrics::service_levels).await,
        ["coracle", "backup"] => backup::answer(ctx, &parts.method),
        ["statusz"] => zpages::answer(ctx, zpages::Page::Statusz, parts, query),
        ["flagz"] => zpages::answer(ctx, zpages::Page::Flagz, parts, query),
        ["api" | "apis", ..] => discovery::answer(ctx, parts, &segments, query),
        ["openapi", ..] if !path.ends_with('/') => openapi::answer(ctx, parts, &segments, query).await,
        _ => Ok(dump(ctx, query).unwrap_or_else(answer::page_not_found)),
    }
}

/// What is in the queues of flow control.
fn dump(ctx: &Context, query: &Query) -> Option<Response<Body>> {
    let (control, dump) = (ctx.registry.flow_control()?, Dump::at(&ctx.info.path)?);
    let details = !query.text("includeRequestDetails").is_empty();
    Some(answer::text(200, control.dump(&**ctx.registry.store(), dump, details)))
}

/// Figures as text, put together beside the runtime's workers: every object is counted.
async fn figures(ctx: &Context, text: fn(&Registry) -> String) -> Result<Response<Body>, Status> {
    let registry = ctx.registry.clone();
    let text = tokio::task::spawn_blocking(move || text(&registry)).await;
    let text = text.map_err(|error| Status::internal(format!("the figures could not be put together: {error}")))?;
    let mut response = answer::bytes(200, METRICS_TYPE, text);
    if let Some(started) = ::metrics::process::started() {
        response.headers_mut().insert(PROCESS_START, HeaderValue::from(started as u64));
    }
    Ok(response)
}

/// When the process began, as Prometheus' library for Go says it.
const PROCESS_START: HeaderName = HeaderName::from_static("process-start-time-unix");
/// Whether requests for a document are counted by its path: those that the reference counts so.
pub(crate) fn is_measured(path: &str) -> bool {
    matches!(path, "/healthz" | "/livez" | "/readyz" | "/api" | "/apis" | "/statusz" | "/flagz" | "/openapi/v3")
}

/// Whether a document tells which resources are served.
pub(crate) fn tells_resources(path: &str) -> bool {
    path.starts_with("/apis") || path.starts_with("/openapi/")
}

/// The text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Documents about tokens may be kept for a while.
fn fixed(path: &str, mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    if path.ends_with("jwks") {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    }
    response
}

fn pretty(representation: Representation) -> Representation {
    Representation { pretty: true, ..representation }
}

/// Every path that is served, for `/`.
fn paths(ctx: &Context) -> Value {
    json!({ "paths": path_list(ctx) })
}

fn path_list(ctx: &Context) -> Vec<String> {
    let catalogue = ctx.registry.catalogue();
    let mut paths: Vec<String> = Vec::new();
    for resource in catalogue.iter() {
        let (group, version) = (&resource.group, &resource.version);
        if group.is_empty() {
            paths.push("/api".into());
            paths.push(format!("/api/{version}"));
        } else {
            paths.push("/apis".into());
            paths.push("/apis/".into());
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    for remote in ctx.registry.group_versions().remotes().iter().filter(|remote| !remote.group.is_empty()) {
        paths.push(format!("/apis/{}", remote.group));
        paths.push(remote.path());
    }
    let fixed = [
        "/.well-known/openid-configuration",
        "/coracle/backup",
        "/flagz",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/statusz",
        "/version",
    ];
    paths.extend(fixed.map(String::from));
    paths.extend(health::paths(&ctx.registry));
    paths.sort();
    paths.dedup();
    paths
}

/// The document of `/version`.
pub fn version() -> Value {
    let (major, minor) = api::major_and_minor().split_once('.').unwrap_or_default();
    // Components may be as old as the version before.
    let before = minor.parse::<u32>().unwrap_or_default().saturating_sub(1).to_string();
    json!({
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": before,
        "gitVersion": format!("{}+coracle", api::VERSION),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "rust",
        "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "x86_64") { "amd64" } else { std::env::consts::ARCH }),
    })
}
