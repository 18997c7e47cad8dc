//! `roles.json`: the roles and bindings that every cluster starts with, from what the reference's own test expects.

use std::error::Error;
use std::path::Path;

use serde_json::{Map, Value, json};

type Read<T> = Result<T, Box<dyn Error>>;

const FOLDER: &str = "plugin/pkg/auth/authorizer/rbac/bootstrappolicy/testdata";
const GROUP: &str = "rbac.authorization.k8s.io";

/// The resources, their kinds and the files that have their objects.
const RESOURCES: [(&str, &str, &[&str]); 4] = [
    ("clusterrolebindings", "ClusterRoleBinding", &["cluster-role-bindings.yaml", "controller-role-bindings.yaml"]),
    ("clusterroles", "ClusterRole", &["cluster-roles.yaml", "controller-roles.yaml"]),
    ("rolebindings", "RoleBinding", &["namespace-role-bindings.yaml"]),
    ("roles", "Role", &["namespace-roles.yaml"]),
];

/// The text of the file.
///
/// # Errors
/// A file that is not there or no list of these objects.
pub(super) fn write(from: &Path) -> Read<String> {
    let mut groups = Vec::new();
    for (resource, kind, files) in RESOURCES {
        let mut objects = Vec::new();
        for file in files {
            let path = from.join(FOLDER).join(file);
            let read = || -> Read<Vec<Map<String, Value>>> {
                let list: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?;
                let items = list["items"].as_array().ok_or("no items")?;
                items.iter().map(|item| object(item, kind)).collect()
            };
            objects.extend(read().map_err(|error| format!("{}: {error}", path.display()))?);
        }
        objects.sort_by_key(|object| {
            let metadata = &object["metadata"];
            (metadata["namespace"].to_string(), metadata["name"].to_string())
        });
        let items: Vec<_> = objects.iter().map(|object| json!(object).to_string()).collect();
        groups.push(format!(
            "{{\"group\":\"{GROUP}\",\"version\":\"v1\",\"resource\":\"{resource}\",\"kind\":\"{kind}\",\"items\":[\n{}\n]}}",
            items.join(",\n")
        ));
    }
    Ok(format!("[\n{}\n]\n", groups.join(",\n")))
}

/// An object without its kind and version, which the group around it has.
fn object(item: &Value, kind: &str) -> Read<Map<String, Value>> {
    if item["kind"] != kind || item["apiVersion"] != format!("{GROUP}/v1") {
        return Err(format!("{} is no {kind}", item["kind"]).into());
    }
    let mut object = item.as_object().cloned().unwrap_or_default();
    object.retain(|name, _| name != "kind" && name != "apiVersion");
    Ok(object)
}
