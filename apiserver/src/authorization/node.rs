//! The Node authoriser: a node may touch what its pods use, and nothing else.
//!
//! Relations are read from the store's snapshot when they are asked for. What was found once (this pod of this node uses this
//! object) is remembered as a hint and checked again by looking at that one pod, so the usual request costs one look-up.

mod relations;

use std::sync::OnceLock;

use api::selector::FieldSelector;

use super::rule::Rule;
use super::{Answer, Attributes, Authorizer, Decision, Rules};
use crate::Registry;
use relations::{Relations, Target};

const USER_PREFIX: &str = "system:node:";
const GROUP: &str = "system:nodes";
/// The namespace of the leases by which nodes say that they live.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The Node authoriser.
#[derive(Default)]
pub struct NodeAuthorizer {
    relations: Relations,
    rules: OnceLock<Vec<Rule>>,
}

/// The node that a user is, if it is one; empty for a member of the group without a proper name.
pub fn node_of(user: &api::UserInfo) -> Option<&str> {
    let name = user.username.strip_prefix(USER_PREFIX)?;
    user.in_group(GROUP).then_some(name)
}

type Verdict = Result<(), String>;

fn no(reason: impl Into<String>) -> Verdict {
    Err(reason.into())
}

impl Authorizer for NodeAuthorizer {
    fn authorize<'a>(&'a self, attributes: Attributes<'a>, registry: &'a Registry) -> Answer<'a> {
        let decision = match node_of(attributes.user) {
            None => Decision::NoOpinion(String::new()),
            Some("") => Decision::NoOpinion(format!("unknown node for user {:?}", attributes.user.username)),
            Some(node) => match self.decide(node, &attributes, registry) {
                Ok(()) => Decision::Allow,
                Err(reason) => Decision::NoOpinion(reason),
            },
        };
        decision.into()
    }

    fn rules(&self, user: &api::UserInfo, _: &str, _: &Registry) -> Option<Rules> {
        let errors = vec!["node authorizer does not support user rule resolution".to_string()];
        Some(node_of(user).map_or_else(Rules::default, |_| Rules { errors, incomplete: true, ..Rules::default() }))
    }
}

impl NodeAuthorizer {
    fn decide(&self, node: &str, asked: &Attributes<'_>, registry: &Registry) -> Verdict {
        if asked.is_resource_request {
            match (asked.group, asked.resource) {
                ("", "secrets") => return self.read(node, Target::Secret, asked, registry),
                ("", "configmaps") => return self.read(node, Target::ConfigMap, asked, registry),
                ("", "persistentvolumeclaims") if asked.subresource == "status" => {
                    return match asked.verb {
                        "update" | "patch" => self.related(node, Target::Claim, asked, registry),
                        _ => no("can only get/update/patch this type"),
                    };
                }
                ("", "persistentvolumeclaims") => return self.get(node, Target::Claim, asked, registry),
                ("", "persistentvolumes") => return self.get(node, Target::Volume, asked, registry),
                ("resource.k8s.io", "resourceclaims") => {
                    return self.get(node, Target::ResourceClaim, asked, registry);
                }
                ("resource.k8s.io", "resourceslices") => return self.resource_slice(node, asked, registry),
                ("storage.k8s.io", "volumeattachments") => {
                    return self.get(node, Target::Attachment, asked, registry);
                }
                ("", "serviceaccounts") => return self.service_account(node, asked, registry),
                ("coordination.k8s.io", "leases") => return lease(node, asked),
                ("storage.k8s.io", "csinodes") => return csi_node(node, asked),
                ("", "nodes") => return own_node(node, asked),
                ("", "pods") => return self.pod(node, asked, registry),
                _ => {}
            }
        }
        let rules = self.rules.get_or_init(crate::bootstrap::node_rules);
        if rules.iter().any(|rule| rule.allows(asked)) { Ok(()) } else { no("") }
    }

    fn read(&self, node: &str, target: Target, asked: &Attributes<'_>, registry: &Registry) -> Verdict {
        if !matches!(asked.verb, "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !asked.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if asked.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, target, asked, registry)
    }

    fn get(&self, node: &str, target: Target, asked: &Attributes<'_>, registry: &Registry) -> Verdict {
        if asked.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !asked.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(node, target, asked, registry)
    }

    fn related(&self, node: &str, target: Target, asked: &Attributes<'_>, registry: &Registry) -> Verdict {
        if asked.name.is_empty() {
            return no("No Object name found");
        }
        if self.relations.has(&registry.snapshot(), node, target, asked.namespace, asked.name) {
            return Ok(());
        }
        no(format!("no relationship found between node '{node}' and this object"))
    }

    fn service_account(&self, node: &str, asked: &Attributes<'_>, registry: &Registry) -> Verdict {
        if asked.verb == "get" && asked.subresource.is_empty() {
            return self.read(node, Target::ServiceAccount, asked, registry);
        }
        if asked.verb != "create" || asked.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if asked.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, Target::ServiceAccount, asked, registry)
    }

    fn resource_slice(&self, node: &str, asked: &Attributes<'_>, registry: &Registry) -> Verdict {
        if !asked.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match asked.verb {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(node, Target::ResourceSlice, asked, registry),
            "watch" | "list" | "deletecollection" if pinned(asked, "spec.nodeName", node) => Ok(()),
            "watch" | "list" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no("only the following verbs are allowed for a ResourceSlice: \
                     get, watch, list, create, update, patch, delete, deletecollection"),
        }
    }

    fn pod(&self, node: &str, asked: &Attributes<'_>, registry: &Registry) -> Verdict {
        match (asked.subresource, asked.verb) {
            ("", "get") => self.get(node, Target::Pod, asked, registry),
            ("", "list" | "watch") if pinned(asked, "spec.nodeName", node) => Ok(()),
            ("", "list" | "watch") if !asked.name.is_empty() => self.related(node, Target::Pod, asked, registry),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => no(""),
        }
    }
}

/// Whether the field selector pins `field` to `value`. It is read as the list reads it: a comma may be part of a value.
fn pinned(asked: &Attributes<'_>, field: &str, value: &str) -> bool {
    let selector = FieldSelector::parse(asked.field_selector).unwrap_or_default();
    selector.requirements.iter().any(|term| !term.negated && term.field == field && term.value == value)
}

fn own_node(node: &str, asked: &Attributes<'_>) -> Verdict {
    match (asked.subresource, asked.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if asked.name == node => Ok(()),
        ("", "get" | "list" | "watch") if asked.name.is_empty() => {
            no(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            no(format!("node '{node}' cannot read '{}', only its own Node object", asked.name))
        }
        _ => no(""),
    }
}

fn lease(node: &str, asked: &Attributes<'_>) -> Verdict {
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if asked.namespace != LEASE_NAMESPACE {
        return no(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    if asked.verb != "create" && asked.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

fn csi_node(node: &str, asked: &Attributes<'_>) -> Verdict {
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !asked.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if asked.verb != "create" && asked.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Ok(())
}
