//! What of a job may change (`ValidateJobSpecUpdate`).

use serde_json::Value;

use super::whole_spec;
use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::rules;

/// What schedules the pods of a job and may change while none was started.
const SCHEDULING: [&str; 3] = ["nodeSelector", "tolerations", "schedulingGates"];

pub(super) fn job(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.field("spec"), old.field("spec"));
    whole_spec(&spec, errors);
    completions(&spec, &before, errors);
    if spec.field("selector").value != before.field("selector").value {
        errors.push(rules::invalid_selector(&spec.field("selector"), rules::IMMUTABLE));
    }
    template(&spec, old, errors);
    const FROZEN: [(&str, &str); 5] = [
        ("completionMode", "null"),
        ("podFailurePolicy", "*batch.PodFailurePolicy"),
        ("backoffLimitPerIndex", "null"),
        ("managedBy", "null"),
        ("successPolicy", "*batch.SuccessPolicy"),
    ];
    for (name, form) in spec.known(FROZEN.map(|(name, _)| name)).into_iter().zip(FROZEN.map(|(_, form)| form)) {
        let at = spec.get(name);
        if at.value != before.get(name).value {
            errors.push(rules::invalid_as(&at, form, rules::IMMUTABLE));
        }
    }
}

/// `validateCompletions`: those of an indexed job may change together with its parallelism.
fn completions(spec: &At<'_>, before: &At<'_>, errors: &mut ErrorList) {
    let at = spec.field("completions");
    if at.value == before.field("completions").value {
        return;
    }
    if spec.field("completionMode").text() != "Indexed" {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), rules::IMMUTABLE));
    } else if at.is_set() && at.value != spec.field("parallelism").value {
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}

/// `validatePodTemplateUpdate`
fn template(spec: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let template = spec.field("template");
    let mut before = old.at(&["spec", "template"]).value.clone();
    let is_suspended = old.at(&["spec", "suspend"]).is_true();
    // Of a suspended job that runs nothing, what schedules its pods and what they ask for may change.
    if is_suspended && may_change(old) {
        take_scheduling(&mut before, &template);
        take_resources(&mut before, &template);
        let spec = template.field("spec");
        if before.get(&*template.name("spec")) != Some(spec.value) {
            errors.push(rules::invalid_as(&spec, "core.PodSpec", rules::IMMUTABLE));
        }
    } else if before != *template.value {
        errors.push(rules::invalid_as(&template, "core.PodTemplateSpec", rules::IMMUTABLE));
    }
}

/// `shouldAllowMutablePodTemplate`
fn may_change(old: &At<'_>) -> bool {
    let status = old.field("status");
    let suspended = status
        .field("conditions")
        .items()
        .any(|condition| condition.field("type").text() == "Suspended" && condition.field("status").text() == "True");
    (status.field("startTime").is_absent() || suspended) && status.field("active").number().unwrap_or(0) == 0
}

fn take_scheduling(before: &mut Value, now: &At<'_>) {
    let spec = now.field("spec");
    if spec.is_absent() {
        return;
    }
    if let Some(pod) = before.get_mut(&*now.name("spec")) {
        for field in spec.known(SCHEDULING) {
            rules::copy(pod, spec.value, field);
        }
        let name = spec.name("affinity");
        let now = spec.get(name);
        let mut affinity = pod.get(&*name).cloned().unwrap_or_else(|| serde_json::json!({}));
        rules::copy(&mut affinity, now.value, now.name("nodeAffinity"));
        let is_empty = affinity.as_object().is_none_or(serde_json::Map::is_empty);
        let Some(pod) = pod.as_object_mut() else { return };
        if is_empty && now.is_absent() {
            pod.remove(&*name);
        } else {
            pod.insert(name.to_string(), affinity);
        }
    }
    rules::copy(before, now.value, now.name("metadata"));
}

/// Containers that are still the same ones, by place and name, may ask for something else.
fn take_resources(before: &mut Value, now: &At<'_>) {
    let Some(pod) = before.get_mut(&*now.name("spec")) else { return };
    let spec = now.field("spec");
    for list in spec.known(["containers", "initContainers"]) {
        let new = spec.get(list);
        let Some(old) = pod.get_mut(&*list).and_then(Value::as_array_mut) else { continue };
        if old.len() != new.len() {
            continue;
        }
        for (old, new) in old.iter_mut().zip(new.items()) {
            if new.like(new.path.clone(), old).field("name").value == new.field("name").value {
                rules::copy(old, new.value, new.name("resources"));
            }
        }
    }
}
