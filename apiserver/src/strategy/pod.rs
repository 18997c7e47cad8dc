//! Pods: their first status, what of them may change, and how long they take to go.

pub mod binding;
pub mod eviction;
mod quality;
mod update;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::{Value, json};

use super::Strategy;
use crate::Context;

/// Pods.
pub(super) struct Pod;

/// `pods/status`.
pub(super) struct PodStatus;

/// `pods/ephemeralcontainers`.
pub(super) struct EphemeralContainers;

/// `pods/resize`.
pub(super) struct Resize;

const MIRROR: &str = "kubernetes.io/config.mirror";
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

fn array<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

impl Strategy for Pod {
    fn prepare_for_create(&self, ctx: &Context, new: &mut Object) {
        // A negative grace period means the shortest one.
        if new.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64).is_some_and(|number| number < 0) {
            new.set(&["spec", "terminationGracePeriodSeconds"], 1);
        }
        let now = crate::clock::time(ctx.registry.clock().now());
        let mut status = json!({"phase": "Pending", "qosClass": quality::class(new)});
        if !array(new, &["spec", "schedulingGates"]).is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": now,
            }]);
        }
        new.set(&["status"], status);
    }

    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        // Ephemeral containers have their own subresource, and a deprecated field follows the one it stands for.
        keep(new, old, &["spec", "ephemeralContainers"]);
        let account = new.str_at(&["spec", "serviceAccountName"]).to_string();
        if !account.is_empty() {
            new.set(&["spec", "serviceAccount"], account);
        }
    }

    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        old.map(|old| update::errors(new, old)).unwrap_or_default()
    }

    fn grace_period(&self, _: &Context, object: &Object, requested: Option<i64>) -> Option<i64> {
        let own = || object.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0);
        let period = requested.unwrap_or_else(own);
        let is_over = matches!(object.str_at(&["status", "phase"]), "Failed" | "Succeeded");
        if object.str_at(&["spec", "nodeName"]).is_empty() || is_over {
            return Some(0);
        }
        Some(if period < 0 { 1 } else { period })
    }
}

impl Strategy for PodStatus {
    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        keep(new, old, &["metadata", "ownerReferences"]);
        if new.str_at(&["status", "qosClass"]).is_empty() {
            keep(new, old, &["status", "qosClass"]);
        }
    }

    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        let mut errors = ErrorList::new();
        let Some(old) = old else { return errors };
        let quality = |pod: &Object| pod.str_at(&["status", "qosClass"]).to_string();
        if quality(new) != quality(old) {
            errors.push(FieldError::invalid(&Path::new("status.qosClass"), quality(new), "field is immutable"));
        }
        let nominated = |pod: &Object| pod.str_at(&["status", "nominatedNodeName"]).to_string();
        let bound = !old.str_at(&["spec", "nodeName"]).is_empty();
        if bound && !nominated(new).is_empty() && nominated(new) != nominated(old) {
            let why = "may not be set on pods that are already bound to a node";
            errors.push(FieldError::forbidden(&Path::new("status.nominatedNodeName"), why));
        }
        errors
    }

    fn grace_period(&self, ctx: &Context, object: &Object, requested: Option<i64>) -> Option<i64> {
        Pod.grace_period(ctx, object, requested)
    }
}

impl Strategy for EphemeralContainers {
    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        let containers = new.at(&["spec", "ephemeralContainers"]).cloned();
        only(new, old);
        if let Some(containers) = containers {
            new.set(&["spec", "ephemeralContainers"], containers);
        }
    }

    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        let path = Path::new("spec").child("ephemeralContainers");
        let mut errors = ErrorList::new();
        let Some(old) = old else { return errors };
        if old.at(&["metadata", "annotations", MIRROR]).is_some() {
            return vec![FieldError::forbidden(&Path::root(), "static pods do not support ephemeral containers")];
        }
        let mut names: Vec<&str> =
            CONTAINER_LISTS[..2].iter().flat_map(|list| array(new, &["spec", list])).map(|c| text(c, "name")).collect();
        let targets: Vec<&str> = names.clone();
        for (index, container) in array(new, &["spec", "ephemeralContainers"]).iter().enumerate() {
            let (at, name) = (path.index(index), text(container, "name"));
            if name.is_empty() {
                errors.push(FieldError::required(&at.child("name"), ""));
            } else if names.contains(&name) {
                errors.push(FieldError::duplicate(&at.child("name"), name));
            }
            names.push(name);
            let target = text(container, "targetContainerName");
            if !target.is_empty() && !targets.contains(&target) {
                errors.push(FieldError::not_found(&at.child("targetContainerName"), target));
            }
            for field in ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"] {
                if container.get(field).is_some_and(|value| !value.is_null()) {
                    let why = "cannot be set for an Ephemeral Container";
                    errors.push(FieldError::forbidden(&at.child(field), why));
                }
            }
        }
        for before in array(old, &["spec", "ephemeralContainers"]) {
            let name = text(before, "name");
            let after = array(new, &["spec", "ephemeralContainers"]).iter().find(|c| text(c, "name") == name);
            match after {
                None => {
                    let why = format!("existing ephemeral containers {name:?} may not be removed\n");
                    errors.push(FieldError::forbidden(&path, why));
                }
                Some(after) if after != before => {
                    let why = format!("existing ephemeral containers {name:?} may not be changed\n");
                    errors.push(FieldError::forbidden(&path, why));
                }
                Some(_) => {}
            }
        }
        errors
    }
}

impl Strategy for Resize {
    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        let asked = new.clone();
        only(new, old);
        for list in &CONTAINER_LISTS[..2] {
            let mut containers = array(old, &["spec", list]).to_vec();
            for container in &mut containers {
                let name = text(container, "name").to_string();
                let Some(wanted) = array(&asked, &["spec", list]).iter().find(|c| text(c, "name") == name) else {
                    continue;
                };
                for field in ["resources", "resizePolicy"] {
                    if let Some(value) = wanted.get(field) {
                        container[field] = value.clone();
                    }
                }
            }
            if !containers.is_empty() {
                new.set(&["spec", list], containers);
            }
        }
    }

    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        let Some(old) = old else { return ErrorList::new() };
        if old.at(&["metadata", "annotations", MIRROR]).is_some() {
            return vec![FieldError::forbidden(&Path::root(), "static pods cannot be resized")];
        }
        if quality::class(new) != quality::class(old) {
            let why = "Pod QOS Class may not change as a result of resizing";
            return vec![FieldError::invalid(&Path::new("spec"), quality::class(new), why)];
        }
        ErrorList::new()
    }
}

/// The old pod, with the new one's version and managed fields: the rest is for the caller to put in.
fn only(new: &mut Object, old: &Object) {
    let mut pod = old.clone();
    for field in ["resourceVersion", "managedFields", "uid"] {
        keep(&mut pod, new, &["metadata", field]);
    }
    *new = pod;
}

fn keep(new: &mut Object, old: &Object, path: &[&str]) {
    match old.at(path) {
        Some(value) => new.set(path, value.clone()),
        None => {
            new.remove(path);
        }
    }
}

/// Sets a condition; its time changes only with its status (`UpdatePodCondition`).
pub(crate) fn set_condition(pod: &mut Object, kind: &str, now: &str, fields: &[(&str, &str)]) {
    let mut conditions = array(pod, &["status", "conditions"]).to_vec();
    let place = conditions.iter().position(|condition| text(condition, "type") == kind);
    let mut condition = json!({"type": kind, "lastProbeTime": null, "lastTransitionTime": now});
    for (name, value) in fields {
        condition[*name] = (*value).into();
    }
    match place {
        Some(place) => {
            if conditions[place].get("status") == condition.get("status") {
                condition["lastTransitionTime"] =
                    conditions[place].get("lastTransitionTime").cloned().unwrap_or_default();
            }
            conditions[place] = condition;
        }
        None => conditions.push(condition),
    }
    pod.set(&["status", "conditions"], conditions);
}
