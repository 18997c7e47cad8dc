//! ReplicationControllers.

use serde_json::{Value, json};

use super::replica_set::adopts_and_releases;
use super::template;
use crate::case::{Conformance, test};
use crate::plane::{Plane, condition, has};

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test(
            "[sig-apps] ReplicationController should serve a basic image on each replica with a public image [Conformance]",
            |plane| async move {
                let controllers = plane.of("v1", "replicationcontrollers");
                controllers.create(controller(2)).await;
                controllers.until("one", "its pods", |c| c["status"]["readyReplicas"] == 2).await;
            },
        ),
        test(
            "[sig-apps] ReplicationController should surface a failure condition on a common issue like exceeded quota \
             [Conformance]",
            quota_exceeded,
        ),
        test(
            "[sig-apps] ReplicationController should adopt matching pods on creation [Conformance]",
            |plane| async move {
                let controllers = plane.of("v1", "replicationcontrollers");
                adopts_and_releases(&plane, async || controllers.create(controller(1)).await).await;
            },
        ),
        test(
            "[sig-apps] ReplicationController should release no longer matching pods [Conformance]",
            |plane| async move {
                let (controllers, pods) = (plane.of("v1", "replicationcontrollers"), plane.of("v1", "pods"));
                controllers.create(controller(1)).await;
                let first = pods.until_all("", "its pod", |all| all.len() == 1).await;
                let name = first[0]["metadata"]["name"].as_str().expect("a name");
                pods.merge(name, json!({"metadata": {"labels": {"app": "other"}}})).await;
                pods.until(name, "no owner", |pod| pod["metadata"]["ownerReferences"].is_null()).await;
                pods.until_all("labelSelector=app%3Done", "another in its place", |all| all.len() == 1).await;
            },
        ),
        test(
            "[sig-apps] ReplicationController should test the lifecycle of a ReplicationController [Conformance]",
            lifecycle,
        ),
        test(
            "[sig-apps] ReplicationController should get and update a ReplicationController scale [Conformance]",
            |plane| async move {
                let controllers = plane.of("v1", "replicationcontrollers");
                controllers.create(controller(1)).await;
                controllers.until("one", "its pod", |c| c["status"]["readyReplicas"] == 1).await;
                super::scaled(&controllers, "one").await;
            },
        ),
    ]
}

fn controller(replicas: u32) -> Value {
    json!({"metadata": {"name": "one", "labels": {"of": "one"}}, "spec": {"replicas": replicas, "selector": {"app": "one"},
        "template": template("one", "a:1")}})
}

async fn quota_exceeded(plane: Plane) {
    let (controllers, quotas) = (plane.of("v1", "replicationcontrollers"), plane.of("v1", "resourcequotas"));
    quotas.create(json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})).await;
    quotas.until("q", "its status", |quota| quota["status"]["used"]["pods"] == "0").await;
    controllers.create(controller(3)).await;
    let failed = controllers
        .until("one", "the failure", |c| {
            c["status"]["observedGeneration"] == c["metadata"]["generation"]
                && condition(c, "ReplicaFailure")["status"] == "True"
        })
        .await;
    let said = condition(&failed, "ReplicaFailure");
    assert_eq!(said["reason"], "FailedCreate");
    assert!(said["message"].as_str().is_some_and(|m| m.contains("exceeded quota: q")), "{said}");
    controllers.change("one", |c| c["spec"]["replicas"] = json!(2)).await;
    controllers
        .until("one", "no failure", |c| condition(c, "ReplicaFailure").is_null() && c["status"]["replicas"] == 2)
        .await;
}

async fn lifecycle(plane: Plane) {
    let controllers = plane.of("v1", "replicationcontrollers");
    let mut watch = controllers.watch("labelSelector=of%3Done").await;
    controllers.create(controller(1)).await;
    watch.expect("ADDED", "one").await;
    watch.until("MODIFIED", "its pod", |c| c["status"]["readyReplicas"] == 1).await;
    let label = json!({"metadata": {"labels": {"patched": "true"}}});
    controllers.strategic("one", label.clone()).await;
    watch.until("MODIFIED", "the label", |c| has(c, &label)).await;
    controllers.status().strategic("one", json!({"status": {"readyReplicas": 0, "availableReplicas": 0}})).await;
    watch.until("MODIFIED", "the status", |c| c["status"]["readyReplicas"].as_i64().unwrap_or(0) == 0).await;
    assert_eq!(controllers.status().get("one").await["status"]["replicas"], 1);
    controllers.scale().strategic("one", json!({"spec": {"replicas": 2}})).await;
    watch.until("MODIFIED", "two pods", |c| c["spec"]["replicas"] == 2 && c["status"]["readyReplicas"] == 2).await;
    controllers
        .change("one", |c| {
            c["spec"]["replicas"] = json!(3);
            c["metadata"]["labels"]["updated"] = json!("true");
        })
        .await;
    watch.until("MODIFIED", "three pods", |c| c["status"]["readyReplicas"] == 3).await;
    let everywhere = plane.wide("v1", "replicationcontrollers").list("labelSelector=patched%3Dtrue").await;
    assert!(everywhere.iter().any(|c| c["metadata"]["namespace"] == plane.namespace()));
    controllers.delete_all("labelSelector=of%3Done").await;
    watch.expect("DELETED", "one").await;
}
