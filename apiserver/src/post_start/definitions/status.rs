//! What the status of a definition says.

use api::Object;
use api::crd::Conditions;
use serde_json::{Map, Value, json};

/// A state of the condition `Terminating`: status, reason and message.
pub type Stage = (&'static str, &'static str, &'static str);

/// The definition is marked.
pub const PENDING: Stage = (
    "True",
    "InstanceDeletionPending",
    "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
);
/// Its objects are being deleted.
pub const IN_PROGRESS: Stage = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress");
/// They are gone.
pub const COMPLETED: Stage = ("False", "InstanceDeletionCompleted", "removed all instances");
/// There were none.
pub const NEVER_ESTABLISHED: Stage = ("False", "NeverEstablished", "resource was never established");

/// Whether a definition has not come to a stage of its end yet.
pub fn is_before(definition: &Object, stage: &Stage) -> bool {
    let conditions = definition.at(&["status", "conditions"]).and_then(Value::as_array).into_iter().flatten();
    let reason = conditions.filter(|c| c["type"] == "Terminating").find_map(|c| c["reason"].as_str());
    let order = [PENDING.1, IN_PROGRESS.1, COMPLETED.1, NEVER_ESTABLISHED.1];
    let place = |reason: &str| order.iter().position(|known| *known == reason);
    reason.and_then(place) < place(stage.1)
}

/// Brings the status up to date: names and conditions, and the storage version among those that are stored.
pub fn update(definition: &mut Object, conditions: &Conditions) {
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array).into_iter().flatten();
    let storage = versions.filter(|version| version.get("storage").and_then(Value::as_bool) == Some(true));
    let storage: Vec<Value> = storage.filter_map(|version| version.get("name").cloned()).collect();
    let mut stored: Vec<Value> =
        definition.at(&["status", "storedVersions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    for version in storage {
        if !stored.contains(&version) {
            stored.push(version);
            definition.set(&["status", "storedVersions"], stored.clone());
        }
    }
    if conditions.changed {
        definition.set(&["status", "acceptedNames"], conditions.accepted_names.clone());
        definition.set(&["status", "conditions"], conditions.conditions.clone());
    }
}

/// Sets a condition at the time `now`; its time changes only with its status.
pub fn condition(now: &str, definition: &mut Object, kind: &str, state: &str, reason: &str, message: &str) {
    let mut conditions: Vec<Value> =
        definition.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut next = Map::new();
    for (name, value) in [("type", kind), ("status", state), ("reason", reason), ("message", message)] {
        next.insert(name.into(), value.into());
    }
    match conditions.iter_mut().find(|c| c.get("type").and_then(Value::as_str) == Some(kind)) {
        Some(found) => {
            let same = found.get("status").and_then(Value::as_str) == Some(state);
            let time = if same { found.get("lastTransitionTime").cloned() } else { None };
            next.insert("lastTransitionTime".into(), time.unwrap_or_else(|| json!(now)));
            *found = Value::Object(next);
        }
        None => {
            next.insert("lastTransitionTime".into(), json!(now));
            conditions.push(Value::Object(next));
        }
    }
    definition.set(&["status", "conditions"], conditions);
}
