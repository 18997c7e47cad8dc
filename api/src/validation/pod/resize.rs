//! A change of what containers ask for, in place (`ValidatePodResize`).

use serde_json::{Map, Value};

use super::update::same;
use super::{metadata_and_spec, of_mirror};
use crate::field::{ErrorList, FieldError, Path};
use crate::validation::at::At;

const LISTS: [&str; 2] = ["initContainers", "containers"];

/// The resize of a pod. Its class of service is the strategy's to compare.
pub(super) fn pod(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let Some(old) = old else { return };
    if let Some(error) = of_mirror(old, "static pods cannot be resized") {
        *errors = error.into();
        return;
    }
    if old.at(&["spec", "os", "name"]).text() == "windows" {
        *errors = FieldError::forbidden(&Path::unnamed(), "windows pods cannot be resized").into();
        return;
    }
    metadata_and_spec(new, errors);
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let (now, then) = (crate::pods::quality(new.get("spec").value), crate::pods::quality(before.value));
    if now != then {
        let shown = new.at(&["status", "qosClass"]).text();
        errors.push(FieldError::invalid(&spec.path, shown, "Pod QOS Class may not change as a result of resizing"));
    }
    let statuses = old.at(&["status", "containerStatuses"]);
    let running = statuses.items().find(|status| status.at(&["state", "running"]).is_set());
    if running.is_some_and(|status| status.get("resources").is_absent()) {
        errors.push(FieldError::forbidden(&spec.path, "Pod running on node without support for resize"));
    }
    let mut kept = spec.value.clone();
    let is_set = |spec: &At<'_>| ["requests", "limits"].iter().any(|list| !spec.at(&["resources", list]).is_empty());
    if is_set(&before) || is_set(&spec) {
        of_pod(&spec, &before, &mut kept, errors);
    }
    if reordered(&spec, &before, errors) {
        return;
    }
    for list in LISTS {
        for (after, before) in spec.get(list).items().zip(before.get(list).items()) {
            removed(&after.get("resources"), &before.get("resources"), "resource", errors);
        }
    }
    for list in ["containers", "initContainers"] {
        only_amounts(&spec, &before, list, &mut kept, errors);
    }
    if errors.is_empty() && !same(&kept, before.value) {
        errors.push(FieldError::forbidden(&spec.path, "only cpu and memory resources are mutable"));
    }
}

fn of_pod(new: &At<'_>, old: &At<'_>, kept: &mut Value, errors: &mut ErrorList) {
    let (after, before) = (new.get("resources"), old.get("resources"));
    if after.is_absent() {
        errors.push(FieldError::forbidden(&after.path, "pod-level resources cannot be removed"));
        return;
    }
    removed(&after, &before, "pod-level resource", errors);
    kept["resources"] = with_amounts_of(after.value, before.value);
    if before.is_absent() && kept["resources"].as_object().is_some_and(|map| map.values().all(is_empty)) {
        kept.as_object_mut().map(|map| map.remove("resources"));
    }
    if !same(kept.get("resources").unwrap_or(&Value::Null), before.value) {
        let detail = "only cpu and memory resources are mutable at pod-level";
        errors.push(FieldError::forbidden(&new.path, detail));
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Amounts may change but not go.
fn removed(new: &At<'_>, old: &At<'_>, what: &str, errors: &mut ErrorList) {
    for list in ["requests", "limits"] {
        let after = new.get(list);
        if old.get(list).entries().any(|(name, _)| after.value.get(name).is_none()) {
            errors.push(FieldError::forbidden(&after.path, format!("{what} {list} cannot be removed")));
        }
    }
}

/// `validatePodResizeContainerOrdering`
fn reordered(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) -> bool {
    let before = errors.len();
    for list in ["containers", "initContainers"] {
        let (after, before) = (new.get(list), old.get(list));
        if after.len() != before.len() {
            errors.push(FieldError::forbidden(&after.path, format!("{list} may not be added or removed on resize")));
            continue;
        }
        for (after, before) in after.items().zip(before.items()) {
            let name = after.get("name");
            if name.text() != before.get("name").text() {
                let detail = format!("{list} may not be renamed or reordered on resize");
                errors.push(FieldError::forbidden(&name.path, detail));
            }
        }
    }
    errors.len() > before
}

/// The requirements with processors and memory as they were (`dropCPUMemoryResourcesFromContainer`).
fn with_amounts_of(new: &Value, old: &Value) -> Value {
    let mut kept = new.clone();
    if !kept.is_object() {
        kept = Value::Object(Map::new());
    }
    for list in ["limits", "requests"] {
        let before = old.get(list).and_then(Value::as_object);
        let mut amounts = kept.get(list).and_then(Value::as_object).cloned().unwrap_or_default();
        for name in ["cpu", "memory"] {
            amounts.remove(name);
            if let Some(amount) = before.and_then(|before| before.get(name)) {
                amounts.insert(name.to_string(), amount.clone());
            }
        }
        if amounts.is_empty() && before.is_none() {
            kept.as_object_mut().map(|map| map.remove(list));
        } else {
            kept[list] = Value::Object(amounts);
        }
    }
    kept
}

fn only_amounts(spec: &At<'_>, old: &At<'_>, list: &str, kept: &mut Value, errors: &mut ErrorList) {
    let Some(items) = kept.get_mut(list).and_then(Value::as_array_mut) else { return };
    for ((item, after), before) in items.iter_mut().zip(spec.get(list).items()).zip(old.get(list).items()) {
        let modified = !same(item, before.value);
        let own = item.get("resources").cloned().unwrap_or_default();
        let before_own = before.get("resources");
        let mut put_back = with_amounts_of(&own, before_own.value);
        // Claims of a container cannot be resized, and so are not looked at.
        put_back.as_object_mut().map(|map| map.remove("claims"));
        item["resources"] = put_back;
        let differs = !same(item, before.value);
        let is_init = list == "initContainers";
        if differs {
            errors.push(match is_init {
                true => {
                    let detail = "only cpu and memory resources for init or sidecar containers are mutable";
                    FieldError::forbidden(&after.path, detail)
                }
                false => FieldError::forbidden(&spec.path, "only cpu and memory resources are mutable"),
            });
        }
        let is_sidecar = after.get("restartPolicy").text() == "Always";
        if is_init && modified && !is_sidecar {
            let restarts =
                after.get("resizePolicy").items().filter(|p| p.get("restartPolicy").text() == "RestartContainer");
            for _ in restarts {
                let detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
                errors.push(FieldError::forbidden(&after.path, detail));
            }
        }
    }
}
