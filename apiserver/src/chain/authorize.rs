//! The sixth stage: whether who asks may.

use api::{Status, UserInfo};

use super::audit::Event;
use crate::Registry;
use crate::audit::Layer;
use crate::authorization::{self, Attributes, Decision};
use crate::request::{Query, RequestInfo};

/// Asks the authorisers.
///
/// # Errors
/// 403 if none allows it.
pub(super) async fn authorize(registry: &Registry, attributes: Attributes<'_>, event: &Event) -> Result<(), Status> {
    let started = registry.clock().instant();
    let (decision, reason) = match &event.trail {
        Some(_) => authorization::explain(attributes, registry).await,
        None => (authorization::decide(attributes, registry).await, String::new()),
    };
    let took = registry.clock().instant().saturating_duration_since(started);
    if let Some(trail) = &event.trail {
        trail.took(Layer::Authorization, took);
        let (decided, reason) = match &decision {
            Decision::Allow => (Some("allow"), reason),
            Decision::Deny(_) | Decision::NoOpinion(_) => (Some("forbid"), reason),
            Decision::Failed { .. } => (None, "internal error".to_string()),
        };
        if let Some(decided) = decided {
            trail.annotate("authorization.k8s.io/decision".into(), decided.into());
        }
        trail.annotate("authorization.k8s.io/reason".into(), reason);
    }
    registry.metrics().authorized(name_of(&decision), took);
    authorization::refusal(&attributes, decision).map_or(Ok(()), Err)
}

/// What a decision is counted as.
fn name_of(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow => "allowed",
        Decision::Deny(_) => "denied",
        Decision::NoOpinion(_) => "no-opinion",
        Decision::Failed { .. } => "error",
    }
}

/// What is asked for, of a user.
pub(super) fn attributes<'a>(user: &'a UserInfo, info: &'a RequestInfo, query: &'a Query) -> Attributes<'a> {
    let selects = matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") && !info.is_watch_path();
    let text = |name| if selects { query.text(name) } else { "" };
    let (field_selector, label_selector) = (text("fieldSelector"), text("labelSelector"));
    Attributes { field_selector, label_selector, ..Attributes::of(user, info) }
}
