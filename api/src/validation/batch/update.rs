//! What of a job may change (`ValidateJobSpecUpdate`).

use serde_json::Value;

use super::whole_spec;
use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::rules;

/// What schedules the pods of a job and may change while none was started.
const SCHEDULING: [&str; 3] = ["nodeSelector", "tolerations", "schedulingGates"];

pub(super) fn job(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    whole_spec(&spec, errors);
    completions(&spec, &before, errors);
    if spec.get("selector").value != before.get("selector").value {
        errors.push(rules::invalid_selector(&spec.get("selector"), rules::IMMUTABLE));
    }
    template(&spec, old, errors);
    const FROZEN: [(&str, &str); 5] = [
        ("completionMode", "null"),
        ("podFailurePolicy", "*batch.PodFailurePolicy"),
        ("backoffLimitPerIndex", "null"),
        ("managedBy", "null"),
        ("successPolicy", "*batch.SuccessPolicy"),
    ];
    for (name, form) in FROZEN {
        let at = spec.get(name);
        if at.value != before.get(name).value {
            errors.push(rules::invalid_as(&at, form, rules::IMMUTABLE));
        }
    }
}

/// `validateCompletions`: those of an indexed job may change together with its parallelism.
fn completions(spec: &At<'_>, before: &At<'_>, errors: &mut ErrorList) {
    let at = spec.get("completions");
    if at.value == before.get("completions").value {
        return;
    }
    if spec.get("completionMode").text() != "Indexed" {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), rules::IMMUTABLE));
    } else if at.is_set() && at.value != spec.get("parallelism").value {
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}

/// `validatePodTemplateUpdate`
fn template(spec: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let template = spec.get("template");
    let mut before = old.at(&["spec", "template"]).value.clone();
    let is_suspended = old.at(&["spec", "suspend"]).is_true();
    // Of a suspended job that runs nothing, what schedules its pods and what they ask for may change.
    if is_suspended && may_change(old) {
        take_scheduling(&mut before, template.value);
        take_resources(&mut before, template.value);
        let spec = template.get("spec");
        if before.get("spec") != Some(spec.value) {
            errors.push(rules::invalid_as(&spec, "core.PodSpec", rules::IMMUTABLE));
        }
    } else if before != *template.value {
        errors.push(rules::invalid_as(&template, "core.PodTemplateSpec", rules::IMMUTABLE));
    }
}

/// `shouldAllowMutablePodTemplate`
fn may_change(old: &At<'_>) -> bool {
    let status = old.get("status");
    let suspended = status
        .get("conditions")
        .items()
        .any(|condition| condition.get("type").text() == "Suspended" && condition.get("status").text() == "True");
    (status.get("startTime").is_absent() || suspended) && status.get("active").number().unwrap_or(0) == 0
}

fn copy(to: &mut Value, from: &Value, field: &str) {
    let Some(map) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => map.insert(field.to_string(), value.clone()),
        None => map.remove(field),
    };
}

fn take_scheduling(before: &mut Value, now: &Value) {
    let Some(spec) = now.get("spec") else { return };
    if let Some(pod) = before.get_mut("spec") {
        for field in SCHEDULING {
            copy(pod, spec, field);
        }
        let node = spec.pointer("/affinity/nodeAffinity");
        let mut affinity = pod.get("affinity").cloned().unwrap_or_else(|| serde_json::json!({}));
        if let Some(map) = affinity.as_object_mut() {
            match node {
                Some(node) => map.insert("nodeAffinity".into(), node.clone()),
                None => map.remove("nodeAffinity"),
            };
        }
        let is_empty = affinity.as_object().is_none_or(serde_json::Map::is_empty);
        let Some(pod) = pod.as_object_mut() else { return };
        if is_empty && spec.get("affinity").is_none() {
            pod.remove("affinity");
        } else {
            pod.insert("affinity".into(), affinity);
        }
    }
    copy(before, now, "metadata");
}

/// Containers that are still the same ones, by place and name, may ask for something else.
fn take_resources(before: &mut Value, now: &Value) {
    for list in ["containers", "initContainers"] {
        let path = format!("/spec/{list}");
        let Some(new) = now.pointer(&path).and_then(Value::as_array) else { continue };
        let Some(old) = before.pointer_mut(&path).and_then(Value::as_array_mut) else { continue };
        if old.len() == new.len() {
            for (old, new) in old.iter_mut().zip(new).filter(|(old, new)| old.get("name") == new.get("name")) {
                copy(old, new, "resources");
            }
        }
    }
}
