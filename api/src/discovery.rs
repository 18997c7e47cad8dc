//! Discovery documents, built from a [`Catalogue`]: the plain ones below `/api` and `/apis` and the aggregated form.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::catalogue::{Catalogue, Resource, Subresource};

/// `/api`: the versions of the core group. `address` is what clients reach the server at, as `host:port`.
pub fn core_versions(catalogue: &Catalogue, address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": catalogue.versions(""),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`: groups with their versions, the preferred first.
pub fn group_list(groups: &[(String, Vec<String>)]) -> Value {
    let groups: Vec<Value> =
        groups.iter().map(|(group, versions)| Value::Object(group_entry(group, versions))).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`: the versions of a group, the preferred first.
pub fn group_of(group: &str, versions: &[String]) -> Value {
    let mut entry = group_entry(group, versions);
    entry.insert("kind".to_string(), "APIGroup".into());
    entry.insert("apiVersion".to_string(), "v1".into());
    Value::Object(entry)
}

/// `/api/v1` and `/apis/GROUP/VERSION`; none if the version is not served.
pub fn resources(catalogue: &Catalogue, group: &str, version: &str) -> Option<Value> {
    let rows = catalogue.of_version(group, version);
    let first = rows.first()?;
    let mut list = Vec::new();
    for row in rows {
        list.push(resource_entry(row));
        list.extend(row.subresources.iter().map(|subresource| subresource_entry(row, subresource)));
    }
    let mut document = json!({"kind": "APIResourceList", "groupVersion": first.api_version(), "resources": list});
    // The core group's document is older than `apiVersion` in it.
    if !group.is_empty() {
        document["apiVersion"] = "v1".into();
    }
    Some(document)
}

/// The aggregated form of `/api` (`core` is true) or `/apis`, in version `v2` or `v2beta1` of `apidiscovery.k8s.io`.
pub fn aggregated(catalogue: &Catalogue, core: bool, version: &str) -> Value {
    let groups = catalogue.groups().into_iter().filter(|group| group.is_empty() == core);
    aggregated_list(groups.map(|group| aggregated_group(catalogue, group)).collect(), version)
}

/// The aggregated form of these groups.
pub fn aggregated_list(groups: Vec<Value>, version: &str) -> Value {
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": groups,
    })
}

/// What the aggregated form has of a version that is served.
pub fn aggregated_version(catalogue: &Catalogue, group: &str, version: &str) -> Value {
    let rows = catalogue.of_version(group, version);
    let resources: Vec<Value> = rows.iter().map(|row| aggregated_resource(row)).collect();
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

fn group_entry(group: &str, versions: &[String]) -> Map<String, Value> {
    let version = |version: &String| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let versions: Vec<Value> = versions.iter().map(version).collect();
    let mut entry = Map::new();
    entry.insert("name".to_string(), group.into());
    entry.insert("preferredVersion".to_string(), versions.first().cloned().unwrap_or(Value::Null));
    entry.insert("versions".to_string(), Value::Array(versions));
    entry
}

fn resource_entry(row: &Resource) -> Value {
    let mut entry = json!({
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": row.verbs,
    });
    let map = entry.as_object_mut().expect("made an object");
    add_names(map, row);
    if !row.storage_version_hash.is_empty() {
        map.insert("storageVersionHash".to_string(), row.storage_version_hash.clone().into());
    }
    entry
}

fn subresource_entry(row: &Resource, subresource: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", row.plural, subresource.name),
        "singularName": "",
        "namespaced": row.namespaced,
        "kind": subresource.kind,
        "verbs": subresource.verbs,
    });
    if !subresource.version.is_empty() {
        entry["version"] = subresource.version.clone().into();
        if !subresource.group.is_empty() {
            entry["group"] = subresource.group.clone().into();
        }
    }
    entry
}

fn add_names(map: &mut Map<String, Value>, row: &Resource) {
    for (name, words) in [("shortNames", &row.short_names), ("categories", &row.categories)] {
        if !words.is_empty() {
            map.insert(name.to_string(), json!(words));
        }
    }
}

fn aggregated_group(catalogue: &Catalogue, group: &str) -> Value {
    let versions = catalogue.versions(group).into_iter();
    let versions: Vec<Value> = versions.map(|version| aggregated_version(catalogue, group, version)).collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(row: &Resource) -> Value {
    // The reference leaves group and version empty where they are those of the document, but not for custom resources.
    let (group, version) = if row.custom { (row.group.as_str(), row.version.as_str()) } else { ("", "") };
    let mut entry = json!({
        "resource": row.plural,
        "responseKind": {"group": group, "version": version, "kind": row.kind},
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": row.verbs,
    });
    let map = entry.as_object_mut().expect("made an object");
    add_names(map, row);
    if !row.subresources.is_empty() {
        let subresources: Vec<Value> = row
            .subresources
            .iter()
            .map(|subresource| {
                let own = !subresource.version.is_empty();
                let (group, version) =
                    if own { (subresource.group.as_str(), subresource.version.as_str()) } else { (group, version) };
                json!({
                    "subresource": subresource.name,
                    "responseKind": {"group": group, "version": version, "kind": subresource.kind},
                    "verbs": subresource.verbs,
                })
            })
            .collect();
        map.insert("subresources".to_string(), Value::Array(subresources));
    }
    entry
}
