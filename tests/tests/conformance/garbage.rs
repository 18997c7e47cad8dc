//! The garbage collector.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, eventually};

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    const NAMES: [&str; 7] = [
        "[sig-api-machinery] Garbage collector should delete pods created by rc when not orphaning [Conformance]",
        "[sig-api-machinery] Garbage collector should orphan pods created by rc if delete options say so [Serial] [Conformance]",
        "[sig-api-machinery] Garbage collector should delete RS created by deployment when not orphaning [Conformance]",
        "[sig-api-machinery] Garbage collector should orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan [Conformance]",
        "[sig-api-machinery] Garbage collector should keep the rc around until all its pods are deleted if the deleteOptions says so [Serial] [Conformance]",
        "[sig-api-machinery] Garbage collector should not delete dependents that have both valid owner and owner that's waiting for dependents to be deleted [Serial] [Conformance]",
        "[sig-api-machinery] Garbage collector should not be blocked by dependency circle [Conformance]",
    ];
    let [pods, orphans, sets, orphaned_sets, foreground, two_owners, circle] = NAMES;
    vec![
        test(pods, |plane| async move {
            controller(&plane, "one", 2).await;
            plane.of("v1", "replicationcontrollers").try_delete("one", &policy("Background")).await.ok();
            plane.of("v1", "pods").until_all("", "no pods", <[Value]>::is_empty).await;
        }),
        test(orphans, |plane| async move {
            controller(&plane, "one", 3).await;
            let (controllers, pods) = (plane.of("v1", "replicationcontrollers"), plane.of("v1", "pods"));
            controllers.try_delete("one", &policy("Orphan")).await.ok();
            controllers.until_gone("one").await;
            let all = pods.list("").await;
            assert_eq!(all.len(), 3);
            assert!(all.iter().all(|p| owners(p).is_empty() && p["metadata"]["deletionTimestamp"].is_null()));
        }),
        test(sets, |plane| async move {
            deployment(&plane).await;
            plane.of("apps/v1", "deployments").try_delete("one", &policy("Background")).await.ok();
            plane.of("apps/v1", "replicasets").until_all("", "no sets", <[Value]>::is_empty).await;
            plane.of("v1", "pods").until_all("", "no pods", <[Value]>::is_empty).await;
        }),
        test(orphaned_sets, |plane| async move {
            deployment(&plane).await;
            let deployments = plane.of("apps/v1", "deployments");
            deployments.try_delete("one", &policy("Orphan")).await.ok();
            deployments.until_gone("one").await;
            let sets = plane.of("apps/v1", "replicasets").list("").await;
            assert!(sets.len() == 1 && owners(&sets[0]).is_empty(), "{sets:?}");
        }),
        test(foreground, in_foreground),
        test(two_owners, with_two_owners),
        test(circle, in_a_circle),
    ]
}

fn policy(policy: &str) -> Value {
    json!({"propagationPolicy": policy})
}

fn owners(object: &Value) -> Vec<Value> {
    object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default()
}

fn template(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}})
}

async fn controller(plane: &Plane, name: &str, replicas: u32) -> Value {
    let controllers = plane.of("v1", "replicationcontrollers");
    let spec = json!({"replicas": replicas, "selector": {"app": name}, "template": template(name)});
    controllers.create(json!({"metadata": {"name": name}, "spec": spec})).await;
    controllers
        .until(name, "its pods", |c| c["status"]["readyReplicas"].as_u64().unwrap_or(0) == u64::from(replicas))
        .await
}

async fn deployment(plane: &Plane) {
    let deployments = plane.of("apps/v1", "deployments");
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": "one"}}, "template": template("one")});
    deployments.create(json!({"metadata": {"name": "one"}, "spec": spec})).await;
    deployments.until("one", "its pods", |d| d["status"]["readyReplicas"] == 2).await;
}

async fn in_foreground(plane: Plane) {
    controller(&plane, "one", 5).await;
    let (controllers, pods) = (plane.of("v1", "replicationcontrollers"), plane.of("v1", "pods"));
    let held = pods.list("").await[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    pods.merge(&held, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    controllers.try_delete("one", &policy("Foreground")).await.ok();
    pods.until_all("", "all but the held pod to go", |all| all.len() == 1).await;
    let waiting = controllers.get("one").await;
    assert_eq!(waiting["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    pods.merge(&held, json!({"metadata": {"finalizers": null}})).await;
    controllers.until_gone("one").await;
    assert!(pods.list("").await.is_empty());
}

async fn with_two_owners(plane: Plane) {
    controller(&plane, "goes", 4).await;
    let stays = controller(&plane, "stays", 0).await;
    let (controllers, pods) = (plane.of("v1", "replicationcontrollers"), plane.of("v1", "pods"));
    let also =
        json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "stays", "uid": stays["metadata"]["uid"]});
    let all = pods.list("labelSelector=app%3Dgoes").await;
    for pod in &all[..2] {
        let name = pod["metadata"]["name"].as_str().expect("a name");
        pods.strategic(name, json!({"metadata": {"ownerReferences": [also]}})).await;
    }
    controllers.try_delete("goes", &policy("Foreground")).await.ok();
    controllers.until_gone("goes").await;
    let rest = pods.list("").await;
    assert_eq!(rest.len(), 2, "{rest:?}");
    for pod in &rest {
        assert!(pod["metadata"]["deletionTimestamp"].is_null());
        assert!(owners(pod).iter().all(|owner| owner["uid"] == stays["metadata"]["uid"]), "{pod}");
    }
}

/// Three pods own each other in a ring; deleted in the foreground, all go.
async fn in_a_circle(plane: Plane) {
    let pods = plane.of("v1", "pods");
    let mut made = Vec::new();
    for name in ["pod1", "pod2", "pod3"] {
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
        made.push(pods.create(pod).await);
    }
    for (name, owner) in [("pod1", 2), ("pod2", 0), ("pod3", 1)] {
        let owner: &Value = &made[owner];
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true});
        pods.strategic(name, json!({"metadata": {"ownerReferences": [reference]}})).await;
    }
    // The collector must know the ring before it is asked.
    tokio::time::sleep(Duration::from_millis(20)).await;
    pods.try_delete("pod1", &policy("Foreground")).await.ok();
    eventually("all of them to go", async || pods.list("").await.is_empty()).await;
}
