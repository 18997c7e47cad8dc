//! A change of what containers ask for, in place (`ValidatePodResize`).

use serde_json::{Map, Value};

use super::update::same;
use super::{metadata_and_spec, of_mirror};
use crate::field::{ErrorList, FieldError, Path};
use crate::validation::at::{At, Name};

const LISTS: [&str; 2] = ["initContainers", "containers"];

/// The resize of a pod. Its class of service is the strategy's to compare.
pub(crate) fn pod(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
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
    let (spec, before) = (new.field("spec"), old.field("spec"));
    let (now, then) = (crate::pods::quality(new.field("spec").value), crate::pods::quality(before.value));
    if now != then {
        let shown = new.at(&["status", "qosClass"]).text();
        errors.push(FieldError::invalid(&spec.path, shown, "Pod QOS Class may not change as a result of resizing"));
    }
    let statuses = old.at(&["status", "containerStatuses"]);
    let running = statuses.items().find(|status| status.at(&["state", "running"]).is_set());
    if running.is_some_and(|status| status.field("resources").is_absent()) {
        errors.push(FieldError::forbidden(&spec.path, "Pod running on node without support for resize"));
    }
    let mut kept = spec.value.clone();
    let is_set =
        |spec: &At<'_>| spec.field("resources").fields(["requests", "limits"]).iter().any(|list| !list.is_empty());
    if is_set(&before) || is_set(&spec) {
        of_pod(&spec, &before, &mut kept, errors);
    }
    if reordered(&spec, &before, errors) {
        return;
    }
    for list in spec.known(LISTS) {
        for (after, before) in spec.get(list).items().zip(before.get(list).items()) {
            removed(&after.field("resources"), &before.field("resources"), "resource", errors);
        }
    }
    for list in spec.known(["containers", "initContainers"]) {
        only_amounts(&spec, &before, list, &mut kept, errors);
    }
    if errors.is_empty() && !same(&kept, before.value) {
        errors.push(FieldError::forbidden(&spec.path, "only cpu and memory resources are mutable"));
    }
}

fn of_pod(new: &At<'_>, old: &At<'_>, kept: &mut Value, errors: &mut ErrorList) {
    let (after, before) = (new.field("resources"), old.field("resources"));
    if after.is_absent() {
        errors.push(FieldError::forbidden(&after.path, "pod-level resources cannot be removed"));
        return;
    }
    removed(&after, &before, "pod-level resource", errors);
    let mut amounts = with_amounts_of(&after, &before);
    if before.is_absent() && amounts.as_object().is_some_and(|map| map.values().all(is_empty)) {
        amounts = Value::Null;
    }
    let is_same = same(&amounts, before.value);
    kept[&*new.name("resources")] = amounts;
    if !is_same {
        let detail = "only cpu and memory resources are mutable at pod-level";
        errors.push(FieldError::forbidden(&new.path, detail));
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Amounts may change but not go.
fn removed(new: &At<'_>, old: &At<'_>, what: &str, errors: &mut ErrorList) {
    for list in new.known(["requests", "limits"]) {
        let after = new.get(list);
        if old.get(list).entries().any(|(name, _)| after.value.get(name).is_none()) {
            errors.push(FieldError::forbidden(&after.path, format!("{what} {list} cannot be removed")));
        }
    }
}

/// `validatePodResizeContainerOrdering`
fn reordered(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) -> bool {
    let before = errors.len();
    for list in new.known(["containers", "initContainers"]) {
        let (after, before) = (new.get(list), old.get(list));
        if after.len() != before.len() {
            errors.push(FieldError::forbidden(&after.path, format!("{list} may not be added or removed on resize")));
            continue;
        }
        for (after, before) in after.items().zip(before.items()) {
            let name = after.field("name");
            if name.text() != before.field("name").text() {
                let detail = format!("{list} may not be renamed or reordered on resize");
                errors.push(FieldError::forbidden(&name.path, detail));
            }
        }
    }
    errors.len() > before
}

/// The requirements with processors and memory as they were (`dropCPUMemoryResourcesFromContainer`).
fn with_amounts_of(new: &At<'_>, old: &At<'_>) -> Value {
    let mut kept = new.value.as_object().cloned().unwrap_or_default();
    for list in old.known(["limits", "requests"]) {
        let before = old.get(list).value.as_object();
        let mut amounts = new.get(list).value.as_object().cloned().unwrap_or_default();
        for name in ["cpu", "memory"] {
            amounts.remove(name);
            if let Some(amount) = before.and_then(|before| before.get(name)) {
                amounts.insert(name.to_string(), amount.clone());
            }
        }
        if amounts.is_empty() && before.is_none() {
            kept.remove(&*list);
        } else {
            kept.insert(list.to_string(), Value::Object(amounts));
        }
    }
    Value::Object(kept)
}

fn only_amounts(spec: &At<'_>, old: &At<'_>, list: Name, kept: &mut Value, errors: &mut ErrorList) {
    let Some(items) = kept.get_mut(&*list).and_then(Value::as_array_mut) else { return };
    for ((item, after), before) in items.iter_mut().zip(spec.get(list).items()).zip(old.get(list).items()) {
        let modified = !same(item, before.value);
        let own = after.name("resources");
        let mut put_back = with_amounts_of(&after.get(own), &before.get(own));
        // Claims of a container cannot be resized, and so are not looked at.
        put_back.as_object_mut().map(|map| map.remove(&*after.get(own).name("claims")));
        item[&*own] = put_back;
        let differs = !same(item, before.value);
        let is_init = &*list == "initContainers";
        if differs {
            errors.push(match is_init {
                true => {
                    let detail = "only cpu and memory resources for init or sidecar containers are mutable";
                    FieldError::forbidden(&after.path, detail)
                }
                false => FieldError::forbidden(&spec.path, "only cpu and memory resources are mutable"),
            });
        }
        let is_sidecar = after.field("restartPolicy").text() == "Always";
        if is_init && modified && !is_sidecar {
            let restarts =
                after.field("resizePolicy").items().filter(|p| p.field("restartPolicy").text() == "RestartContainer");
            for _ in restarts {
                let detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
                errors.push(FieldError::forbidden(&after.path, detail));
            }
        }
    }
}
