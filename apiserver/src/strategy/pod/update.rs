//! What of a pod's spec may change (`ValidatePodUpdate`).

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::{array, text};

const ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn errors(new: &Object, old: &Object) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    for list in ["containers", "initContainers"] {
        if array(new, &["spec", list]).len() != array(old, &["spec", list]).len() {
            errors.push(FieldError::forbidden(&path.child(list), "pod updates may not add or remove containers"));
            return errors;
        }
    }
    let deadline = path.child("activeDeadlineSeconds");
    let seconds = |pod: &Object| pod.at(&["spec", "activeDeadlineSeconds"]).and_then(Value::as_i64);
    match (seconds(new), seconds(old)) {
        (Some(after), _) if !(0..=i64::from(i32::MAX)).contains(&after) => {
            errors.push(FieldError::invalid(&deadline, after, "must be between 0 and 2147483647, inclusive"));
            return errors;
        }
        (Some(after), Some(before)) if before < after => {
            errors.push(FieldError::invalid(&deadline, after, "must be less than or equal to previous value"));
            return errors;
        }
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(&deadline, Value::Null, why));
        }
        _ => {}
    }
    tolerations(new, old, &path.child("tolerations"), &mut errors);
    gates(new, old, &path.child("schedulingGates"), &mut errors);
    let (mut munged, kept) = (munged(new, old), spec(old));
    if !array(old, &["spec", "schedulingGates"]).is_empty() {
        gated(&mut munged, &kept, &path, &mut errors);
    }
    let differences = differences(&kept, &munged);
    if !differences.is_empty() {
        errors.push(FieldError::forbidden(&path, format!("{ALLOWED}\n{}", differences.join(""))));
    }
    errors
}

fn tolerations(new: &Object, old: &Object, path: &Path, errors: &mut ErrorList) {
    let same = |a: &Value, b: &Value| {
        let strip = |toleration: &Value| {
            let mut toleration = toleration.clone();
            if let Some(map) = toleration.as_object_mut() {
                map.remove("tolerationSeconds");
            }
            toleration
        };
        strip(a) == strip(b)
    };
    let after = array(new, &["spec", "tolerations"]);
    if array(old, &["spec", "tolerations"]).iter().any(|before| !after.iter().any(|after| same(before, after))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(path, why));
    }
}

fn gates(new: &Object, old: &Object, path: &Path, errors: &mut ErrorList) {
    let before = array(old, &["spec", "schedulingGates"]);
    for (index, gate) in array(new, &["spec", "schedulingGates"]).iter().enumerate() {
        let name = text(gate, "name");
        if !before.iter().any(|gate| text(gate, "name") == name) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(FieldError::forbidden(&path.index(index).child("name"), why));
        }
    }
}

fn spec(pod: &Object) -> Value {
    pod.at(&["spec"]).cloned().unwrap_or_default()
}

/// The new spec with everything put back that may change.
fn munged(new: &Object, old: &Object) -> Value {
    let (mut munged, kept) = (spec(new), spec(old));
    for list in ["containers", "initContainers"] {
        let images: Vec<Option<Value>> =
            array(old, &["spec", list]).iter().map(|container| container.get("image").cloned()).collect();
        let Some(containers) = munged.get_mut(list).and_then(Value::as_array_mut) else { continue };
        for (container, image) in containers.iter_mut().zip(images) {
            match image {
                Some(image) => container["image"] = image,
                None => {
                    container.as_object_mut().map(|container| container.remove("image"));
                }
            }
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        copy(&mut munged, &kept, field);
    }
    let period = |spec: &Value| spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if period(&kept).is_some_and(|before| before < 0) && period(&munged) == Some(1) {
        copy(&mut munged, &kept, "terminationGracePeriodSeconds");
    }
    munged
}

fn copy(to: &mut Value, from: &Value, field: &str) {
    let Some(map) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => {
            map.insert(field.to_string(), value.clone());
        }
        None => {
            map.remove(field);
        }
    }
}

/// A pod that is held back may be steered more narrowly: its node selector may gain labels, its node affinity may be set.
fn gated(munged: &mut Value, kept: &Value, path: &Path, errors: &mut ErrorList) {
    let (before, after) = (kept.get("nodeSelector"), munged.get("nodeSelector"));
    if before != after {
        let labels = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
        let after = labels(after);
        let at = path.child("nodeSelector");
        for (key, value) in labels(before) {
            if after.get(&key) != Some(&value) {
                let shown = Value::Object(after.clone());
                errors.push(FieldError::invalid(&at, shown, "only additions are allowed (no deletions or mutations)"));
                break;
            }
        }
        copy(munged, kept, "nodeSelector");
    }
    let affinity = |spec: &Value| spec.get("affinity").and_then(|affinity| affinity.get("nodeAffinity")).cloned();
    if affinity(kept) != affinity(munged) {
        const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
        let required = |spec: &Value| affinity(spec).and_then(|affinity| affinity.get(REQUIRED).cloned());
        if required(kept).is_some_and(|before| required(munged).is_none_or(|after| !narrows(&before, &after))) {
            let at = path.child("affinity").child("nodeAffinity").child(REQUIRED).child("nodeSelectorTerms");
            let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
            errors.push(FieldError::forbidden(&at, why));
        }
        let empty = kept.get("affinity").is_none();
        match munged.get_mut("affinity").and_then(Value::as_object_mut) {
            Some(map) => match affinity(kept) {
                Some(before) => {
                    map.insert("nodeAffinity".into(), before);
                }
                None => {
                    map.remove("nodeAffinity");
                }
            },
            None => copy(munged, kept, "affinity"),
        }
        if empty && munged.get("affinity").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
            copy(munged, kept, "affinity");
        }
    }
}

/// Whether every term is kept and at most gains requirements.
fn narrows(before: &Value, after: &Value) -> bool {
    let terms =
        |selector: &Value| selector.get("nodeSelectorTerms").and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, after) = (terms(before), terms(after));
    before.len() == after.len()
        && before.iter().zip(&after).all(|(before, after)| {
            ["matchExpressions", "matchFields"].iter().all(|list| {
                let of = |term: &Value| term.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
                of(before).iter().all(|requirement| of(after).contains(requirement))
            })
        })
}

/// What differs, one field a line, old and new.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("spec", old, new, &mut found);
    found
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let none = Value::Null;
                let of = |map: &serde_json::Map<String, Value>| map.get(name).unwrap_or(&none).clone();
                compare(&format!("{path}.{name}"), &of(before), &of(after), found);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(&format!("{path}[{index}]"), before, after, found);
            }
        }
        (before, after) if is_empty(before) && is_empty(after) => {}
        (before, after) if before != after => found.push(format!("- {path}: {before}\n+ {path}: {after}\n")),
        _ => {}
    }
}

/// Absent, empty and zero are one to the reference's comparison of lists and maps.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
