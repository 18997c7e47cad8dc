//! The objects that every cluster starts with.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Problems;
use super::tables::Resources;
use crate::codegen::{ROLES, overlay};

fn groups(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap_or_default()
}

fn items(group: &Value) -> impl Iterator<Item = &Value> {
    group["items"].as_array().into_iter().flatten()
}

fn name(object: &Value) -> (&str, &str) {
    let metadata = &object["metadata"];
    (metadata["namespace"].as_str().unwrap_or(""), metadata["name"].as_str().unwrap_or(""))
}

/// That each group is one of a resource, with objects in order of their names.
pub(super) fn check(file: &str, text: &str, resources: &Resources, problems: &mut Problems) {
    let groups = groups(text);
    problems.unless(!groups.is_empty(), file, || "no list of groups of objects".to_string());
    for group in &groups {
        let word = |name: &str| group[name].as_str().unwrap_or("");
        let resource = overlay::resource(word("group"), word("version"), word("resource"));
        let kind = [word("group"), word("version"), word("kind")].join("\t");
        let known = resources.rows.get(&resource).is_some_and(|row| row.kind == kind);
        problems.unless(known, file, || format!("{resource} is no resource of kind {}", word("kind")));
        let names: Vec<_> = items(group).map(name).collect();
        problems.unless(names.is_sorted_by(|a, b| a < b), file, || format!("{resource}: objects are not sorted"));
    }
}

/// That each binding refers to a role that is there.
pub(super) fn roles(text: &str, problems: &mut Problems) {
    let groups = groups(text);
    let mut roles = BTreeSet::new();
    for group in &groups {
        roles.extend(items(group).map(|object| (group["kind"].as_str().unwrap_or(""), name(object))));
    }
    for binding in groups.iter().flat_map(items).filter(|object| object["roleRef"].is_object()) {
        let to = &binding["roleRef"];
        let (kind, to) = (to["kind"].as_str().unwrap_or(""), to["name"].as_str().unwrap_or(""));
        let namespace = if kind == "Role" { name(binding).0 } else { "" };
        let there = roles.contains(&(kind, (namespace, to)));
        problems.unless(there, ROLES, || format!("{:?} refers to {kind} {to}, which is not there", name(binding)));
    }
}

/// That every group version that is served has its APIService, and no other has.
pub(super) fn api_services(text: &str, resources: &Resources, problems: &mut Problems) {
    let groups = groups(text);
    let services = groups.iter().find(|group| group["resource"] == "apiservices");
    let stated: BTreeSet<String> =
        services.into_iter().flat_map(items).map(|object| name(object).1.to_string()).collect();
    // The group of APIServices itself is served by who aggregates and has none.
    let versions = resources.versions.iter().filter(|(group, _)| group != "apiregistration.k8s.io");
    let served: BTreeSet<String> = versions.map(|(group, version)| format!("{version}.{group}")).collect();
    for name in stated.symmetric_difference(&served) {
        problems.add(overlay::BOOTSTRAP, format!("{name} is an APIService or served, and not both"));
    }
}
