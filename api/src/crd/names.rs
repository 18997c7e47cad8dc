//! Which names a definition gets, and the conditions that say so (the naming, establishing and API approval
//! controllers of apiextensions, as one pure function).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::definition::approval;
use crate::Object;
use crate::conditions::{Condition, find};

/// The status that a definition should have.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// `status.acceptedNames`
    pub accepted_names: Value,
    /// `status.conditions`
    pub conditions: Vec<Value>,
    /// Whether the status differs from the one that the definition has.
    pub changed: bool,
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or("").to_string()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    let items = value.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(String::from).collect()
}

/// Whether objects of the definition are served.
pub fn is_established(definition: &Object) -> bool {
    condition(definition, "Established").is_some_and(|c| c.status() == "True")
}

fn condition<'o>(definition: &'o Object, kind: &str) -> Option<&'o Value> {
    let conditions = definition.at(&["status", "conditions"]).and_then(Value::as_array)?;
    find(conditions, kind)
}

/// The names and conditions of a definition beside the other definitions of its group. `now` is the time of a
/// condition that changes.
pub fn conditions<'o>(definition: &Object, others: impl IntoIterator<Item = &'o Object>, now: &str) -> Conditions {
    let null = Value::Null;
    let requested = definition.at(&["spec", "names"]).unwrap_or(&null);
    let accepted = definition.at(&["status", "acceptedNames"]).unwrap_or(&null);
    let (resources, kinds) = taken(definition, others);
    let mut names = accepted.as_object().cloned().unwrap_or_default();
    let mut conflict: Option<(&str, String)> = None;
    for (name, used, reason) in [
        ("plural", &resources, "PluralConflict"),
        ("singular", &resources, "SingularConflict"),
        ("shortNames", &resources, "ShortNamesConflict"),
        ("kind", &kinds, "KindConflict"),
        ("listKind", &kinds, "ListKindConflict"),
    ] {
        match clash(requested, accepted, name, used) {
            Some(message) => conflict = Some((reason, message)),
            None => copy(&mut names, requested, name),
        }
    }
    copy(&mut names, requested, "categories");
    let mut conditions =
        definition.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let (status, reason, message) = match &conflict {
        Some((reason, message)) => ("False", *reason, message.as_str()),
        None => ("True", "NoConflicts", "no conflicts found"),
    };
    set(&mut conditions, "NamesAccepted", status, reason, message, now);
    if !is_established(definition) {
        let (status, reason, message) = match conflict {
            None => ("True", "InitialNamesAccepted", "the initial names have been accepted"),
            Some(_) => ("False", "NotAccepted", "not all names are accepted"),
        };
        set(&mut conditions, "Established", status, reason, message, now);
    }
    if let Some((approval, message)) = approval::of(definition) {
        let (status, reason) = approval.condition();
        set(&mut conditions, "KubernetesAPIApprovalPolicyConformant", status, reason, &message, now);
    }
    let accepted_names = Value::Object(names);
    let old = definition.at(&["status", "conditions"]).and_then(Value::as_array);
    let changed = accepted_names != *accepted || old != Some(&conditions);
    Conditions { accepted_names, conditions, changed }
}

/// The names that the definitions of the group have; the definition's own are among them, so that it cannot have one
/// twice.
fn taken<'o>(
    definition: &Object,
    others: impl IntoIterator<Item = &'o Object>,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let group = definition.str_at(&["spec", "group"]);
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for other in others {
        if other.str_at(&["spec", "group"]) != group {
            continue;
        }
        let Some(names) = other.at(&["status", "acceptedNames"]) else { continue };
        resources.extend([text(names, "plural"), text(names, "singular")]);
        resources.extend(texts(names, "shortNames"));
        kinds.extend([text(names, "kind"), text(names, "listKind")]);
    }
    (resources, kinds)
}

fn clash(requested: &Value, accepted: &Value, name: &str, used: &BTreeSet<String>) -> Option<String> {
    let in_use = |name: &String| format!("{name:?} is already in use");
    if name == "shortNames" {
        let ours: BTreeSet<String> = texts(accepted, name).into_iter().collect();
        let wanted = texts(requested, name);
        let clashes: Vec<String> =
            wanted.iter().filter(|n| !ours.contains(*n) && used.contains(*n)).map(in_use).collect();
        return match clashes.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            many => Some(format!("[{}]", many.join(", "))),
        };
    }
    let wanted = text(requested, name);
    (wanted != text(accepted, name) && used.contains(&wanted)).then(|| in_use(&wanted))
}

fn copy(names: &mut Map<String, Value>, requested: &Value, name: &str) {
    match requested.get(name).filter(|v| !v.is_null()) {
        Some(value) => names.insert(name.to_string(), value.clone()),
        None => names.remove(name),
    };
}

/// Sets a condition; its time changes only with its status.
fn set(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str, now: &str) {
    let new = |time: &str| json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": time});
    match conditions.iter_mut().find(|c| text(c, "type") == kind) {
        Some(old) => {
            let time = if text(old, "status") == status { text(old, "lastTransitionTime") } else { now.to_string() };
            let generation = old.get("observedGeneration").cloned();
            *old = new(&time);
            if let Some(generation) = generation {
                old["observedGeneration"] = generation;
            }
        }
        None => conditions.push(new(now)),
    }
}
