//! The environment of containers: variables, where they come from, and what the downward API offers.

use serde_json::Value;

use super::containers_of;
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

/// What the downward API offers as environment (`validEnvDownwardAPIFieldPathExpressions`).
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of a pod that have a label (`ConvertDownwardAPIFieldLabel`); of them a place allows some.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What it offers of resources (`validContainerResourceFieldPathExpressions`).
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const DIVISORS: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";

/// `ValidateEnv`
pub(super) fn variables(at: &At<'_>, errors: &mut ErrorList) {
    for variable in at.items() {
        let name = variable.field("name");
        if rules::required(&name, errors) {
            rules::invalid_each(&name, names::env_var_name(name.text()), errors);
        }
        let from = variable.field("valueFrom");
        if from.is_set() {
            value_from(&variable, &from, errors);
        }
    }
}

fn value_from(variable: &At<'_>, from: &At<'_>, errors: &mut ErrorList) {
    let kinds = from.known(["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"]);
    let mut sources = 0;
    for (kind, reference) in kinds.map(|kind| (kind, from.get(kind))).iter().filter(|(_, at)| at.is_set()) {
        sources += 1;
        match &**kind {
            "fieldRef" => field_ref(reference, FIELDS, errors),
            "resourceFieldRef" => resource_field_ref(reference, false, errors),
            "fileKeyRef" => file_key(reference, errors),
            _ => {
                let (name, key) = (reference.field("name"), reference.field("key"));
                rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
                if rules::required(&key, errors) {
                    rules::invalid_each(&key, names::config_map_key(key.text()), errors);
                }
            }
        }
    }
    let detail = if sources == 0 {
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
    } else if !variable.field("value").is_empty() {
        "may not be specified when `value` is not empty"
    } else if sources > 1 {
        "may not have more than one field specified at a time"
    } else {
        return;
    };
    errors.push(FieldError::invalid(&from.path, "", detail));
}

/// `validateFileKeySelector`
fn file_key(at: &At<'_>, errors: &mut ErrorList) {
    let (key, volume, path) = (at.field("key"), at.field("volumeName"), at.field("path"));
    if rules::required(&key, errors) {
        rules::invalid_each(&key, names::env_var_name(key.text()), errors);
    }
    if rules::required(&volume, errors) {
        rules::invalid_each(&volume, names::dns1123_label(volume.text()), errors);
    }
    if rules::required(&path, errors) {
        rules::no_backsteps(&path, errors);
    }
}

/// The volumes of variables that come from files (`validateFileKeyRefVolumes`).
pub(super) fn files(spec: &At<'_>, errors: &mut ErrorList) {
    let volumes = spec.field("volumes").items_by("name");
    for variable in containers_of(spec).flat_map(|container| container.field("env").items()) {
        let reference = variable.at(&["valueFrom", "fileKeyRef"]);
        if reference.is_absent() {
            continue;
        }
        let name = reference.field("volumeName");
        match volumes.get(name.text()) {
            None => errors.push(FieldError::not_found(&name.path, name.text())),
            Some(volume) if volume.field("emptyDir").is_absent() => {
                let detail = "referenced volume must be of type emptyDir";
                errors.push(FieldError::invalid(&name.path, name.text(), detail));
            }
            Some(_) => {}
        }
    }
}

/// `validateObjectFieldSelector`
pub(super) fn field_ref(at: &At<'_>, allowed: &[&str], errors: &mut ErrorList) {
    let (version, path) = (at.field("apiVersion"), at.field("fieldPath"));
    if !rules::required(&version, errors) || !rules::required(&path, errors) {
        return;
    }
    let text = path.text();
    let subscripted = text.strip_suffix("']").and_then(|text| text.split_once("['")).filter(|(map, _)| !map.is_empty());
    let mut unconvertible = |why: String| {
        errors.push(FieldError::invalid(&path.path, text, format!("error converting fieldPath: {why}")));
    };
    match (version.text(), subscripted) {
        ("v1", Some(("metadata.annotations", key))) => rules::label_name(&at.path, &key.to_lowercase(), errors),
        ("v1", Some(("metadata.labels", key))) => rules::label_name(&at.path, key, errors),
        ("v1", Some(_)) => unconvertible(format!("field label does not support subscript: {text}")),
        ("v1", None) => {
            // Old clients know the node as the host.
            let text = if text == "spec.host" { "spec.nodeName" } else { text };
            if !KNOWN_FIELDS.contains(&text) {
                unconvertible(format!("field label not supported: {text}"));
            } else if !allowed.contains(&text) {
                errors.push(FieldError::not_supported(&path.path, text, allowed));
            }
        }
        (other, _) => unconvertible(format!("unsupported pod version: {other}")),
    }
}

/// `validateContainerResourceFieldSelector`
pub(super) fn resource_field_ref(at: &At<'_>, in_volume: bool, errors: &mut ErrorList) {
    let (container, resource) = (at.field("containerName"), at.field("resource"));
    let text = resource.text();
    let is_huge = text.starts_with("requests.hugepages-") || text.starts_with("limits.hugepages-");
    if in_volume && container.is_empty() {
        errors.push(FieldError::required(&container.path, ""));
    } else if text.is_empty() {
        errors.push(FieldError::required(&resource.path, ""));
    } else if !RESOURCES.contains(&text) && !is_huge {
        errors.push(FieldError::not_supported(&resource.path, text, RESOURCES));
    }
    let divisor = at.field("divisor");
    let Some(quantity) = rules::quantity(&divisor).filter(|quantity| !quantity.is_zero()) else { return };
    let shown = quantity.to_string();
    let what = match text.split_once('.').map_or("", |(_, name)| name) {
        "cpu" => {
            if !["1m", "1"].contains(&shown.as_str()) {
                let detail = "only divisor's values 1m and 1 are supported with the cpu resource";
                errors.push(FieldError::invalid(&divisor.path, text, detail));
            }
            return;
        }
        "memory" => "memory",
        "ephemeral-storage" => "local ephemeral storage",
        _ if is_huge => "hugepages",
        _ => return,
    };
    if !DIVISORS.split(", ").any(|known| known == shown) {
        let detail = format!("only divisor's values {DIVISORS} are supported with the {what} resource");
        errors.push(FieldError::invalid(&divisor.path, text, detail));
    }
}

/// `ValidateEnvFrom`, which blames the number of sources on the list.
pub(super) fn sources(at: &At<'_>, errors: &mut ErrorList) {
    for source in at.items() {
        let prefix = source.field("prefix");
        if !prefix.is_empty() {
            rules::invalid_each(&prefix, names::env_var_name(prefix.text()), errors);
        }
        let mut count = 0;
        for reference in source.fields(["configMapRef", "secretRef"]).iter().filter(|at| at.is_set()) {
            count += 1;
            let name = reference.field("name");
            if rules::required(&name, errors) {
                rules::invalid_each(&name, rules::prefix_of_subdomain(name.text()), errors);
            }
        }
        let detail = match count {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(FieldError::invalid(&at.path, Value::from(""), detail));
    }
}
