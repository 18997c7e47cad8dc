//! The Secrets and ConfigMaps that a pod names. What it refers to through claims is not among them.

use serde_json::Value;

/// Containers of every sort.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
/// Volumes that name a Secret in `secretRef.name`.
const WITH_SECRET: [&str; 7] = ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"];

/// The names of the Secrets that the specification of a pod refers to, each as often as it does (`VisitPodSecretNames` in
/// `pkg/api/v1/pod`).
pub fn secret_names(spec: &Value) -> impl Iterator<Item = &str> {
    let pulls = items(spec, "imagePullSecrets").map(|secret| text(secret, &["name"]));
    let volumes = items(spec, "volumes").flat_map(of_volume);
    pulls.chain(of_containers(spec, "secretRef", "secretKeyRef")).chain(volumes).filter(|name| !name.is_empty())
}

/// The same for ConfigMaps (`VisitPodConfigmapNames`).
pub fn config_map_names(spec: &Value) -> impl Iterator<Item = &str> {
    let volumes = items(spec, "volumes")
        .flat_map(|volume| std::iter::once(text(volume, &["configMap", "name"])).chain(projected(volume, "configMap")));
    of_containers(spec, "configMapRef", "configMapKeyRef").chain(volumes).filter(|name| !name.is_empty())
}

fn of_containers<'a>(
    spec: &'a Value,
    whole: &'static str,
    key: &'static str,
) -> impl Iterator<Item = &'a str> + use<'a> {
    CONTAINERS.iter().flat_map(|list| items(spec, list)).flat_map(move |container| {
        let whole = items(container, "envFrom").map(move |from| text(from, &[whole, "name"]));
        whole.chain(items(container, "env").map(move |variable| text(variable, &["valueFrom", key, "name"])))
    })
}

fn of_volume(volume: &Value) -> impl Iterator<Item = &str> {
    let references = WITH_SECRET.iter().map(|sort| text(volume, &[sort, "secretRef", "name"]));
    let others = [
        text(volume, &["azureFile", "secretName"]),
        text(volume, &["secret", "secretName"]),
        text(volume, &["csi", "nodePublishSecretRef", "name"]),
    ];
    references.chain(others).chain(projected(volume, "secret"))
}

fn projected<'a>(volume: &'a Value, sort: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
    let sources = volume.get("projected").into_iter().flat_map(|projected| items(projected, "sources"));
    sources.map(move |source| text(source, &[sort, "name"]))
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    let found = path.iter().try_fold(value, |value, field| value.get(field));
    found.and_then(Value::as_str).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_names_one() {
        let container = |name: &str| {
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}},
                {"name": "secretKeyRef", "value": "x"}, {"valueFrom": {"configMapKeyRef": {"name": "m1"}}}],
                "envFrom": [{"secretRef": {"name": format!("{name}2")}}, {"configMapRef": {"name": "m2"}}]})
        };
        let mut volumes: Vec<Value> =
            WITH_SECRET.iter().map(|sort| json!({"name": "x", *sort: {"secretRef": {"name": sort}}})).collect();
        volumes.push(json!({"azureFile": {"secretName": "azureFile"}}));
        volumes.push(json!({"secret": {"secretName": "secret"}}));
        volumes.push(json!({"csi": {"nodePublishSecretRef": {"name": "csi"}}}));
        volumes.push(
            json!({"projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "m3"}}]}}),
        );
        volumes.push(json!({"secret": {"secretName": ""}}));
        volumes.push(json!({"configMap": {"name": "m4"}}));
        let spec = json!({
            "imagePullSecrets": [{"name": "pull"}, {}], "volumes": volumes, "initContainers": [container("init")],
            "containers": [container("a")], "ephemeralContainers": [container("e")], "serviceAccountName": "x",
        });
        let mut found: Vec<&str> = secret_names(&spec).collect();
        found.sort_unstable();
        let mut expected = vec!["pull", "init", "init2", "a", "a2", "e", "e2"];
        expected.extend(WITH_SECRET.iter().chain(&["azureFile", "secret", "csi", "projected"]));
        expected.sort_unstable();
        assert_eq!(found, expected);
        let mut found: Vec<&str> = config_map_names(&spec).collect();
        found.sort_unstable();
        assert_eq!(found, ["m1", "m1", "m1", "m2", "m2", "m2", "m3", "m4"]);
        assert_eq!(secret_names(&json!({"volumes": {"secret": {"secretName": "x"}}})).count(), 0);
    }
}
