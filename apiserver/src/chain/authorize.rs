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
