//! ReplicaSets.

use serde_json::{Value, json};

use super::{image, owner_of, scaled, status_endpoints, workload};
use crate::case::{Conformance, test};
use crate::plane::Plane;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test(
            "[sig-apps] ReplicaSet should serve a basic image on each replica with a public image [Conformance]",
            |plane| async move {
                let sets = plane.of("apps/v1", "replicasets");
                sets.create(workload("one", 2)).await;
                sets.until("one", "its pods", |s| s["status"]["readyReplicas"] == 2).await;
                let pods = plane.of("v1", "pods").list("labelSelector=app%3Done").await;
                assert!(pods.len() == 2 && pods.iter().all(|p| p["status"]["podIP"].is_string()));
            },
        ),
        test(
            "[sig-apps] ReplicaSet should adopt matching pods on creation and release no longer matching pods [Conformance]",
            |plane| async move {
                let sets = plane.of("apps/v1", "replicasets");
                adopts_and_releases(&plane, async || sets.create(workload("one", 1)).await).await;
            },
        ),
        test(
            "[sig-apps] ReplicaSet Replicaset should have a working scale subresource [Conformance]",
            |plane| async move {
                let sets = plane.of("apps/v1", "replicasets");
                sets.create(workload("one", 1)).await;
                sets.until("one", "its pod", |s| s["status"]["readyReplicas"] == 1).await;
                scaled(&sets, "one").await;
            },
        ),
        test("[sig-apps] ReplicaSet Replace and Patch tests [Conformance]", |plane| async move {
            let sets = plane.of("apps/v1", "replicasets");
            sets.create(workload("one", 1)).await;
            sets.until("one", "its pod", |s| s["status"]["readyReplicas"] == 1).await;
            sets.change("one", |s| s["spec"]["replicas"] = json!(2)).await;
            sets.until("one", "two pods", |s| s["status"]["readyReplicas"] == 2).await;
            let mut patch = image("a:2");
            patch["spec"]["replicas"] = json!(3);
            patch["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(3);
            sets.strategic("one", patch).await;
            let patched = sets.until("one", "three pods", |s| s["status"]["readyReplicas"] == 3).await;
            assert_eq!(patched["spec"]["template"]["spec"]["containers"][0]["image"], "a:2");
        }),
        test(
            "[sig-apps] ReplicaSet should list and delete a collection of ReplicaSets [Conformance]",
            |plane| async move {
                let sets = plane.of("apps/v1", "replicasets");
                sets.create(workload("one", 3)).await;
                sets.until("one", "its pods", |s| s["status"]["readyReplicas"] == 3).await;
                assert_eq!(sets.list("labelSelector=of%3Done").await.len(), 1);
                sets.delete_all("labelSelector=of%3Done").await;
                sets.until_all("labelSelector=of%3Done", "none", <[Value]>::is_empty).await;
            },
        ),
        test("[sig-apps] ReplicaSet should validate Replicaset Status endpoints [Conformance]", |plane| async move {
            let sets = plane.of("apps/v1", "replicasets");
            sets.create(workload("one", 1)).await;
            sets.until("one", "its pod", |s| s["status"]["readyReplicas"] == 1).await;
            status_endpoints(&sets, "one").await;
        }),
    ]
}

/// A pod of before is the one that is asked for; when its labels change it is nobody's, and another takes its place.
pub(crate) async fn adopts_and_releases(plane: &Plane, create: impl AsyncFn() -> Value) {
    let pods = plane.of("v1", "pods");
    let pod = json!({"metadata": {"name": "one", "labels": {"app": "one"}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
    pods.create(pod).await;
    pods.until("one", "it runs", |pod| pod["status"]["phase"] == "Running").await;
    let set = create().await;
    let mine = |pod: &Value| owner_of(pod).is_some_and(|owner| owner["uid"] == set["metadata"]["uid"]);
    pods.until("one", "its owner", mine).await;
    assert_eq!(pods.list("").await.len(), 1);
    pods.merge("one", json!({"metadata": {"labels": {"app": "other"}}})).await;
    pods.until("one", "no owner", |pod| owner_of(pod).is_none()).await;
    pods.until_all("labelSelector=app%3Done", "another in its place", |all| all.len() == 1 && mine(&all[0])).await;
}
