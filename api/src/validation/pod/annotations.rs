//! Annotations that once were fields: seccomp and AppArmor profiles, tolerations, the cost of deletion
//! (`ValidatePodSpecificAnnotations` and what compares them with the fields).

use std::collections::HashSet;

use serde_json::Value;

use super::{MIRROR, affinity, containers_of};
use crate::field::{ErrorList, FieldError, Path};
use crate::validation::at::At;
use crate::validation::rules;

const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The annotations of a pod or a template; `path` is that of the annotations.
pub(super) fn pod(path: &Path, annotations: &At<'_>, spec: &At<'_>, errors: &mut ErrorList) {
    let text = |key: &str| annotations.value.get(key).and_then(Value::as_str);
    if let Some(value) = text(MIRROR).filter(|_| spec.field("nodeName").is_empty()) {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(FieldError::invalid(&path.key(MIRROR), value, detail));
    }
    if let Some(value) = text(TOLERATIONS).filter(|value| !value.is_empty()) {
        match serde_json::from_str::<Value>(value) {
            Ok(parsed) => {
                affinity::tolerations(&spec.field("tolerations").like(path.child(TOLERATIONS), &parsed), errors);
            }
            Err(error) => errors.push(FieldError::invalid(path, TOLERATIONS, error.to_string())),
        }
    }
    if let Some(value) = text(DELETION_COST).filter(|value| !is_cost(value)) {
        errors.push(FieldError::invalid(&path.key(DELETION_COST), value, "must be a 32bit integer"));
    }
    if let Some(profile) = text(SECCOMP_POD) {
        seccomp(profile, path.child(SECCOMP_POD), errors);
    }
    for (key, profile) in annotations.entries().filter(|(key, _)| key.starts_with(SECCOMP_CONTAINER)) {
        seccomp(profile.text(), path.child(key), errors);
    }
    let names: HashSet<&str> = containers_of(spec).map(|container| container.field("name").text()).collect();
    for (key, profile) in annotations.entries() {
        let Some(container) = key.strip_prefix(APP_ARMOR) else { continue };
        if !names.contains(container) {
            errors.push(FieldError::invalid(&path.key(key), container, "container not found"));
        }
        let profile = profile.text();
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
            let detail = format!("invalid AppArmor profile name: {profile:?}");
            errors.push(FieldError::invalid(&path.key(key), profile, detail));
        }
    }
}

/// A number without a plus sign or zeros before it (`GetDeletionCostFromPodAnnotations`).
fn is_cost(value: &str) -> bool {
    let first = value == "0" || value.starts_with(|c: char| c == '-' || ('1'..='9').contains(&c));
    first && value.parse::<i32>().is_ok()
}

/// `ValidateSeccompProfile`
fn seccomp(profile: &str, path: Path, errors: &mut ErrorList) {
    if matches!(profile, "runtime/default" | "docker/default" | "unconfined") {
        return;
    }
    match profile.strip_prefix("localhost/") {
        Some(file) => rules::descending_path(&At::new(path, &Value::from(file)), errors),
        None => errors.push(FieldError::invalid(&path, profile, "must be a valid seccomp profile")),
    }
}

/// Annotation and field may both be there, and then say the same.
pub(super) fn agree(metadata: &At<'_>, spec: &At<'_>, errors: &mut ErrorList) {
    let annotations = metadata.field("annotations");
    let text = |key: String| annotations.value.get(key).and_then(Value::as_str);
    let is_windows = spec.at(&["os", "name"]).text() == "windows";
    let pod = spec.at(&["securityContext", "seccompProfile"]);
    if let Some(annotation) = text(SECCOMP_POD.into()) {
        same(annotation, &pod, &pod.path, "seccomp", errors);
    }
    for container in containers_of(spec) {
        let field = container.at(&["securityContext", "seccompProfile"]);
        if let Some(annotation) = text(format!("{SECCOMP_CONTAINER}{}", container.field("name").text())) {
            same(annotation, &field, &field.path, "seccomp", errors);
        }
    }
    let of_pod = spec.at(&["securityContext", "appArmorProfile"]);
    for container in containers_of(spec).filter(|_| !is_windows) {
        let own = container.at(&["securityContext", "appArmorProfile"]);
        let path = own.path.clone();
        let field = if own.is_set() { own } else { of_pod.clone() };
        if let Some(annotation) = text(format!("{APP_ARMOR}{}", container.field("name").text())) {
            same(annotation, &field, &path, "apparmor", errors);
        }
    }
}

fn same(annotation: &str, field: &At<'_>, path: &Path, what: &str, errors: &mut ErrorList) {
    let file = field.field("localhostProfile");
    let fits = match field.field("type").text() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default"),
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(named) if file.is_absent() || named != file.text() => {
                let detail = format!("{what} profile in annotation and field must match");
                errors.push(FieldError::forbidden(&path.child("localhostProfile"), detail));
                true
            }
            named => named.is_some(),
        },
        _ => true,
    };
    if !fits {
        let detail = format!("{what} type in annotation and field must match");
        errors.push(FieldError::forbidden(&path.child("type"), detail));
    }
}

/// `ValidatePodSpecificAnnotationUpdates`
pub(super) fn update(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let (now, before) = (new.at(&["metadata", "annotations"]), old.at(&["metadata", "annotations"]));
    let mut refuse = |key: &str, detail: &str| errors.push(FieldError::forbidden(&now.path.key(key), detail));
    for (key, value) in before.entries().filter(|(key, value)| now.value.get(key) != Some(value.value)) {
        let _ = value;
        if key.starts_with(APP_ARMOR) {
            refuse(key, "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            refuse(key, "may not remove or update mirror pod annotation");
        }
    }
    for (key, _) in now.entries().filter(|(key, _)| before.value.get(key).is_none()) {
        if key.starts_with(APP_ARMOR) {
            refuse(key, "may not add AppArmor annotations");
        }
        if key == MIRROR {
            refuse(key, "may not add mirror pod annotation");
        }
    }
    pod(&now.path, &now, &new.field("spec"), errors);
}
