//! Deployments.

use serde_json::{Value, json};

use super::{image, name_of, owner_of, running, scaled, status_endpoints, workload};
use crate::case::{Conformance, test};
use crate::plane::{Plane, eventually};

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test(
            "[sig-apps] Deployment Deployment should have a working scale subresource [Conformance]",
            |plane| async move {
                let deployments = plane.of("apps/v1", "deployments");
                deployments.create(workload("one", 1)).await;
                deployments.until("one", "its pod", |d| d["status"]["readyReplicas"] == 1).await;
                scaled(&deployments, "one").await;
            },
        ),
        test("[sig-apps] Deployment should validate Deployment Status endpoints [Conformance]", |plane| async move {
            let deployments = plane.of("apps/v1", "deployments");
            deployments.create(workload("one", 1)).await;
            deployments.until("one", "its pod", |d| d["status"]["readyReplicas"] == 1).await;
            status_endpoints(&deployments, "one").await;
        }),
        test("[sig-apps] Deployment should run the lifecycle of a Deployment [Conformance]", lifecycle),
        test(
            "[sig-apps] Deployment RecreateDeployment should delete old pods and create new ones [Conformance]",
            recreate,
        ),
        test(
            "[sig-apps] Deployment RollingUpdateDeployment should delete old pods and create new ones [Conformance]",
            adopts_and_rolls,
        ),
        test("[sig-apps] Deployment deployment should delete old replica sets [Conformance]", clean_up),
        test("[sig-apps] Deployment deployment should support rollover [Conformance]", rollover),
        test("[sig-apps] Deployment deployment should support proportional scaling [Conformance]", proportional),
    ]
}

async fn lifecycle(plane: Plane) {
    let deployments = plane.of("apps/v1", "deployments");
    let mut watch = deployments.watch("").await;
    deployments.create(workload("one", 2)).await;
    watch.expect("ADDED", "one").await;
    watch.until("MODIFIED", "two pods", |d| d["status"]["readyReplicas"] == 2).await;
    let mut patch = image("a:2");
    patch["metadata"] = json!({"labels": {"of": "patched"}});
    patch["spec"]["replicas"] = json!(3);
    patch["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(2);
    deployments.strategic("one", patch).await;
    watch
        .until("MODIFIED", "three pods", |d| d["status"]["readyReplicas"] == 3 && d["status"]["updatedReplicas"] == 3)
        .await;
    assert_eq!(deployments.list("labelSelector=of%3Dpatched").await.len(), 1);
    deployments
        .change("one", |d| {
            d["spec"]["replicas"] = json!(2);
            d["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:3");
        })
        .await;
    let settled = |d: &Value| {
        let s = &d["status"];
        s["readyReplicas"] == 2
            && s["updatedReplicas"] == 2
            && s["replicas"] == 2
            && s["observedGeneration"] == d["metadata"]["generation"]
    };
    watch.until("MODIFIED", "two new pods", settled).await;
    assert_eq!(deployments.status().get("one").await["spec"]["template"]["spec"]["containers"][0]["image"], "a:3");
    deployments.status().merge("one", json!({"status": {"readyReplicas": 0, "availableReplicas": 0}})).await;
    deployments.until("one", "the controller to put it right", |d| d["status"]["readyReplicas"] == 2).await;
    deployments.delete("one").await;
    watch.expect("DELETED", "one").await;
}

/// No new pod is there before the old ones are gone.
async fn recreate(plane: Plane) {
    let (deployments, pods) = (plane.of("apps/v1", "deployments"), plane.of("v1", "pods"));
    let mut one = workload("one", 2);
    one["spec"]["strategy"] = json!({"type": "Recreate"});
    deployments.create(one).await;
    deployments.until("one", "its pods", |d| d["status"]["readyReplicas"] == 2).await;
    let mut watch = pods.watch("labelSelector=app%3Done").await;
    let mut old = 0;
    for _ in 0..2 {
        assert_eq!(watch.next().await.kind, "ADDED");
        old += 1;
    }
    deployments.strategic("one", image("a:2")).await;
    let mut new = 0;
    while new < 2 {
        let event = watch.next().await;
        match (event.kind.as_str(), event.object["spec"]["containers"][0]["image"].as_str()) {
            ("DELETED", Some("a:1")) => old -= 1,
            ("ADDED", Some("a:2")) => {
                assert_eq!(old, 0, "old and new pods are there together");
                new += 1;
            }
            _ => {}
        }
    }
}

/// A replica set of before with a matching selector becomes the first revision's, and is scaled down.
async fn adopts_and_rolls(plane: Plane) {
    let (deployments, sets) = (plane.of("apps/v1", "deployments"), plane.of("apps/v1", "replicasets"));
    let mut old = workload("one", 1);
    old["metadata"] = json!({"name": "old", "labels": {"app": "one"},
        "annotations": {"deployment.kubernetes.io/revision": "3546343826724305832"}});
    sets.create(old).await;
    sets.until("old", "its pod", |s| s["status"]["readyReplicas"] == 1).await;
    let mut one = workload("one", 1);
    one["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
    let one = deployments.create(one).await;
    deployments
        .until("one", "the next revision", |d| {
            d["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3546343826724305833"
                && d["status"]["updatedReplicas"] == 1
        })
        .await;
    let old = sets.until("old", "it is scaled down", |s| s["status"]["replicas"] == 0).await;
    assert_eq!(owner_of(&old).expect("an owner")["uid"], one["metadata"]["uid"]);
    eventually("only new pods", async || {
        running(&plane, "one", "a:2").await == 1 && running(&plane, "one", "a:1").await == 0
    })
    .await;
}

async fn clean_up(plane: Plane) {
    let (deployments, sets) = (plane.of("apps/v1", "deployments"), plane.of("apps/v1", "replicasets"));
    let mut old = workload("one", 1);
    old["metadata"] = json!({"name": "old", "labels": {"app": "one"}});
    sets.create(old).await;
    sets.until("old", "its pod", |s| s["status"]["readyReplicas"] == 1).await;
    let mut one = workload("one", 1);
    one["spec"]["revisionHistoryLimit"] = json!(0);
    one["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
    deployments.create(one).await;
    sets.until_gone("old").await;
    assert_eq!(sets.list("").await.len(), 1);
}

async fn rollover(plane: Plane) {
    let (deployments, sets) = (plane.of("apps/v1", "deployments"), plane.of("apps/v1", "replicasets"));
    let mut old = workload("one", 1);
    old["metadata"] = json!({"name": "old", "labels": {"app": "one"}});
    sets.create(old).await;
    sets.until("old", "its pod", |s| s["status"]["readyReplicas"] == 1).await;
    let mut one = workload("one", 1);
    one["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    one["spec"]["template"]["metadata"]["annotations"] = json!({"pretend": "unready"});
    one["spec"]["template"]["spec"]["containers"][0]["image"] = json!("broken:1");
    deployments.create(one).await;
    deployments
        .until("one", "a new pod", |d| d["status"]["updatedReplicas"] == 1 && d["status"]["replicas"] == 2)
        .await;
    assert_eq!(sets.get("old").await["spec"]["replicas"], 1, "it stays as long as the new one is not ready");
    let mut good = image("a:2");
    good["spec"]["template"]["metadata"] = json!({"annotations": {"pretend": null}});
    deployments.strategic("one", good).await;
    deployments
        .until("one", "the second revision alone", |d| {
            d["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
                && d["status"]["replicas"] == 1
                && d["status"]["availableReplicas"] == 1
                && d["status"]["updatedReplicas"] == 1
        })
        .await;
    let left: Vec<Value> = sets.list("").await.into_iter().filter(|s| s["spec"]["replicas"] != 0).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// While a rollout hangs, more replicas are shared out as the sets' sizes are.
async fn proportional(plane: Plane) {
    let (deployments, sets) = (plane.of("apps/v1", "deployments"), plane.of("apps/v1", "replicasets"));
    let mut one = workload("one", 10);
    one["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "maxSurge": 3}});
    deployments.create(one).await;
    deployments.until("one", "ten pods", |d| d["status"]["availableReplicas"] == 10).await;
    let first = name_of(&sets.list("").await[0]).to_owned();
    let mut broken = image("broken:1");
    broken["spec"]["template"]["metadata"] = json!({"annotations": {"pretend": "unready"}});
    deployments.strategic("one", broken).await;
    let sizes = async || {
        let all = sets.list("").await;
        let size = |mine: bool| {
            all.iter().find(|s| (name_of(s) == first) == mine).and_then(|s| s["spec"]["replicas"].as_i64())
        };
        (size(true), size(false))
    };
    eventually("eight and five", async || sizes().await == (Some(8), Some(5))).await;
    deployments
        .until("one", "it to be noted", |d| d["status"]["replicas"] == 13 && d["status"]["availableReplicas"] == 8)
        .await;
    deployments.merge("one", json!({"spec": {"replicas": 30}})).await;
    eventually("twenty and thirteen", async || sizes().await == (Some(20), Some(13))).await;
}
