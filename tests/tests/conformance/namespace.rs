//! Namespaces.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, condition, eventually, has};

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    const NAMESPACES: [&str; 7] = [
        "[sig-api-machinery] Namespaces [Serial] should ensure that all pods are removed when a namespace is deleted [Conformance]",
        "[sig-api-machinery] Namespaces [Serial] should ensure that all services are removed when a namespace is deleted [Conformance]",
        "[sig-api-machinery] Namespaces [Serial] should patch a Namespace [Conformance]",
        "[sig-api-machinery] Namespaces [Serial] should apply changes to a namespace status [Conformance]",
        "[sig-api-machinery] Namespaces [Serial] should apply an update to a Namespace [Conformance]",
        "[sig-api-machinery] Namespaces [Serial] should apply a finalizer to a Namespace [Conformance]",
        "[sig-api-machinery] OrderedNamespaceDeletion namespace deletion should delete pod first [Conformance]",
    ];
    let [pods, services, patch, status, update, finalizer, ordered] = NAMESPACES;
    vec![
        test(pods, |plane| async move {
            let pod = json!({"metadata": {"name": "one"}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
            emptied(plane, "pods", pod).await;
        }),
        test(services, |plane| async move {
            let service = json!({"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}});
            emptied(plane, "services", service).await;
        }),
        test(patch, |plane| async move {
            let label = json!({"metadata": {"labels": {"patched": "true"}}});
            let namespaces = plane.wide("v1", "namespaces");
            namespaces.strategic(plane.namespace(), label.clone()).await;
            assert!(has(&namespaces.get(plane.namespace()).await, &label));
        }),
        test(status, written_status),
        test(update, |plane| async move {
            let namespaces = plane.wide("v1", "namespaces");
            let name = plane.namespace();
            let updated = namespaces.change(name, |n| n["metadata"]["labels"]["updated"] = json!("true")).await;
            assert!(has(
                &updated,
                &json!({"metadata": {"labels": {"updated": "true", "kubernetes.io/metadata.name": name}}})
            ));
        }),
        test(finalizer, finalized),
        test(ordered, pods_first),
    ]
}

/// What is in a namespace goes with it, and a namespace of the same name is empty.
async fn emptied(plane: Plane, resource: &str, object: Value) {
    let other = plane.second_namespace().await;
    let (objects, namespaces) = (other.of("v1", resource), plane.wide("v1", "namespaces"));
    objects.create(object.clone()).await;
    if resource == "pods" {
        objects.until("one", "it runs", |pod| pod["status"]["phase"] == "Running").await;
    }
    namespaces.delete(other.namespace()).await;
    namespaces.until_gone(other.namespace()).await;
    namespaces.create(json!({"metadata": {"name": other.namespace()}})).await;
    assert!(objects.list("").await.is_empty());
    other.leave().await;
}

async fn written_status(plane: Plane) {
    let namespaces = plane.wide("v1", "namespaces");
    let name = plane.namespace();
    let added = |reason: &str| json!({"type": "Tried", "status": "True", "reason": reason, "message": "it is a test"});
    assert_eq!(namespaces.status().get(name).await["status"]["phase"], "Active");
    let patched = namespaces.status().merge(name, json!({"status": {"conditions": [added("Patched")]}})).await;
    assert_eq!(condition(&patched, "Tried")["reason"], "Patched");
    let written = namespaces.status().change(name, |n| n["status"]["conditions"] = json!([added("Updated")])).await;
    assert_eq!(condition(&written, "Tried")["reason"], "Updated");
}

async fn finalized(plane: Plane) {
    let namespaces = plane.wide("v1", "namespaces");
    let name = plane.unique("held");
    namespaces.create(json!({"metadata": {"name": name}})).await;
    let held = json!(["kubernetes", "example.com/test"]);
    let finalize = namespaces.sub("finalize");
    let mut object = namespaces.get(&name).await;
    object["spec"]["finalizers"] = held.clone();
    let mut with = finalize.update(&object).await;
    assert_eq!(with["spec"]["finalizers"], held);
    with["spec"]["finalizers"] = json!(["kubernetes"]);
    assert_eq!(finalize.update(&with).await["spec"]["finalizers"], json!(["kubernetes"]));
    namespaces.delete(&name).await;
    namespaces.until_gone(&name).await;
}

/// Everything else stays as long as a pod is held.
async fn pods_first(plane: Plane) {
    let other = plane.second_namespace().await;
    let (pods, maps) = (other.of("v1", "pods"), other.of("v1", "configmaps"));
    let namespaces = plane.wide("v1", "namespaces");
    maps.create(json!({"metadata": {"name": "one"}})).await;
    let hold = json!(["example.com/hold"]);
    pods.create(json!({"metadata": {"name": "one", "finalizers": hold}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}}))
        .await;
    namespaces.delete(other.namespace()).await;
    let ns = Arc::new(other.namespace().to_owned());
    namespaces
        .until(&ns, "the reason why it stays", |n| {
            condition(n, "NamespaceDeletionContentFailure")["status"] == "True"
                || condition(n, "NamespaceFinalizersRemaining")["status"] == "True"
        })
        .await;
    assert!(pods.get("one").await["metadata"]["deletionTimestamp"].is_string());
    let map = maps.get("one").await;
    assert!(map["metadata"]["deletionTimestamp"].is_null(), "it stays until the pods are gone");
    pods.merge("one", json!({"metadata": {"finalizers": null}})).await;
    eventually("the namespace to go", async || namespaces.find(&ns).await.is_none()).await;
}
