//! Changes of what a pod has, against the node that it is on.

use api::pods::{self, is_sidecar};
use api::quantity::Quantity;
use api::resources::ResourceList;
use api::status::StatusCause;
use api::{Object, Status};
use serde_json::{Map, Value};

use super::{Attributes, Operation, forbidden, is};

/// `NodeDeclaredFeatureValidator`: an update needs the features of its node that it makes use of
/// (`InferForUpdate` of each feature in k8s.io/component-helpers/nodedeclaredfeatures).
pub(super) fn declared_features(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let is_pod = is(attributes, "", "pods", "") || is(attributes, "", "pods", "resize");
    let Some((pod, old)) = changed(attributes, object).filter(|_| is_pod) else { return Ok(()) };
    let needed = needed(old, pod);
    if needed.is_empty() {
        return Ok(());
    }
    let node = node(attributes, pod)?;
    let declared = array(&node, &["status", "declaredFeatures"]);
    let missing: Vec<&str> =
        needed.into_iter().filter(|feature| !declared.iter().any(|declared| declared == feature)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (missing, name) = (missing.join(", "), node.name());
    let why = format!("pod update requires features {missing} which are not available on node {name:?}");
    Err(forbidden(attributes, object, &why))
}

/// `PodResizeValidator`: nothing is resized that its node could never hold.
pub(super) fn fits(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let resize = is(attributes, "", "pods", "resize");
    let Some((pod, _)) = changed(attributes, object).filter(|_| resize) else { return Ok(()) };
    let node = node(attributes, pod)?;
    let system = node.str_at(&["metadata", "labels", "kubernetes.io/os"]);
    let refused = |why: &str, reason: &str| {
        let mut status = forbidden(attributes, object, why);
        let cause = StatusCause { reason: reason.to_owned(), ..StatusCause::default() };
        status.details.get_or_insert_default().causes.push(cause);
        Err(status)
    };
    if !matches!(system, "" | "linux") {
        let why = format!("pod resize is only supported on linux nodes, node {:?} is {system:?}", node.name());
        return refused(&why, "UnsupportedPlatform");
    }
    let excess = excess(pod.at(&["spec"]).unwrap_or(&Value::Null), &node);
    if excess.is_empty() {
        return Ok(());
    }
    let why = format!("node didn't have enough allocatable resources: {}", excess.join("; "));
    refused(&why, "NodeCapacity")
}

/// The pod and what it was, if its specification changes while it is on a node.
fn changed<'a>(attributes: &Attributes<'a>, object: Option<&'a Object>) -> Option<(&'a Object, &'a Object)> {
    let (pod, old) = (object?, attributes.old?);
    let generation = |of: &Object| of.at(&["metadata", "generation"]).and_then(Value::as_i64);
    let is_update = attributes.operation == Operation::Update;
    let bound = !pod.str_at(&["spec", "nodeName"]).is_empty();
    (is_update && bound && generation(pod) != generation(old)).then_some((pod, old))
}

fn node(attributes: &Attributes<'_>, pod: &Object) -> Result<Object, Status> {
    let name = pod.str_at(&["spec", "nodeName"]);
    let found = attributes.ctx.registry.get("", "nodes", "", name);
    found.ok_or_else(|| forbidden(attributes, Some(pod), &format!("node {name:?} not found")))
}

/// The features that a change needs, in order.
fn needed(old: &Object, new: &Object) -> Vec<&'static str> {
    let whole = |pod: &Object| pod.at(&["spec", "resources"]).cloned().unwrap_or_default();
    let init = |pod: &Object| array(pod, &["spec", "initContainers"]).to_vec();
    let is_sidecar = |container: &Value| is_sidecar(container["restartPolicy"].as_str());
    let resized = init(old).iter().zip(init(new)).any(|(old, new)| {
        let none = Value::Object(Map::new());
        let resources = |of: &Value| of.get("resources").unwrap_or(&none).clone();
        !is_sidecar(old) && resources(old) != resources(&new)
    });
    let changes = [
        ("InPlacePodLevelResourcesVerticalScaling", !same(&whole(old), &whole(new))),
        ("InPlacePodVerticalScalingInitContainers", resized),
    ];
    changes.into_iter().filter_map(|(feature, needs)| needs.then_some(feature)).collect()
}

/// Whether two values differ at most in how they write amounts.
fn same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            old.len() == new.len() && old.iter().all(|(name, old)| new.get(name).is_some_and(|new| same(old, new)))
        }
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) if old != new => {
            matches!((Quantity::from_json(old), Quantity::from_json(new)), (Ok(old), Ok(new)) if old == new)
        }
        _ => old == new,
    }
}

/// The requests that a node could not hold if it were empty (`validateRequestsWithinAllocatable`).
fn excess(spec: &Value, node: &Object) -> Vec<String> {
    let requests = pods::requests::<_, ResourceList>(spec).0;
    let amounts = [("cpu", Quantity::milli_value as fn(&Quantity) -> i64), ("memory", Quantity::value)];
    let over = amounts.into_iter().filter_map(|(name, shown)| {
        let requested = requests.get(name)?;
        let allocatable = node.at(&["status", "allocatable", name]).and_then(|amount| Quantity::from_json(amount).ok());
        let allocatable = allocatable.unwrap_or_else(|| Quantity::new(0, requested.format()));
        let text = format!("{name}, requested: {}, allocatable: {}", shown(requested), shown(&allocatable));
        (*requested > allocatable).then_some(text)
    });
    over.collect()
}

fn array<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests;
