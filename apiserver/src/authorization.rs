//! What a user may do: the superuser group, the Node authoriser and RBAC, in the reference's order and wording.

pub mod escalation;
pub mod node;
pub mod rbac;
pub mod review;
pub mod rule;

use std::sync::Arc;

use api::Status;

use crate::Registry;
pub use crate::plug::authorization::{Attributes, Authorizer, Decision};
pub use node::NodeAuthorizer;
pub use rbac::Rbac;

/// The authorisers of a cluster: `system:masters`, Node, RBAC.
pub fn authorizers(rbac: Arc<Rbac>) -> Vec<Arc<dyn Authorizer>> {
    vec![Arc::new(crate::plug::authorization::Masters), Arc::new(NodeAuthorizer::default()), rbac]
}

/// Asks every authoriser of the server in order.
pub async fn decide(attributes: Attributes<'_>, registry: &Registry) -> Decision {
    let mut reasons: Vec<String> = Vec::new();
    for authorizer in &registry.plugins().authorizers {
        match authorizer.authorize(attributes, registry).await {
            Decision::NoOpinion(reason) if reason.is_empty() => {}
            Decision::NoOpinion(reason) => reasons.push(reason),
            decided => {
                if let Some(kind) = authorizer.kind() {
                    registry.metrics().decided(kind, matches!(decided, Decision::Allow));
                }
                return decided;
            }
        }
    }
    Decision::NoOpinion(reasons.join("\n"))
}

/// Whether a request is allowed; if not, the answer to it.
///
/// # Errors
/// `Forbidden` with the reference's wording.
pub async fn authorize(attributes: Attributes<'_>, registry: &Registry) -> Result<(), Status> {
    match decide(attributes, registry).await {
        Decision::Allow => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(forbidden(&attributes, &reason)),
    }
}

/// `ForbiddenStatusError` in apiserver's `responsewriters`.
pub fn forbidden(attributes: &Attributes<'_>, reason: &str) -> Status {
    let mut why = forbidden_message(attributes).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if !reason.is_empty() {
        why.push_str(": ");
        why.push_str(reason);
    }
    Status::forbidden(attributes.group, attributes.resource, attributes.name, &why)
}

fn forbidden_message(attributes: &Attributes<'_>) -> String {
    let Attributes { verb, group, namespace, .. } = attributes;
    let user = &attributes.user.username;
    if !attributes.is_resource_request {
        return format!("User {user:?} cannot {verb} path {:?}", attributes.path);
    }
    let resource = match attributes.subresource {
        "" => attributes.resource.to_string(),
        subresource => format!("{}/{subresource}", attributes.resource),
    };
    let place = if namespace.is_empty() {
        "at the cluster scope".to_string()
    } else {
        format!("in the namespace {namespace:?}")
    };
    format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}")
}

#[cfg(test)]
mod tests;
