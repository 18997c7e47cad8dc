//! Which objects a pod refers to (`HasAPIObjectReference` in pkg/api/pod): found by where the fields stand, so that nothing is
//! taken for a reference that is only called so, and a volume of a sort unknown here is refused.

use api::Object;
use api::pods::{config_map_names, secret_names};
use serde_json::Value;

/// Volumes that need no object, but for the secrets of some.
const WITHOUT_OBJECT: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "cephfs",
    "cinder",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];
/// Volumes that are made of objects, and of which.
const WITH_OBJECT: [(&str, &str); 7] = [
    ("configMap", "configmaps (via configmap volumes)"),
    ("secret", "secrets (via secret volumes)"),
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ("azureFile", "secrets (via azureFile volumes)"),
];
/// Sources of projected volumes that are objects, and which.
const PROJECTED: [(&str, &str); 5] = [
    ("configMap", "configmaps (via projected volumes)"),
    ("secret", "secrets (via projected volumes)"),
    ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("podCertificate", "podcertificates"),
];

/// The first sort of objects that a pod refers to; none if it does not.
///
/// # Errors
/// A volume of which nobody here knows what it refers to.
pub(super) fn of(pod: &Object) -> Result<Option<&'static str>, String> {
    let Some(spec) = pod.at(&["spec"]) else { return Ok(None) };
    let named = |field: &str| !text(spec, field).is_empty();
    if named("serviceAccountName") || named("serviceAccount") {
        return Ok(Some("serviceaccounts"));
    }
    if secret_names(spec).next().is_some() {
        return Ok(Some("secrets"));
    }
    if config_map_names(spec).next().is_some() {
        return Ok(Some("configmaps"));
    }
    if items(spec, "resourceClaims").next().is_some() {
        return Ok(Some("resourceclaims"));
    }
    for volume in items(spec, "volumes") {
        if let Some(objects) = of_volume(volume)? {
            return Ok(Some(objects));
        }
    }
    Ok(None)
}

fn of_volume(volume: &Value) -> Result<Option<&'static str>, String> {
    if WITHOUT_OBJECT.iter().any(|sort| has(volume, sort)) {
        return Ok(None);
    }
    if let Some((_, objects)) = WITH_OBJECT.iter().find(|(sort, _)| has(volume, sort)) {
        return Ok(Some(objects));
    }
    let name = text(volume, "name");
    let projected = volume.get("projected").filter(|projected| !projected.is_null());
    let projected = projected.ok_or_else(|| format!("unknown volume type for volume  {name:?}"))?;
    for source in items(projected, "sources") {
        if let Some((_, objects)) = PROJECTED.iter().find(|(sort, _)| has(source, sort)) {
            return Ok(Some(objects));
        }
        if !has(source, "downwardAPI") {
            return Err(format!("unknown source for projected volume {name:?}"));
        }
    }
    Ok(None)
}

/// Whether a pod names a secret anywhere (`VisitPodSecretNames`).
pub(super) fn has_secret(pod: &Object) -> bool {
    pod.at(&["spec"]).is_some_and(|spec| secret_names(spec).next().is_some())
}

fn has(value: &Value, field: &str) -> bool {
    value.get(field).is_some_and(|value| !value.is_null())
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: Value, expected: Result<Option<&str>, &str>) {
        let pod = Object::from_value(json!({"spec": spec})).unwrap();
        let found = of(&pod);
        assert_eq!(found.as_ref().map(|found| *found).map_err(String::as_str), expected, "{spec}");
    }

    fn volume(source: Value) -> Value {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!({"volumes": [volume]})
    }

    #[test]
    fn every_way_to_refer() {
        check(json!({"serviceAccountName": "a"}), Ok(Some("serviceaccounts")));
        check(json!({"serviceAccount": "a"}), Ok(Some("serviceaccounts")));
        check(json!({"imagePullSecrets": [{"name": "s"}]}), Ok(Some("secrets")));
        check(json!({"resourceClaims": [{"name": "c"}]}), Ok(Some("resourceclaims")));
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            let of = |container: Value| json!({list: [container]});
            let key = |sort: &str| json!({"env": [{"name": "X", "valueFrom": {sort: {"name": "n", "key": "k"}}}]});
            let whole = |sort: &str| json!({"envFrom": [{sort: {"name": "n"}}]});
            check(of(key("secretKeyRef")), Ok(Some("secrets")));
            check(of(whole("secretRef")), Ok(Some("secrets")));
            check(of(key("configMapKeyRef")), Ok(Some("configmaps")));
            check(of(whole("configMapRef")), Ok(Some("configmaps")));
            check(of(key("fieldRef")), Ok(None));
        }
        check(volume(json!({"rbd": {"secretRef": {"name": "s"}}})), Ok(Some("secrets")));
        check(volume(json!({"secret": {"secretName": "s"}})), Ok(Some("secrets")));
        check(volume(json!({"configMap": {"name": "c"}})), Ok(Some("configmaps")));
        for (sort, objects) in WITH_OBJECT {
            check(volume(json!({sort: {}})), Ok(Some(objects)));
        }
        for (sort, objects) in PROJECTED {
            check(volume(json!({"projected": {"sources": [{"downwardAPI": {}}, {sort: {}}]}})), Ok(Some(objects)));
        }
        for sort in WITHOUT_OBJECT {
            check(volume(json!({sort: {}})), Ok(None));
        }
        check(volume(json!({"projected": {"sources": [{"downwardAPI": {}}]}})), Ok(None));
        check(volume(json!({"new": {}})), Err("unknown volume type for volume  \"v\""));
        check(
            volume(json!({"projected": {"sources": [{"new": {}}]}})),
            Err("unknown source for projected volume \"v\""),
        );
    }

    #[test]
    fn a_word_is_no_reference() {
        let variables = json!([{"name": "secretName", "value": "secretRef"}, {"name": "configMap"}]);
        check(json!({"containers": [{"name": "serviceAccountName", "env": variables}], "volumes": []}), Ok(None));
    }
}
