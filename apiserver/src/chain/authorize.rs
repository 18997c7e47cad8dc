//! The sixth stage: whether who asks may.

use api::{Status, UserInfo};

use crate::Registry;
use crate::authorization::{self, Attributes};
use crate::request::{Query, RequestInfo};

/// Asks the authorisers.
///
/// # Errors
/// 403 if none allows it.
pub(super) async fn authorize(registry: &Registry, attributes: Attributes<'_>) -> Result<(), Status> {
    let started = registry.clock().instant();
    let allowed = authorization::authorize(attributes, registry).await;
    let took = registry.clock().instant().saturating_duration_since(started);
    registry.metrics().authorized(if allowed.is_ok() { "allowed" } else { "no-opinion" }, took);
    allowed
}

/// What is asked for, of a user.
pub(super) fn attributes<'a>(user: &'a UserInfo, info: &'a RequestInfo, query: &'a Query) -> Attributes<'a> {
    let selects = matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") && !info.is_watch_path();
    let field_selector = if selects { query.text("fieldSelector") } else { "" };
    Attributes { field_selector, ..Attributes::of(user, info) }
}
