//! Managed fields of the scale subresource: the replica count is a field of the object itself under another path.

use serde_json::Value;

use super::managers::{Manager, Managers, decode};
use super::set::{PathElement, Set};
use crate::Object;

const SCALE_VERSION: &str = "autoscaling/v1";

fn set_of(path: &[PathElement]) -> Set {
    let mut set = Set::default();
    set.insert(path);
    set
}

fn in_scale() -> Set {
    Set::of_fields(&[&["spec", "replicas"]])
}

fn path_of(replicas_path: &[&str]) -> Vec<PathElement> {
    replicas_path.iter().map(|name| PathElement::field(name)).collect()
}

fn entries(managers: &Managers) -> Vec<Value> {
    let mut object = Object::default();
    managers.encode_into(&mut object);
    object.at(&["metadata", "managedFields"]).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The entries that a Scale shows, from those of the object: who owns the replica count.
pub fn scale_to_subresource(parent: &[Value], replicas_path: &[&str]) -> Vec<Value> {
    let path = path_of(replicas_path);
    let mut managers = decode(parent).unwrap_or_default();
    managers.0.retain(|_, manager| manager.set.has(&path));
    for manager in managers.0.values_mut() {
        manager.api_version = SCALE_VERSION.to_string();
        manager.set = in_scale();
    }
    entries(&managers)
}

/// The object's entries after a write of its Scale. `api_version` is the object's.
pub fn scale_to_parent(parent: &[Value], scale: &[Value], replicas_path: &[&str], api_version: &str) -> Vec<Value> {
    let path = path_of(replicas_path);
    let scale_path = path_of(&["spec", "replicas"]);
    let parents = decode(parent).unwrap_or_default();
    let mut scales = decode(scale).unwrap_or_default();
    let mut out = Managers::default();
    // What a scale owns anew has the time of the object's entry of the same name, which there mostly is none of.
    let times: Vec<_> = parents.0.iter().map(|(id, manager)| (id.clone(), manager.time.clone())).collect();
    for (id, manager) in parents.0 {
        // Entries of a Scale are named by the object's version: the version is no part of the comparison.
        let same = |other: &super::managers::Identity| {
            other.manager == id.manager && other.operation == id.operation && other.subresource == id.subresource
        };
        let found = scales.0.keys().find(|other| same(other)).cloned();
        let mut kept = manager.clone();
        if manager.set.has(&path) {
            match found {
                Some(found) => {
                    scales.0.remove(&found);
                }
                None => kept.set.subtract(&set_of(&path)),
            }
        }
        if !kept.set.is_empty() {
            out.0.insert(id, kept);
        }
    }
    for (mut id, _) in scales.0.into_iter().filter(|(_, m)| m.set.has(&scale_path)) {
        if !id.api_version.is_empty() {
            id.api_version = api_version.to_string();
        }
        let set = set_of(&path);
        let time = times.iter().find(|(known, _)| *known == id).and_then(|(_, time)| time.clone());
        out.0.insert(id, Manager { api_version: api_version.to_string(), time, set });
    }
    entries(&out)
}
