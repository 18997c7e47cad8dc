//! What a user may do: the superuser group, and those whom the configuration lists, the Node authoriser and RBAC as a rule; in the
//! reference's order and wording.

pub mod abac;
pub mod configured;
pub mod escalation;
pub mod node;
pub mod options;
pub mod rbac;
pub mod review;
pub mod rule;
pub mod webhook;

use std::sync::Arc;

use api::Status;
use api::identity::aggregate_texts;

use crate::Registry;
use crate::plug::authorization::Masters;
pub use crate::plug::authorization::{Answer, Attributes, Authorizer, Authorizers, Decision, Named, Rules};
pub use abac::Abac;
pub use node::NodeAuthorizer;
pub use rbac::Rbac;

/// The authorisers of a cluster of which nothing else is said: `system:masters`, Node, RBAC.
pub fn authorizers(rbac: &Arc<Rbac>) -> Authorizers {
    let named = |kind: &'static str, authorizer| Named { kind, name: kind.to_lowercase(), authorizer };
    let masters = Named { kind: "", name: String::new(), authorizer: Arc::new(Masters) };
    Authorizers::new(vec![masters, named("Node", Arc::new(NodeAuthorizer::default())), named("RBAC", rbac.clone())])
}

/// Asks every authoriser of the server in order (`unionAuthzHandler`).
pub async fn decide(attributes: Attributes<'_>, registry: &Registry) -> Decision {
    ask(attributes, registry).await.0
}

/// The same with why it is, which is not looked up where nobody wants to know it.
pub async fn explain(attributes: Attributes<'_>, registry: &Registry) -> (Decision, String) {
    match ask(attributes, registry).await {
        (Decision::Allow, Some(by)) => (Decision::Allow, by.reason(&attributes, registry)),
        (Decision::Deny(reason), _) => (Decision::Deny(reason.clone()), reason),
        (Decision::NoOpinion(reason), _) => (Decision::NoOpinion(reason.clone()), reason),
        (decision, _) => (decision, String::new()),
    }
}

/// What was decided, and by whom if somebody did.
async fn ask(attributes: Attributes<'_>, registry: &Registry) -> (Decision, Option<Arc<dyn Authorizer>>) {
    let (mut reasons, mut faults) = (Vec::new(), Vec::new());
    let all = registry.plugins().authorizers.current();
    for one in all.iter() {
        let decision = match one.authorizer.authorize(attributes, registry) {
            Answer::Now(decision) => decision,
            Answer::Later(decision) => decision.await,
        };
        match decision {
            Decision::NoOpinion(reason) if reason.is_empty() => {}
            Decision::NoOpinion(reason) => reasons.push(reason),
            Decision::Failed { why, denies: false } => faults.push(why),
            decided => {
                if !one.kind.is_empty() {
                    registry.metrics().decided(one.kind, &one.name, decided == Decision::Allow);
                }
                return (decided, Some(one.authorizer.clone()));
            }
        }
    }
    match aggregate_texts(faults) {
        Some(why) => (Decision::Failed { why, denies: false }, None),
        None => (Decision::NoOpinion(reasons.join("\n")), None),
    }
}

/// Whether a request is allowed; if not, the answer to it.
///
/// # Errors
/// `Forbidden` with the reference's wording; 500 if it could not be found out.
pub async fn authorize(attributes: Attributes<'_>, registry: &Registry) -> Result<(), Status> {
    refusal(&attributes, decide(attributes, registry).await).map_or(Ok(()), Err)
}

/// The answer to a request of which this was decided; none if it is allowed.
pub fn refusal(attributes: &Attributes<'_>, decision: Decision) -> Option<Status> {
    match decision {
        Decision::Allow => None,
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Some(forbidden(attributes, &reason)),
        // `InternalError` in apiserver's `responsewriters`.
        Decision::Failed { why, .. } => {
            Some(Status::internal(format!("Internal Server Error: {:?}: {why}", attributes.path)))
        }
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
