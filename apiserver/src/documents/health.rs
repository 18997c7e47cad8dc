//! `/healthz`, `/livez` and `/readyz`, as a whole and check by check.

use std::fmt::Write;

use axum::body::Body;
use http::Response;

use crate::request::Query;
use crate::{Context, answer};

/// The checks of every endpoint, in the order in which they are shown; the store's is `etcd` as in the reference,
/// because people look for that name.
const CHECKS: [&str; 3] = ["ping", "log", "etcd"];
const READY_CHECKS: [&str; 5] = ["ping", "log", "informer-sync", "poststarthook/rbac/bootstrap-roles", "shutdown"];

/// Answers if the path is one of a health endpoint.
pub fn answer(ctx: &Context, path: &str, query: &Query) -> Option<Response<Body>> {
    let (endpoint, check) = ["/healthz", "/livez", "/readyz"].into_iter().find_map(|endpoint| {
        let rest = path.strip_prefix(endpoint)?;
        if rest.is_empty() {
            Some((&endpoint[1..], None))
        } else {
            Some((&endpoint[1..], Some(rest.strip_prefix('/')?)))
        }
    })?;
    let checks: &[&str] = if endpoint == "readyz" { &READY_CHECKS } else { &CHECKS };
    if let Some(name) = check {
        return Some(match checks.contains(&name) {
            true if passes(ctx, name) => answer::bytes(200, "text/plain; charset=utf-8", "ok"),
            true => answer::text(500, format!("internal server error: {name} failed\n")),
            false => answer::page_not_found(),
        });
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut report = String::new();
    let mut failed = Vec::new();
    for name in checks {
        if excluded.contains(name) {
            let _ = writeln!(report, "[+]{name} excluded: ok");
        } else if passes(ctx, name) {
            let _ = writeln!(report, "[+]{name} ok");
        } else {
            let _ = writeln!(report, "[-]{name} failed: reason withheld");
            failed.push(*name);
        }
    }
    for name in excluded.iter().filter(|name| !checks.contains(name)) {
        let _ = writeln!(report, "warn: some health checks cannot be excluded: no matches for {name:?}");
    }
    if !failed.is_empty() {
        return Some(answer::text(500, format!("{report}{endpoint} check failed\n")));
    }
    if query.get("verbose").is_some() {
        return Some(answer::text(200, format!("{report}{endpoint} check passed\n")));
    }
    Some(answer::text(200, "ok"))
}

fn passes(ctx: &Context, check: &str) -> bool {
    let state = ctx.registry.state();
    match check {
        "poststarthook/rbac/bootstrap-roles" | "informer-sync" => state.is_ready(),
        // A store that has stopped takes no write any more, so neither does the server.
        "etcd" => ctx.registry.store().failure().is_none(),
        "shutdown" => !state.is_stopping(),
        _ => true,
    }
}
