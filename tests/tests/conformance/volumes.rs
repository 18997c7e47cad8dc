//! Volumes and claims.

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, condition, has};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test(
            "[sig-storage] PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC [Conformance]",
            lifecycle,
        ),
        test(
            "[sig-storage] PersistentVolumes CSI Conformance should apply changes to a pv/pvc status [Conformance]",
            status,
        ),
    ]
}

/// A volume of a driver that nobody runs, and a claim of its class.
async fn made(plane: &Plane, suffix: &str) -> (Resource, Resource, String) {
    let (volumes, claims) = (plane.wide("v1", "persistentvolumes"), plane.of("v1", "persistentvolumeclaims"));
    let (name, class) = (plane.unique(&format!("volume-{suffix}")), plane.unique("class"));
    let csi = json!({"driver": "inline.example.com", "volumeHandle": "conformance"});
    let volume = json!({"metadata": {"name": name, "labels": {"of": plane.namespace()}}, "spec": {"capacity": {"storage": "2Gi"},
        "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain", "storageClassName": class, "csi": csi}});
    volumes.create(volume).await;
    let claim = json!({"metadata": {"name": "claim"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "resources": {"requests": {"storage": "2Gi"}}}});
    let claim = claims.create(claim).await;
    assert_eq!(claim["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    (volumes, claims, name)
}

async fn lifecycle(plane: Plane) {
    let label = format!("labelSelector=of%3D{}", plane.namespace());
    let (volumes, claims, name) = made(&plane, "a").await;
    assert_eq!((volumes.list(&label).await.len(), claims.list("").await.len()), (1, 1));
    let patch = json!({"metadata": {"labels": {"patched": "true"}}});
    assert!(has(&volumes.strategic(&name, patch.clone()).await, &patch));
    assert!(has(&claims.strategic("claim", patch.clone()).await, &patch));
    claims.delete("claim").await;
    claims.until_gone("claim").await;
    volumes.delete(&name).await;
    volumes.until_gone(&name).await;
    let (volumes, claims, name) = made(&plane, "b").await;
    let updated = json!({"metadata": {"labels": {"updated": "true"}}});
    let change = |o: &mut Value| o["metadata"]["labels"]["updated"] = json!("true");
    assert!(has(&volumes.change(&name, change).await, &updated));
    assert!(has(&claims.change("claim", change).await, &updated));
    let everywhere = plane.wide("v1", "persistentvolumeclaims").list("labelSelector=updated%3Dtrue").await;
    assert!(everywhere.iter().any(|c| c["metadata"]["namespace"] == plane.namespace()));
    claims.delete_all("labelSelector=updated%3Dtrue").await;
    claims.until_gone("claim").await;
    volumes.delete_all(&label).await;
    volumes.until_gone(&name).await;
}

async fn status(plane: Plane) {
    let (volumes, claims, name) = made(&plane, "a").await;
    claims.until("claim", "it is bound", |c| c["status"]["phase"] == "Bound").await;
    let added = |kind: &str| json!({"type": kind, "status": "True", "reason": "Test", "message": "it is a test"});
    let patched = claims.status().merge("claim", json!({"status": {"conditions": [added("StatusPatched")]}})).await;
    assert_eq!(condition(&patched, "StatusPatched")["reason"], "Test");
    let patch = json!({"status": {"message": "StatusPatched", "reason": "E2E"}});
    assert!(has(&volumes.status().merge(&name, patch.clone()).await, &patch));
    let updated = claims
        .status()
        .change("claim", |c| c["status"]["conditions"].as_array_mut().expect("conditions").push(added("StatusUpdated")))
        .await;
    assert_eq!(condition(&updated, "StatusUpdated")["status"], "True");
    let updated = volumes.status().change(&name, |v| v["status"]["message"] = json!("StatusUpdated")).await;
    assert_eq!(updated["status"]["message"], "StatusUpdated");
    claims.delete("claim").await;
    volumes.delete(&name).await;
}
