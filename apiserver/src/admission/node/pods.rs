//! What a node may do to pods: its own, and of those it makes only mirrors that give it nothing.

use api::{Object, Status};
use serde_json::Value;

use super::super::references;
use super::{Attributes, Checked, Operation, Refusal, no, same, unexpected};

const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn check(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    match (attributes.operation, object) {
        (Operation::Create, Some(pod)) => mirror(node, attributes, pod),
        (Operation::Delete, _) => {
            if on_node(attributes, attributes.name)? == node {
                return Ok(());
            }
            no(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        (operation, _) => no(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            operation.as_str()
        )),
    }
}

pub(super) fn eviction(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    if attributes.operation != Operation::Create {
        return unexpected(attributes);
    }
    let name = match attributes.name {
        "" => object.map_or("", Object::name),
        name => name,
    };
    if name.is_empty() {
        return no("could not determine pod from request data");
    }
    if on_node(attributes, name)? == node {
        return Ok(());
    }
    no(format!("node {node} can only evict pods with spec.nodeName set to itself"))
}

/// The node that a stored pod is bound to.
fn on_node(attributes: &Attributes<'_>, pod: &str) -> Result<String, Refusal> {
    let found = attributes.ctx.registry.get("", "pods", attributes.namespace, pod);
    let found = found.ok_or_else(|| Refusal::Status(Status::not_found("", "pods", pod)))?;
    Ok(found.str_at(&["spec", "nodeName"]).to_string())
}

fn mirror(node: &str, attributes: &Attributes<'_>, pod: &Object) -> Checked {
    if pod.at(&["metadata", "annotations", MIRROR]).is_none() {
        return no(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if pod.str_at(&["spec", "nodeName"]) != node {
        return no(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    owner(node, attributes, pod)?;
    match references::of(pod) {
        Ok(None) => Ok(()),
        Ok(Some(objects)) => no(format!("node {node:?} can not create pods that reference {objects}")),
        Err(why) => no(format!("error checking mirror pod for API references: {why}")),
    }
}

/// The only owner is the node itself.
fn owner(node: &str, attributes: &Attributes<'_>, pod: &Object) -> Checked {
    let owners = pod.at(&["metadata", "ownerReferences"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let [owner] = owners else {
        let what = if owners.is_empty() { "an owner reference" } else { "a single owner reference" };
        return no(format!("node {node:?} can only create pods with {what} set to itself"));
    };
    let field = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or("");
    if (field("apiVersion"), field("kind"), field("name")) != ("v1", "Node", node) {
        return no(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if owner.get("controller") != Some(&Value::Bool(true)) {
        return no(format!("node {node:?} can only create pods with a controller owner reference set to itself"));
    }
    if owner.get("blockOwnerDeletion") == Some(&Value::Bool(true)) {
        return no(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    let stored = attributes.ctx.registry.get("", "nodes", "", node);
    let stored = stored.ok_or_else(|| Refusal::Status(Status::not_found("", "nodes", node)))?;
    if stored.uid() != field("uid") {
        return no(format!("node {node} UID mismatch: expected {} got {}", field("uid"), stored.uid()));
    }
    Ok(())
}

pub(super) fn status(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let (Operation::Update, Some(old), Some(new)) = (attributes.operation, attributes.old, object) else {
        return unexpected(attributes);
    };
    if old.str_at(&["spec", "nodeName"]) != node {
        return no(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    if !same(old, new, &["metadata", "labels"]) {
        return no(format!("node {node:?} cannot update labels through pod status"));
    }
    if !same(old, new, &["status", "resourceClaimStatuses"]) {
        return no(format!("node {node:?} cannot update resource claim statues"));
    }
    if !same(old, new, &["status", "extendedResourceClaimStatus"]) {
        return no(format!("node {node:?} cannot update extended resource claim status"));
    }
    Ok(())
}
