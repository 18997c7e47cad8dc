//! The entries of `metadata.managedFields`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::Set;
use super::{UPDATE_MANAGERS_MAX, fields_v1};
use crate::Object;

/// How a manager came to own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By apply.
    Apply,
    /// By create, update or patch.
    Update,
}

/// What tells one manager from another: for appliers the version is no part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) manager: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

impl Identity {
    pub(crate) fn new(manager: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let api_version = if operation == Operation::Apply { "" } else { api_version };
        Self {
            manager: if manager.is_empty() { "unknown" } else { manager }.to_string(),
            operation,
            api_version: api_version.to_string(),
            subresource: subresource.to_string(),
        }
    }
}

/// What one manager owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Manager {
    /// The version of the paths.
    pub api_version: String,
    /// When it last changed.
    pub time: Option<String>,
    /// The fields.
    pub set: Set,
}

/// All managers of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Managers(pub(crate) BTreeMap<Identity, Manager>);

impl Managers {
    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields of one manager, if it has any: by name, operation and subresource.
    pub fn fields(&self, manager: &str, operation: Operation, subresource: &str) -> Option<&Set> {
        let mut found = self
            .0
            .iter()
            .filter(|(id, _)| id.manager == manager && id.operation == operation && id.subresource == subresource);
        found.next().map(|(_, manager)| &manager.set)
    }

    /// Merges the oldest updates into one entry a version, until there are few enough.
    pub(crate) fn cap(&mut self) {
        for (bucket, sets) in self.take_oldest() {
            if let Some(into) = self.0.get_mut(&bucket) {
                into.set = Set::union_of(sets.iter().chain([&into.set]));
            }
        }
    }

    /// Takes the oldest updates out, and gives their fields by the entries that they go into.
    fn take_oldest(&mut self) -> BTreeMap<Identity, Vec<Set>> {
        let mut more: BTreeMap<Identity, Vec<Set>> = BTreeMap::new();
        let mut updaters: Vec<(String, Identity)> = self
            .0
            .iter()
            .filter(|(id, _)| id.operation == Operation::Update)
            .map(|(id, m)| (m.time.clone().unwrap_or_default(), id.clone()))
            .collect();
        let mut count = updaters.len();
        updaters.sort();
        let mut first_of: BTreeMap<String, Identity> = BTreeMap::new();
        for (_, id) in updaters {
            if count <= UPDATE_MANAGERS_MAX {
                break;
            }
            let version = self.0[&id].api_version.clone();
            let Some(first) = first_of.get(&version) else {
                first_of.insert(version, id);
                continue;
            };
            let bucket = Identity::new("ancient-changes", Operation::Update, &version, "");
            if !self.0.contains_key(&bucket)
                && let Some(of_first) = self.0.remove(first)
            {
                self.0.insert(bucket.clone(), of_first);
            }
            if let (Some(merged), true) = (self.0.remove(&id), id != bucket) {
                let into = self.0.get_mut(&bucket).expect("the bucket was made");
                into.time = merged.time;
                more.entry(bucket).or_default().push(merged.set);
                count -= 1;
            }
        }
        more
    }

    /// Writes `metadata.managedFields`, or removes it if there is nothing to write.
    pub(crate) fn encode_into(&self, object: &mut Object) {
        if self.0.is_empty() {
            object.remove(&["metadata", "managedFields"]);
            return;
        }
        let mut entries: Vec<(&Identity, &Manager)> = self.0.iter().collect();
        entries.sort_by(|(a, am), (b, bm)| {
            (a.operation, am.time.as_deref().unwrap_or(""), &a.manager, &am.api_version, &a.subresource).cmp(&(
                b.operation,
                bm.time.as_deref().unwrap_or(""),
                &b.manager,
                &bm.api_version,
                &b.subresource,
            ))
        });
        let entries: Vec<Value> = entries.into_iter().map(|(id, manager)| encode(id, manager)).collect();
        object.metadata_mut().insert("managedFields".into(), Value::Array(entries));
    }
}

fn encode(id: &Identity, manager: &Manager) -> Value {
    let mut entry = Map::new();
    entry.insert("apiVersion".into(), manager.api_version.clone().into());
    entry.insert("fieldsType".into(), "FieldsV1".into());
    entry.insert("fieldsV1".into(), fields_v1::encode(&manager.set));
    if !id.manager.is_empty() {
        entry.insert("manager".into(), id.manager.clone().into());
    }
    let operation = if id.operation == Operation::Apply { "Apply" } else { "Update" };
    entry.insert("operation".into(), operation.into());
    if !id.subresource.is_empty() {
        entry.insert("subresource".into(), id.subresource.clone().into());
    }
    if let Some(time) = &manager.time {
        entry.insert("time".into(), time.clone().into());
    }
    Value::Object(entry)
}

/// Reads `metadata.managedFields`; nothing if an entry is malformed.
pub fn decode(entries: &[Value]) -> Option<Managers> {
    let mut managers = Managers::default();
    for entry in entries {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("");
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if text("apiVersion").is_empty() || text("fieldsType") != "FieldsV1" {
            return None;
        }
        let set = match entry.get("fieldsV1") {
            None | Some(Value::Null) => Set::default(),
            Some(fields) => fields_v1::decode(fields)?,
        };
        let id = Identity {
            manager: text("manager").to_string(),
            ..Identity::new("", operation, text("apiVersion"), text("subresource"))
        };
        let time = entry.get("time").and_then(Value::as_str).map(String::from);
        managers.0.insert(id, Manager { api_version: text("apiVersion").to_string(), time, set });
    }
    Some(managers)
}

/// The entries of an object.
pub(crate) fn entries(object: &Object) -> &[Value] {
    object.at(&["metadata", "managedFields"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The managers of an object; none if it has none or they are malformed.
pub(crate) fn of_live(live: Option<&Object>) -> Managers {
    live.and_then(|live| decode(entries(live))).unwrap_or_default()
}

/// The managers that the new object states, if it states any and not through a subresource; else the live ones.
pub(crate) fn of_live_or_new(live: Option<&Object>, new: &Object, subresource: &str) -> Managers {
    let entries = new.at(&["metadata", "managedFields"]).and_then(Value::as_array);
    match entries.filter(|_| subresource.is_empty()) {
        Some(entries) if is_reset(entries) => Managers::default(),
        Some(entries) => decode(entries).filter(|m| !m.is_empty()).unwrap_or_else(|| of_live(live)),
        None => of_live(live),
    }
}

/// An empty list, or a list of one empty entry, asks to drop all managed fields.
fn is_reset(entries: &[Value]) -> bool {
    let empty = |v: &Value| v.is_null() || v.as_str() == Some("");
    match entries {
        [] => true,
        [one] => one.as_object().is_some_and(|entry| entry.values().all(empty)),
        _ => false,
    }
}

/// The empty object of a kind.
pub(crate) fn empty_object(api_version: &str, kind: &str) -> Object {
    Object::from_value(json!({"apiVersion": api_version, "kind": kind, "metadata": {}})).unwrap_or_default()
}
