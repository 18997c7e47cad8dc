//! Pods: their first status, what of them may change, and how long they take to go.

pub mod binding;
pub mod eviction;
mod labels;
mod profiles;

use std::collections::{HashMap, VecDeque};

use api::Object;
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

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

fn array<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

impl Strategy for Pod {
    fn prepare_for_create(&self, ctx: &Context, new: &mut Object) {
        let now = crate::clock::time(ctx.registry.clock().now());
        let quality = api::pods::quality(new.at(&["spec"]).unwrap_or(&Value::Null));
        let mut status = json!({"phase": "Pending", "qosClass": quality.name()});
        if !array(new, &["spec", "schedulingGates"]).is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": now,
            }]);
        }
        new.set(&["status"], status);
        labels::merge(new);
        for warning in profiles::adopt(new) {
            ctx.warn(warning);
        }
    }

    fn grace_period(&self, _: &Context, object: &Object, requested: Option<i64>) -> Option<i64> {
        let own = || object.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0);
        let period = requested.unwrap_or_else(own);
        if object.str_at(&["spec", "nodeName"]).is_empty() || api::pods::is_terminal(object) {
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
        keep_observed(new, old);
    }

    fn grace_period(&self, ctx: &Context, object: &Object, requested: Option<i64>) -> Option<i64> {
        Pod.grace_period(ctx, object, requested)
    }
}

impl Strategy for EphemeralContainers {
    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        let containers = new.at(&["spec", "ephemeralContainers"]).cloned();
        only(new, old);
        match containers {
            Some(containers) => new.set(&["spec", "ephemeralContainers"], containers),
            None => {
                new.remove(&["spec", "ephemeralContainers"]);
            }
        }
    }
}

impl Strategy for Resize {
    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        // What adds or removes containers is left as it is, and refused.
        if CONTAINER_LISTS[..2].iter().any(|l| array(new, &["spec", l]).len() != array(old, &["spec", l]).len()) {
            return;
        }
        let asked = new.clone();
        only(new, old);
        keep(new, &asked, &["spec", "resources"]);
        for list in &CONTAINER_LISTS[..2] {
            let (wanted, before) = (array(&asked, &["spec", list]), array(old, &["spec", list]));
            let reordered = wanted.iter().zip(before).any(|(a, b)| text(a, "name") != text(b, "name"));
            let containers: Vec<Value> = match reordered {
                true => wanted.to_vec(),
                false => wanted.iter().zip(before).map(|(wanted, before)| resized(wanted, before)).collect(),
            };
            if !containers.is_empty() {
                new.set(&["spec", list], containers);
            }
        }
    }
}

/// A container with what another one asks for.
fn resized(wanted: &Value, before: &Value) -> Value {
    let mut container = before.clone();
    let Some(map) = container.as_object_mut() else { return container };
    for field in ["resources", "resizePolicy"] {
        match wanted.get(field) {
            Some(value) => _ = map.insert(field.to_string(), value.clone()),
            None => _ = map.remove(field),
        }
    }
    container
}

/// Generations that a client leaves out stay (`preserveOldObservedGeneration`).
fn keep_observed(new: &mut Object, old: &Object) {
    const FIELD: &str = "observedGeneration";
    let is_unset = |value: Option<&Value>| value.and_then(Value::as_i64).unwrap_or(0) == 0;
    if is_unset(new.at(&["status", FIELD])) {
        keep(new, old, &["status", FIELD]);
    }
    // Of each type in order: one that is found is used up.
    let mut known: HashMap<String, VecDeque<&Value>> = HashMap::new();
    for condition in array(old, &["status", "conditions"]) {
        known.entry(text(condition, "type").to_string()).or_default().push_back(condition);
    }
    let Some(Value::Array(conditions)) = new.0.get_mut("status").and_then(|status| status.get_mut("conditions")) else {
        return;
    };
    for condition in conditions {
        let same = known.get_mut(text(condition, "type")).and_then(VecDeque::pop_front);
        let before = same.and_then(|other| other.get(FIELD)).cloned();
        if let Some(before) = before.filter(|_| is_unset(condition.get(FIELD))) {
            condition[FIELD] = before;
        }
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
