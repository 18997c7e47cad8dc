//! What of a pod's spec may change (`ValidatePodUpdate`).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{affinity, annotations, metadata_and_spec};
use crate::field::{ErrorList, FieldError};
use crate::go::internal;
use crate::validation::at::At;
use crate::validation::rules;

const ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const LISTS: [&str; 2] = ["containers", "initContainers"];

pub(super) fn pod(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    metadata_and_spec(new, errors);
    annotations::update(new, old, errors);
    let (spec, before) = (new.field("spec"), old.field("spec"));
    for list in spec.known(LISTS) {
        if !containers(&spec.get(list), &before.get(list), errors) {
            return;
        }
    }
    if !deadline(&spec, &before, errors) {
        return;
    }
    tolerations(&spec, &before, errors);
    gates(&spec, &before, errors);
    // Most writes touch labels or the status only; what is equal needs no copy to be compared.
    if spec.value == before.value {
        return;
    }
    let mut kept = without_change(&spec, &before);
    if !before.field("schedulingGates").is_empty() {
        gated(&mut kept, &spec, &before, errors);
    }
    if !same(&kept, before.value) {
        let difference = internal::difference("core.PodSpec", before.value, &kept);
        errors.push(FieldError::forbidden(&spec.path, format!("{ALLOWED}\n{difference}")));
    }
}

/// Whether two values mean the same (`Semantic.DeepEqual` of the internal types): an empty list is as good as none. An
/// empty text is something where it can be told from none, and elsewhere it is not there.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let known = |name: &String| same(a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
            a.keys().all(known) && b.keys().filter(|name| !a.contains_key(*name)).all(known)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Null, filled) | (filled, Value::Null) => match filled {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            _ => false,
        },
        (a, b) => a == b,
    }
}

/// `ValidateContainerUpdates`; false if there is no use in looking further.
fn containers(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) -> bool {
    if new.len() != old.len() {
        errors.push(FieldError::forbidden(&new.path, "pod updates may not add or remove containers"));
        return false;
    }
    for container in new.items() {
        rules::required(&container.field("image"), errors);
        super::containers::trimmed_image(&container, errors);
    }
    true
}

/// A deadline may only come nearer.
fn deadline(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) -> bool {
    let at = new.field("activeDeadlineSeconds");
    let detail = match (at.number(), old.field("activeDeadlineSeconds").number()) {
        (Some(after), _) if !(0..=i64::from(i32::MAX)).contains(&after) => {
            "must be between 0 and 2147483647, inclusive"
        }
        (Some(after), Some(before)) if before < after => "must be less than or equal to previous value",
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(&at.path, Value::Null, detail));
            return true;
        }
        _ => return true,
    };
    errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    false
}

/// `validateOnlyAddedTolerations`
fn tolerations(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    fn timeless<'a>(at: At<'a>) -> [&'a str; 4] {
        at.fields(["key", "operator", "value", "effect"]).map(|part| part.text())
    }
    let at = new.field("tolerations");
    let kept: HashSet<[&str; 4]> = at.items().map(timeless).collect();
    if !old.field("tolerations").items().map(timeless).all(|before| kept.contains(&before)) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(&at.path, detail));
        return;
    }
    affinity::tolerations(&at, errors);
}

/// `validateOnlyDeletedSchedulingGates`
fn gates(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let gates = new.field("schedulingGates");
    let last = gates.items().enumerate().map(|(index, gate)| (gate.field("name").text(), index));
    let last: HashMap<&str, usize> = last.collect();
    let before = old.field("schedulingGates").items_by("name");
    for (index, gate) in gates.items().enumerate() {
        let name = gate.field("name");
        // Of several that are called the same, the last is named.
        if last.get(name.text()) != Some(&index) {
            continue;
        }
        if !before.contains_key(name.text()) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", name.text());
            errors.push(FieldError::forbidden(&name.path, detail));
        }
    }
}

/// The new spec with everything put back that may change.
fn without_change(new: &At<'_>, old: &At<'_>) -> Value {
    let mut kept = new.value.clone();
    for list in old.known(LISTS) {
        let Some(containers) = kept.get_mut(&*list).and_then(Value::as_array_mut) else { continue };
        for (container, before) in containers.iter_mut().zip(old.get(list).items()) {
            rules::copy(container, before.value, before.name("image"));
        }
    }
    for field in old.known(["activeDeadlineSeconds", "schedulingGates", "tolerations"]) {
        rules::copy(&mut kept, old.value, field);
    }
    let period = old.name("terminationGracePeriodSeconds");
    let was_negative = old.get(period).number().is_some_and(|before| before < 0);
    if was_negative && new.get(period).number() == Some(1) {
        rules::copy(&mut kept, old.value, period);
    }
    kept
}

/// A pod that is held back may be steered more narrowly: its node selector may gain labels, its node affinity may be set.
fn gated(kept: &mut Value, new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let selector = new.field("nodeSelector");
    let lost = old.field("nodeSelector").entries().any(|(key, value)| selector.value.get(key) != Some(value.value));
    if lost {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid(&selector.path, selector.value.clone(), detail));
    }
    rules::copy(kept, old.value, old.name("nodeSelector"));
    let (after, before) = (new.at(&["affinity", "nodeAffinity"]), old.at(&["affinity", "nodeAffinity"]));
    if same(after.value, before.value) {
        return;
    }
    node_terms(&after.field(REQUIRED).field("nodeSelectorTerms"), &before.field(REQUIRED), errors);
    let affinity = old.name("affinity");
    let [node, others @ ..] = old.get(affinity).known(["nodeAffinity", "podAffinity", "podAntiAffinity"]);
    match kept.get_mut(&*affinity).and_then(Value::as_object_mut) {
        None => {
            if before.is_set() {
                kept[&*affinity] = Value::Object(Map::from_iter([(node.to_string(), before.value.clone())]));
            }
        }
        Some(map) if old.field("affinity").is_absent() && others.iter().all(|name| !map.contains_key(&**name)) => {
            rules::copy(kept, old.value, affinity);
        }
        Some(map) => {
            map.remove(&*node);
            if before.is_set() {
                map.insert(node.to_string(), before.value.clone());
            }
        }
    }
}

/// `validateNodeAffinityMutation`: every term is kept and at most gains requirements.
fn node_terms(new: &At<'_>, required: &At<'_>, errors: &mut ErrorList) {
    let old = required.field("nodeSelectorTerms");
    if required.is_absent() || old.is_empty() {
        return;
    }
    if new.len() != old.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        let shown = internal::shown("[]core.NodeSelectorTerm", new.value);
        errors.push(FieldError::invalid_text(&new.path, shown, detail));
        return;
    }
    for (after, before) in new.items().zip(old.items()) {
        const LISTS: [&str; 2] = ["matchExpressions", "matchFields"];
        let (all, former) = (after.fields(LISTS), before.fields(LISTS));
        let was_empty = former.iter().all(At::is_empty);
        let grows = all.iter().zip(&former).all(|(after, before)| {
            after.len() >= before.len() && after.items().zip(before.items()).all(|(a, b)| same(a.value, b.value))
        });
        if !grows || was_empty && all.iter().any(|list| !list.is_empty()) {
            let detail = "only additions are allowed (no mutations or deletions)";
            let shown = internal::shown("core.NodeSelectorTerm", after.value);
            errors.push(FieldError::invalid_text(&after.path, shown, detail));
        }
    }
}
