//! What a node may write, and the taint that it begins with.

use std::collections::BTreeSet;

use api::{Object, Status};
use serde_json::{Value, json};

use super::{Attributes, Operation, forbidden, is};
use crate::authorization::node::node_of;

const MIRROR: &str = "kubernetes.io/config.mirror";
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// The labels of the `kubernetes.io` domains that a node may set on itself, and the domains it may.
const NODE_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const NODE_LABEL_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// `NodeRestriction`.
pub(super) fn restrict(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let user = &attributes.ctx.user;
    let Some(node) = node_of(user) else { return Ok(()) };
    let object = object.as_deref();
    let result = if node.is_empty() {
        Err(format!("could not determine node from user {:?}", user.username).into())
    } else {
        check(node, attributes, object)
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

fn check(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let resource = &attributes.resource;
    match (resource.group.as_str(), resource.plural.as_str(), attributes.subresource) {
        ("", "pods", "") => pod(node, attributes, object),
        ("", "pods", "status") => pod_status(node, attributes, object),
        ("", "pods", "eviction") => {
            if on_node(attributes, attributes.name)? == node {
                return Ok(());
            }
            no(format!("node {node} can only evict pods with spec.nodeName set to itself"))
        }
        ("", "pods", other) => {
            no(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
        }
        ("", "nodes", _) => own_node(node, attributes, object),
        ("", "persistentvolumeclaims", "status") => claim_status(node, attributes, object),
        ("", "persistentvolumeclaims", _) => no("may only update PVC status"),
        ("", "serviceaccounts", "token") => token(node, attributes, object),
        ("coordination.k8s.io", "leases", _) => lease(node, attributes, object),
        ("storage.k8s.io", "csinodes", _) => {
            let name = object.map_or(attributes.name, Object::name);
            if attributes.operation == Operation::Create && name != node {
                return no("can only create CSINode with the same name as the requesting node");
            }
            Ok(())
        }
        ("resource.k8s.io", "resourceslices", _) => {
            let of = object.or(attributes.old).map_or("", |slice| slice.str_at(&["spec", "nodeName"]));
            if of != node {
                return no("can only create or delete ResourceSlice with the same NodeName as the requesting node");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The node that a stored pod is bound to.
fn on_node(attributes: &Attributes<'_>, pod: &str) -> Result<String, Refusal> {
    let found = attributes.ctx.registry.get("", "pods", attributes.namespace, pod);
    let found = found.ok_or_else(|| Refusal::Status(Status::not_found("", "pods", pod)))?;
    Ok(found.str_at(&["spec", "nodeName"]).to_string())
}

fn pod(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    match (attributes.operation, object) {
        (Operation::Create, Some(pod)) => mirror_pod(node, attributes, pod),
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

fn mirror_pod(node: &str, attributes: &Attributes<'_>, pod: &Object) -> Checked {
    if pod.at(&["metadata", "annotations", MIRROR]).is_none() {
        return no(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if pod.str_at(&["spec", "nodeName"]) != node {
        return no(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
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
    let text = serde_json::to_string(&pod.0.get("spec")).unwrap_or_default();
    let references = [
        ("\"secretName\"", "secrets"),
        ("\"secretKeyRef\"", "secrets"),
        ("\"secretRef\"", "secrets"),
        ("\"configMap\"", "configmaps"),
        ("\"configMapKeyRef\"", "configmaps"),
        ("\"configMapRef\"", "configmaps"),
        ("\"persistentVolumeClaim\"", "persistentvolumeclaims"),
        ("\"serviceAccountToken\"", "serviceaccounts"),
        ("\"serviceAccountName\"", "serviceaccounts"),
        ("\"resourceClaims\"", "resourceclaims"),
    ];
    match references.iter().find(|(field, _)| text.contains(field)) {
        Some((_, resource)) => no(format!("node {node:?} can not create pods that reference {resource}")),
        None => Ok(()),
    }
}

fn pod_status(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let (Some(old), Some(new)) = (attributes.old, object) else {
        return no(format!("unexpected operation {:?}", attributes.operation.as_str()));
    };
    if old.str_at(&["spec", "nodeName"]) != node {
        return no(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    if old.at(&["metadata", "labels"]) != new.at(&["metadata", "labels"]) {
        return no(format!("node {node:?} cannot update labels through pod status"));
    }
    if old.at(&["status", "resourceClaimStatuses"]) != new.at(&["status", "resourceClaimStatuses"]) {
        return no(format!("node {node:?} cannot update resource claim statues"));
    }
    Ok(())
}

fn claim_status(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let (Some(old), Some(new)) = (attributes.old, object) else {
        return no(format!("unexpected operation {:?}", attributes.operation.as_str()));
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
    let Some(new) = object else { return Ok(()) };
    let labels = changed_labels(new, attributes.old);
    match attributes.operation {
        Operation::Create if !labels.is_empty() => {
            no(format!("node {node:?} is not allowed to set the following labels: {}", join(&labels)))
        }
        Operation::Update => {
            let same = |path: &[&str]| attributes.old.and_then(|old| old.at(path)) == new.at(path);
            if !same(&["spec", "taints"]) {
                return no(format!("node {node:?} is not allowed to modify taints"));
            }
            if !same(&["metadata", "ownerReferences"]) {
                return no(format!("node {node:?} is not allowed to modify ownerReferences"));
            }
            if !labels.is_empty() {
                return no(format!("is not allowed to modify labels: {}", join(&labels)));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn join(labels: &BTreeSet<String>) -> String {
    labels.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The labels that differ and that a node may not touch.
fn changed_labels(new: &Object, old: Option<&Object>) -> BTreeSet<String> {
    let labels = |object: Option<&Object>| {
        object.and_then(|o| o.at(&["metadata", "labels"])).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let (new, old) = (labels(Some(new)), labels(old));
    let changed = new.keys().chain(old.keys()).filter(|key| new.get(*key) != old.get(*key));
    changed.filter(|key| !may_set(key)).cloned().collect()
}

fn may_set(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |of: &str| domain == of || domain.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'));
    if within(RESTRICTED) {
        return false;
    }
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    NODE_LABELS.contains(&label) || NODE_LABEL_DOMAINS.iter().any(|of| within(of))
}

fn token(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let Some(request) = object.filter(|_| attributes.operation == Operation::Create) else { return Ok(()) };
    let field = |name: &str| request.str_at(&["spec", "boundObjectRef", name]);
    if (field("apiVersion"), field("kind")) != ("v1", "Pod") || field("name").is_empty() {
        return no("node requested token not bound to a pod");
    }
    if field("uid").is_empty() {
        return no("node requested token with a pod binding without a uid");
    }
    let name = field("name");
    let pod = attributes.ctx.registry.get("", "pods", attributes.namespace, name);
    let pod = pod.ok_or_else(|| Refusal::Status(Status::not_found("", "pods", name)))?;
    if pod.uid() != field("uid") {
        return no(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. \
             The object might have been deleted and then recreated",
            field("uid")
        ));
    }
    if pod.str_at(&["spec", "nodeName"]) != node {
        return no("node requested token bound to a pod scheduled on a different node");
    }
    audience(request, &pod)
}

/// A node may ask for the audiences only that the pod's own volumes name.
fn audience(request: &Object, pod: &Object) -> Checked {
    let audiences = request.at(&["spec", "audiences"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let wanted = match audiences {
        [] => "",
        [one] => one.as_str().unwrap_or(""),
        _ => return no("node may only request 0 or 1 audiences"),
    };
    let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_array).into_iter().flatten();
    let named = volumes
        .filter_map(|volume| volume.get("projected")?.get("sources")?.as_array())
        .flatten()
        .filter_map(|source| source.get("serviceAccountToken"))
        .any(|token| token.get("audience").and_then(Value::as_str).unwrap_or("") == wanted);
    if named {
        return Ok(());
    }
    no(format!("audience {wanted:?} not found in pod spec volume"))
}

fn lease(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    if attributes.namespace != "kube-node-lease" {
        return no("can only access leases in the \"kube-node-lease\" system namespace");
    }
    let name = match object {
        Some(object) if attributes.operation == Operation::Create => object.name(),
        _ => attributes.name,
    };
    if name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Ok(())
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
