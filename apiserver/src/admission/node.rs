//! What a node may write, and the taint that it begins with.

mod labels;
mod pods;
mod signing;
mod token;

use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};

use super::{Admission, Attributes, Operation, forbidden, is};
use crate::authorization::node::node_of;

/// The plugin `NodeRestriction`.
pub(super) struct Restriction;

impl Admission for Restriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a mut Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move { restrict(attributes, object.as_deref()).await }.boxed()
    }
}

async fn restrict(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let user = &attributes.ctx.user;
    let Some(node) = node_of(user) else { return Ok(()) };
    let result = match (node, attributes.operation) {
        (_, Operation::Connect) => return Ok(()),
        ("", _) => no(format!("could not determine node from user {:?}", user.username)),
        _ => check(node, attributes, object).await,
    };
    result.map_err(|refusal| match refusal {
        Refusal::Why(why) => forbidden(attributes, object, &why),
        Refusal::Status(status) => status,
    })
}

enum Refusal {
    Why(String),
    Status(Status),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Why(why)
    }
}

type Checked = Result<(), Refusal>;

fn no(why: impl Into<String>) -> Checked {
    Err(Refusal::Why(why.into()))
}

fn unexpected(attributes: &Attributes<'_>) -> Checked {
    no(format!("unexpected operation {:?}", attributes.operation.as_str()))
}

async fn check(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let resource = &attributes.resource;
    match (resource.group.as_str(), resource.plural.as_str(), attributes.subresource) {
        ("", "pods", "") => pods::check(node, attributes, object),
        ("", "pods", "status") => pods::status(node, attributes, object),
        ("", "pods", "eviction") => pods::eviction(node, attributes, object),
        ("", "pods", other) => {
            no(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
        }
        ("", "nodes", _) => own_node(node, attributes, object),
        ("", "persistentvolumeclaims", "status") => claim_status(node, attributes, object),
        ("", "persistentvolumeclaims", _) => no("may only update PVC status"),
        ("", "serviceaccounts", "token") => token::check(node, attributes, object).await,
        ("coordination.k8s.io", "leases", _) => lease(node, attributes, object),
        ("storage.k8s.io", "csinodes", _) => own_name(node, attributes, object, "CSINode"),
        ("resource.k8s.io", "resourceslices", _) => slice(node, attributes, object),
        ("certificates.k8s.io", "certificatesigningrequests", _) => signing::request(node, attributes, object),
        _ => Ok(()),
    }
}

/// Whether two objects have the same there; nothing, null and what is empty are the same.
fn same(old: &Object, new: &Object, path: &[&str]) -> bool {
    let at = |object| -> Option<Value> {
        let found: Option<&Value> = Object::at(object, path);
        found.cloned().filter(|value| match value {
            Value::Null => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        })
    };
    at(old) == at(new)
}

fn claim_status(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let (Operation::Update, Some(old), Some(new)) = (attributes.operation, attributes.old, object) else {
        return unexpected(attributes);
    };
    let kept = |claim: &Object| {
        let mut claim = claim.clone();
        for field in ["resourceVersion", "managedFields"] {
            claim.metadata_mut().remove(field);
        }
        for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
            claim.remove(&["status", field]);
        }
        claim
    };
    if kept(old) != kept(new) {
        return no(format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        ));
    }
    Ok(())
}

fn own_node(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let name = match (attributes.name, object) {
        ("", Some(object)) => object.name(),
        (name, _) => name,
    };
    if name != node {
        return no(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    match (attributes.operation, object, attributes.old) {
        (Operation::Create, Some(new), _) => made_node(node, new),
        (Operation::Update, Some(new), Some(old)) => changed_node(node, new, old),
        _ => Ok(()),
    }
}

const CONFIG_SOURCE: [&str; 2] = ["spec", "configSource"];

fn made_node(node: &str, new: &Object) -> Checked {
    if new.at(&CONFIG_SOURCE).is_some_and(|source| !source.is_null()) {
        return no(format!("node {node:?} is not allowed to create pods with a non-nil configSource"));
    }
    match labels::forbidden(new, None) {
        Some(labels) => no(format!("node {node:?} is not allowed to set the following labels: {labels}")),
        None => Ok(()),
    }
}

fn changed_node(node: &str, new: &Object, old: &Object) -> Checked {
    if new.at(&CONFIG_SOURCE).is_some_and(|source| !source.is_null())
        && new.at(&CONFIG_SOURCE) != old.at(&CONFIG_SOURCE)
    {
        return no(format!("node {node:?} is not allowed to update configSource to a new non-nil configSource"));
    }
    if !same(old, new, &["spec", "taints"]) {
        return no(format!("node {node:?} is not allowed to modify taints"));
    }
    if !same(old, new, &["metadata", "ownerReferences"]) {
        return no(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    match labels::forbidden(new, Some(old)) {
        Some(labels) => no(format!("is not allowed to modify labels: {labels}")),
        None => Ok(()),
    }
}

fn lease(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    if attributes.namespace != "kube-node-lease" {
        return no("can only access leases in the \"kube-node-lease\" system namespace");
    }
    own_name(node, attributes, object, "node lease")
}

/// What is made, changed or deleted has the node's name; what is made says it itself.
fn own_name(node: &str, attributes: &Attributes<'_>, object: Option<&Object>, what: &str) -> Checked {
    let name = match object {
        Some(object) if attributes.operation == Operation::Create => object.name(),
        _ => attributes.name,
    };
    if name == node {
        return Ok(());
    }
    no(format!("can only access {what} with the same name as the requesting node"))
}

/// What is made and what is deleted; the authoriser sees the rest.
fn slice(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let (verb, slice) = match attributes.operation {
        Operation::Create => ("create", object),
        Operation::Delete => ("delete", attributes.old),
        _ => return Ok(()),
    };
    if slice.is_some_and(|slice| slice.str_at(&["spec", "nodeName"]) == node) {
        return Ok(());
    }
    no(format!("can only {verb} ResourceSlice with the same NodeName as the requesting node"))
}

/// `TaintNodesByCondition`: a node is not ready until it says so.
pub(super) fn taint_not_ready(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(node) = object.filter(|_| attributes.operation == Operation::Create) else { return Ok(()) };
    if !is(attributes, "", "nodes", "") {
        return Ok(());
    }
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let mut taints = node.at(&["spec", "taints"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let same = |other: &Value| other.get("key") == taint.get("key") && other.get("effect") == taint.get("effect");
    if !taints.iter().any(same) {
        taints.push(taint);
        node.set(&["spec", "taints"], taints);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
