//! Whether the volume that a claim names can serve it (`checkVolumeSatisfyClaim`).

use api::volumes::class_of;
use client::volume_match::{is_large_enough, offers_access, same_attributes, same_mode};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

/// Why a volume cannot serve a claim.
pub(super) fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    match () {
        () if !is_large_enough(volume, claim) => Some("requested PV is too small"),
        () if class_of(claim) != class_of(volume) => Some("storageClassName does not match"),
        () if !same_attributes(volume, claim) => Some("volumeAttributesClassName does not match"),
        () if !same_mode(volume, claim) => Some("incompatible volumeMode"),
        () if !offers_access(volume, claim) => Some("incompatible accessMode"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn why_a_volume_does_not_serve() {
        let check = |own: Value, expected: Option<&str>| {
            let mut volume =
                json!({"metadata": {}, "spec": {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"]}});
            volume["spec"].as_object_mut().expect("a map").extend(own.as_object().cloned().unwrap_or_default());
            let claim = json!({"metadata": {}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "2Gi"}}}});
            let volume = serde_json::from_value(volume).expect("a volume");
            assert_eq!(mismatch(&volume, &serde_json::from_value(claim).expect("a claim")), expected, "{own}");
        };
        check(json!({}), None);
        check(json!({"volumeMode": "Block"}), Some("incompatible volumeMode"));
        check(json!({"capacity": {"storage": "1Gi"}}), Some("requested PV is too small"));
        check(json!({"storageClassName": "gold"}), Some("storageClassName does not match"));
        check(json!({"volumeAttributesClassName": "fast"}), Some("volumeAttributesClassName does not match"));
        check(json!({"accessModes": ["ReadOnlyMany"]}), Some("incompatible accessMode"));
    }
}
