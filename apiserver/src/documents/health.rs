//! `/healthz`, `/livez` and `/readyz`, as a whole and check by check.

mod checks;

use std::collections::BTreeSet;
use std::fmt::Write;

use axum::body::Body;
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderValue, Response};

use crate::request::Query;
use crate::{Context, Registry, answer};
use checks::Check;
pub use checks::Endpoint;
pub use checks::store;

/// Answers if the path is one of a health endpoint.
pub fn answer(ctx: &Context, path: &str, query: &Query) -> Option<Response<Body>> {
    let (endpoint, rest) = Endpoint::of_path(path)?;
    if rest.is_empty() {
        return Some(all(ctx, endpoint, query));
    }
    let name = rest.strip_prefix('/')?;
    let check = checks::of(endpoint, &ctx.registry).find(|check| check.name == name);
    Some(match check.map(|check| check.run(&ctx.registry)) {
        None => answer::page_not_found(),
        Some(Ok(())) => answer::bytes(200, "text/plain; charset=utf-8", "ok"),
        Some(Err(why)) => no_sniff(answer::text(500, format!("internal server error: {why}\n"))),
    })
}

/// The paths of every endpoint and check.
pub fn paths(registry: &Registry) -> impl Iterator<Item = String> {
    Endpoint::ALL.into_iter().flat_map(move |endpoint| {
        let each = checks::of(endpoint, registry).map(move |check| format!("/{}/{}", endpoint.name(), check.name));
        std::iter::once(format!("/{}", endpoint.name())).chain(each)
    })
}

/// `handleRootHealth` in apiserver's `server/healthz`. Why a check failed is the log's business: anybody may ask.
fn all(ctx: &Context, endpoint: Endpoint, query: &Query) -> Response<Body> {
    let name = endpoint.name();
    let excluded: BTreeSet<&str> = query.all("exclude").collect();
    let mut unknown = excluded.clone();
    let mut report = String::new();
    let mut failed = Vec::new();
    for check in checks::of(endpoint, &ctx.registry) {
        let line = if excluded.contains(check.name) {
            unknown.remove(check.name);
            writeln!(report, "[+]{} excluded: ok", check.name)
        } else if let Err(why) = observed(ctx, check, endpoint) {
            failed.push(format!("{}: {why}", check.name));
            writeln!(report, "[-]{} failed: reason withheld", check.name)
        } else {
            writeln!(report, "[+]{} ok", check.name)
        };
        line.expect("a String can be written");
    }
    if !unknown.is_empty() {
        let unknown: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
        report.push_str("warn: some health checks cannot be excluded: no matches for ");
        report.push_str(&unknown.join(","));
        report.push('\n');
    }
    if !failed.is_empty() {
        tracing::debug!(endpoint = name, failed = failed.join("; "), "a health check failed");
        return no_sniff(answer::text(500, format!("{report}{name} check failed\n")));
    }
    let text = if query.get("verbose").is_some() { format!("{report}{name} check passed\n") } else { "ok".into() };
    no_sniff(answer::text(200, text))
}

/// Runs a check and counts how it went.
fn observed(ctx: &Context, check: &Check, endpoint: Endpoint) -> Result<(), String> {
    let result = check.run(&ctx.registry);
    ctx.registry.metrics().health(check.name, endpoint.name(), result.is_ok());
    result
}

fn no_sniff(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
