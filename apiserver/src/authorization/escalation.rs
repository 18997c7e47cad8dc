//! Nobody grants by a role or a binding what they do not have (`ConfirmNoEscalation` in `registry/rbac/validation`).

use std::sync::Arc;

use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt};

use super::rbac::{GROUP, sum};
use super::rule::{Rule, not_covered, quoted};
use super::{Attributes, Decision, Rbac, decide};
use crate::plug::admission::{Admission, Attributes as Write, Operation};
use crate::registry::list;

/// Refuses roles and bindings that would give more than their writer has.
pub struct EscalationCheck {
    rbac: Arc<Rbac>,
}

impl EscalationCheck {
    /// Checks against the rules in `rbac`.
    pub fn new(rbac: Arc<Rbac>) -> Self {
        Self { rbac }
    }

    async fn check(&self, write: &Write<'_>, object: &Object) -> Result<(), Status> {
        if let Some(old) = write.old
            && changes_collection_only(old, object)
        {
            return Ok(());
        }
        let is_role = write.resource.plural.ends_with("roles");
        let (verb, resource, name) = if is_role {
            ("escalate", write.resource.plural.as_str(), write.ctx.info.name.as_str())
        } else {
            let resource = match object.str_at(&["roleRef", "kind"]) {
                "ClusterRole" => "clusterroles",
                _ => "roles",
            };
            ("bind", resource, object.str_at(&["roleRef", "name"]))
        };
        let attributes = Attributes {
            user: &write.ctx.user,
            verb,
            namespace: write.namespace,
            group: GROUP,
            version: "*",
            resource,
            subresource: "",
            name,
            field_selector: "",
            label_selector: "",
            is_resource_request: true,
            path: "",
        };
        if decide(attributes, &write.ctx.registry).await == Decision::Allow {
            return Ok(());
        }
        let rules = if is_role { Rule::list(object.at(&["rules"])) } else { self.referred(write, object)? };
        let refuse = |why: &str| Status::forbidden(GROUP, &write.resource.plural, object.name(), why);
        self.confirm(write, &rules).map_err(|why| refuse(&why))?;
        let aggregates = |role: &Object| {
            let selectors = role.at(&["aggregationRule", "clusterRoleSelectors"]).and_then(|s| s.as_array());
            selectors.is_some_and(|selectors| !selectors.is_empty())
        };
        if aggregates(object) || write.old.is_some_and(aggregates) {
            self.confirm(write, &full_authority())
                .map_err(|_| refuse("must have cluster-admin privileges to use the aggregationRule"))?;
        }
        Ok(())
    }

    fn referred(&self, write: &Write<'_>, binding: &Object) -> Result<Vec<Rule>, Status> {
        let name = binding.str_at(&["roleRef", "name"]);
        let (resource, shown, namespace) = match binding.str_at(&["roleRef", "kind"]) {
            "ClusterRole" => ("clusterroles", "clusterrole", ""),
            _ => ("roles", "role", write.namespace),
        };
        let role = write.ctx.registry.get(GROUP, resource, namespace, name);
        let role = role.ok_or_else(|| Status::not_found(GROUP, shown, name))?;
        // What a binding gives is the sum at once, whether or not that is written down already.
        let mut rules = Rule::list(role.at(&["rules"]));
        if resource == "clusterroles" && role.at(&["aggregationRule"]).is_some() {
            rules.extend(sum(&role, &list(&write.ctx.registry.snapshot(), GROUP, resource, "")));
        }
        Ok(rules)
    }

    fn confirm(&self, write: &Write<'_>, wanted: &[Rule]) -> Result<(), String> {
        let user = &write.ctx.user;
        let (held, errors) = self.rbac.index(&write.ctx.registry).rules_for(user, write.namespace);
        let missing = not_covered(&held, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let mut why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.username,
            quoted(&user.groups),
            missing.join("\n")
        );
        if !errors.is_empty() {
            why.push_str(&format!("; resolution errors: [{}]", errors.join(", ")));
        }
        Err(why)
    }
}

impl Admission for EscalationCheck {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    fn validate<'a>(&'a self, write: &'a Write<'a>, object: Option<&'a Object>) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            let concerned = write.resource.group == GROUP
                && write.subresource.is_empty()
                && matches!(write.operation, Operation::Create | Operation::Update)
                && !write.ctx.user.in_group("system:masters");
            match object {
                Some(object) if concerned => self.check(write, object).await,
                _ => Ok(()),
            }
        }
        .boxed()
    }
}

fn full_authority() -> [Rule; 2] {
    let all = || vec!["*".to_string()];
    [
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}

/// Whether a write changes nothing but what the garbage collector may, to let an object go (`IsOnlyMutatingGCFields`).
pub fn changes_collection_only(old: &Object, new: &Object) -> bool {
    without_collection_fields(old) == without_collection_fields(new)
}

fn without_collection_fields(object: &Object) -> Object {
    let mut object = object.clone();
    for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
        object.metadata_mut().remove(field);
    }
    object
}
