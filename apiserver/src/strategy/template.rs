//! The least that a pod, a pod template, and what makes pods from one must say. Depth comes with validation per kind.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::selector::LabelSelector;
use serde_json::Value;

fn list<'a>(value: Option<&'a Value>, field: &str) -> &'a [Value] {
    value.and_then(|value| value.get(field)).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

/// What is wrong with the containers of a pod's spec.
pub(super) fn pod_errors(spec: Option<&Value>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let volumes: Vec<&str> = list(spec, "volumes").iter().map(|volume| text(volume, "name")).collect();
    let mut names: Vec<&str> = Vec::new();
    if list(spec, "containers").is_empty() {
        errors.push(FieldError::required(&path.child("containers"), ""));
    }
    for field in ["containers", "initContainers"] {
        for (index, container) in list(spec, field).iter().enumerate() {
            let at = path.child(field).index(index);
            let name = text(container, "name");
            if name.is_empty() {
                errors.push(FieldError::required(&at.child("name"), ""));
            } else if names.contains(&name) {
                errors.push(FieldError::duplicate(&at.child("name"), name));
            }
            names.push(name);
            if text(container, "image").is_empty() {
                errors.push(FieldError::required(&at.child("image"), ""));
            }
            for (index, mount) in list(Some(container), "volumeMounts").iter().enumerate() {
                let at = at.child("volumeMounts").index(index).child("name");
                let name = text(mount, "name");
                if name.is_empty() {
                    errors.push(FieldError::required(&at, ""));
                } else if !volumes.contains(&name) {
                    errors.push(FieldError::not_found(&at, name));
                }
            }
        }
    }
    errors
}

/// What is wrong with a deployment, a replica set, a stateful set or a daemon set: without a selector that fits its
/// template it would make pods without end.
pub(super) fn workload_errors(new: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("spec");
    if let Some(replicas) = new.at(&["spec", "replicas"]).and_then(Value::as_i64).filter(|count| *count < 0) {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&path.child("replicas"), replicas, why));
    }
    let selector = new.at(&["spec", "selector"]).filter(|selector| !selector.is_null());
    match selector {
        None => errors.push(FieldError::required(&path.child("selector"), "")),
        Some(selector) if selector.as_object().is_some_and(serde_json::Map::is_empty) => {
            let why = "empty selector is invalid for deployment";
            errors.push(FieldError::invalid(&path.child("selector"), selector.clone(), why));
        }
        Some(_) => {}
    }
    let labels = new
        .at(&["spec", "template", "metadata", "labels"])
        .cloned()
        .unwrap_or_else(|| Value::Object(Default::default()));
    let mut template = Object::default();
    template.set(&["metadata", "labels"], labels.clone());
    let fits = LabelSelector::from_object(selector).is_ok_and(|selector| selector.matches_object(&template));
    if !fits {
        let at = path.child("template").child("metadata").child("labels");
        errors.push(FieldError::invalid(&at, labels, "`selector` does not match template `labels`"));
    }
    errors.extend(pod_errors(new.at(&["spec", "template", "spec"]), &path.child("template").child("spec")));
    if let (Some(old), Some(selector)) = (old, selector)
        && old.at(&["spec", "selector"]) != Some(selector)
    {
        errors.push(FieldError::invalid(&path.child("selector"), selector.clone(), "field is immutable"));
    }
    errors
}

/// Ports of a service need names when there are several.
pub(super) fn port_errors(service: &Object) -> ErrorList {
    let ports = list(service.at(&["spec"]), "ports");
    let mut errors = ErrorList::new();
    let mut names: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = Path::new("spec").child("ports").index(index);
        let name = text(port, "name");
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(&at.child("name"), ""));
        } else if !name.is_empty() && names.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        names.push(name);
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65_535).contains(&number) {
            let why = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(&at.child("port"), number, why));
        }
    }
    errors
}
