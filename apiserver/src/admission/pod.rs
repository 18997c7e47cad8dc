//! What pods are given on the way in: priority, and what their runtime class asks for.

use std::sync::Arc;

use api::{Object, Status};
use serde_json::Value;

use super::{Attributes, Operation, forbidden, is};
use crate::registry::create::plain_failure;

/// `Priority`, for pods.
pub(super) fn priority(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(pod) = object.filter(|_| is(attributes, "", "pods", "")) else { return Ok(()) };
    match attributes.operation {
        Operation::Create => resolve_priority(attributes, pod),
        Operation::Update => {
            for field in ["priority", "preemptionPolicy"] {
                let kept = attributes.old.and_then(|old| old.at(&["spec", field]));
                if let Some(kept) = kept.filter(|_| pod.at(&["spec", field]).is_none_or(Value::is_null)) {
                    pod.set(&["spec", field], kept.clone());
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn resolve_priority(attributes: &Attributes<'_>, pod: &mut Object) -> Result<(), Status> {
    let name = pod.str_at(&["spec", "priorityClassName"]).to_string();
    let class = if name.is_empty() {
        default_class(attributes)
    } else {
        let found = attributes.ctx.registry.get_shared("scheduling.k8s.io", "priorityclasses", "", &name);
        let why = || format!("no PriorityClass with name {name} was found");
        Some(found.ok_or_else(|| forbidden(attributes, Some(pod), &why()))?)
    };
    if let Some(class) = class.as_ref().filter(|_| name.is_empty()) {
        pod.set(&["spec", "priorityClassName"], class.name());
    }
    let value = class.as_ref().and_then(|class| class.at(&["value"])?.as_i64()).unwrap_or(0);
    let policy = match &class {
        Some(class) => class.str_at(&["preemptionPolicy"]).to_string(),
        None => "PreemptLowerPriority".to_string(),
    };
    if let Some(given) = pod.at(&["spec", "priority"]).and_then(Value::as_i64).filter(|given| *given != value) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; \
             priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(forbidden(attributes, Some(pod), &why));
    }
    pod.set(&["spec", "priority"], value);
    if policy.is_empty() {
        return Ok(());
    }
    let given = pod.at(&["spec", "preemptionPolicy"]).and_then(Value::as_str);
    if let Some(given) = given.filter(|given| *given != policy) {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(forbidden(attributes, Some(pod), &why));
    }
    pod.set(&["spec", "preemptionPolicy"], policy);
    Ok(())
}

fn default_class(attributes: &Attributes<'_>) -> Option<Arc<Object>> {
    let classes = attributes.ctx.registry.list_shared("scheduling.k8s.io", "priorityclasses");
    let defaults = classes.into_iter().filter(|class| class.at(&["globalDefault"]) == Some(&Value::Bool(true)));
    defaults.min_by_key(|class| class.at(&["value"]).and_then(Value::as_i64).unwrap_or(0))
}

/// `Priority`, for priority classes: only one may be the default.
pub(super) fn priority_class(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let Some(class) = object.filter(|_| is(attributes, "scheduling.k8s.io", "priorityclasses", "")) else {
        return Ok(());
    };
    if class.at(&["globalDefault"]) != Some(&Value::Bool(true)) {
        return Ok(());
    }
    match default_class(attributes) {
        Some(other) if attributes.operation == Operation::Create || other.name() != class.name() => {
            let why =
                format!("PriorityClass {} is already marked as default. Only one default can exist", other.name());
            Err(forbidden(attributes, object, &why))
        }
        _ => Ok(()),
    }
}

/// `LimitPodHardAntiAffinityTopology`: pods keep others off a node at most.
pub(super) fn anti_affinity(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let is_write = matches!(attributes.operation, Operation::Create | Operation::Update);
    let Some(pod) = object.filter(|_| is_write && is(attributes, "", "pods", "")) else { return Ok(()) };
    let path = ["spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    for term in pod.at(&path).and_then(Value::as_array).into_iter().flatten() {
        let key = term["topologyKey"].as_str().unwrap_or("");
        if key != "kubernetes.io/hostname" {
            let why = format!(
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key \
                 kubernetes.io/hostname is allowed"
            );
            return Err(Status::forbidden("", "pods", pod.name(), &why));
        }
    }
    Ok(())
}

/// `RuntimeClass`: overhead, node selector and tolerations of the class.
pub(super) fn runtime_class(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(pod) = object.filter(|_| is(attributes, "", "pods", "")) else { return Ok(()) };
    let name = pod.at(&["spec", "runtimeClassName"]).and_then(Value::as_str).map(String::from);
    let Some(name) = name.filter(|_| attributes.operation == Operation::Create) else { return Ok(()) };
    if let Some(why) = no_path_segment(&name) {
        return Err(plain_failure(why));
    }
    let Some(class) = attributes.ctx.registry.get_shared("node.k8s.io", "runtimeclasses", "", &name) else {
        return Err(forbidden(attributes, Some(pod), &format!("pod rejected: RuntimeClass {name:?} not found")));
    };
    if let Some(overhead) = class.at(&["overhead", "podFixed"]) {
        if pod.at(&["spec", "overhead"]).is_some_and(|given| given != overhead) {
            let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(forbidden(attributes, Some(pod), why));
        }
        pod.set(&["spec", "overhead"], overhead.clone());
    }
    let selector = class.at(&["scheduling", "nodeSelector"]).and_then(Value::as_object);
    for (key, value) in selector.into_iter().flatten() {
        if pod.at(&["spec", "nodeSelector", key]).is_some_and(|given| given != value) {
            let why = format!("conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}");
            return Err(forbidden(attributes, Some(pod), &why));
        }
        pod.set(&["spec", "nodeSelector", key], value.clone());
    }
    if let Some(Value::Array(more)) = class.at(&["scheduling", "tolerations"]) {
        let mut all = pod.at(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default();
        all.extend(more.iter().filter(|toleration| !all.contains(toleration)).cloned().collect::<Vec<_>>());
        pod.set(&["spec", "tolerations"], all);
    }
    Ok(())
}

/// `RuntimeClass`, once the pod is known to be good: overhead is what a class asks for.
pub(super) fn overhead(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let Some(pod) = object.filter(|_| is(attributes, "", "pods", "")) else { return Ok(()) };
    let has_class = pod.at(&["spec", "runtimeClassName"]).is_some_and(Value::is_string);
    let given = pod.at(&["spec", "overhead"]).is_some_and(Value::is_object);
    if attributes.operation != Operation::Create || has_class || !given {
        return Ok(());
    }
    let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    Err(forbidden(attributes, object, why))
}

/// What a client says of a name that cannot stand in a path.
pub(super) fn no_path_segment(name: &str) -> Option<String> {
    let why = match name {
        "" => return Some("resource name may not be empty".to_string()),
        "." | ".." => format!("may not be '{name}'"),
        _ if name.contains('/') => "may not contain '/'".to_string(),
        _ if name.contains('%') => "may not contain '%'".to_string(),
        _ => return None,
    };
    Some(format!("invalid resource name {name:?}: [{why}]"))
}

/// `PodTopologyLabels`: a pod carries zone and region of its node, which it gets with its binding.
pub(super) fn topology_labels(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(object) = object.filter(|_| attributes.operation == Operation::Create) else { return Ok(()) };
    let node = if is(attributes, "", "pods", "binding") || is(attributes, "", "bindings", "") {
        object.str_at(&["target", "name"])
    } else if is(attributes, "", "pods", "") {
        object.str_at(&["spec", "nodeName"])
    } else {
        ""
    };
    if node.is_empty() {
        return Ok(());
    }
    let Some(node) = attributes.ctx.registry.get("", "nodes", "", node) else { return Ok(()) };
    for label in ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"] {
        if let Some(value) = node.at(&["metadata", "labels", label]) {
            object.set(&["metadata", "labels", label], value.clone());
        }
    }
    Ok(())
}
