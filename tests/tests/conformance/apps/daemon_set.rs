//! DaemonSets, each on a cluster with nodes of its own.

use serde_json::{Value, json};

use super::{image, name_of, status_endpoints, template};
use crate::agent;
use crate::case::{Conformance, alone, test};
use crate::plane::{Plane, eventually};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        alone("[sig-apps] Daemon set [Serial] should run and stop simple daemon [Conformance]", |plane| async move {
            let sets = set(&plane, 2, json!({})).await;
            let pods = plane.of("v1", "pods");
            let first = name_of(&pods.list("").await[0]).to_owned();
            pods.delete(&first).await;
            eventually("another in its place", async || {
                let all = pods.list("").await;
                all.len() == 2 && all.iter().all(|p| name_of(p) != first && p["status"]["phase"] == "Running")
            })
            .await;
            sets.delete("one").await;
            pods.until_all("", "none", <[Value]>::is_empty).await;
        }),
        alone("[sig-apps] Daemon set [Serial] should run and stop complex daemon [Conformance]", selective),
        alone(
            "[sig-apps] Daemon set [Serial] should retry creating failed daemon pods [Conformance]",
            |plane| async move {
                set(&plane, 2, json!({})).await;
                let pods = plane.of("v1", "pods");
                let first = name_of(&pods.list("").await[0]).to_owned();
                agent::end(&plane, &first, "Failed").await;
                pods.until_gone(&first).await;
                pods.until_all("", "two that run", |all| {
                    all.len() == 2 && all.iter().all(|p| p["status"]["phase"] == "Running")
                })
                .await;
            },
        ),
        alone(
            "[sig-apps] Daemon set [Serial] should update pod when spec was updated and update strategy is RollingUpdate \
             [Conformance]",
            |plane| async move {
                let sets = set(&plane, 2, json!({})).await;
                let before = revisions(&plane).await;
                sets.strategic("one", image("a:2")).await;
                sets.until("one", "new pods", |s| ready(s, 2) && s["status"]["updatedNumberScheduled"] == 2).await;
                let pods = plane.of("v1", "pods").list("").await;
                assert!(pods.iter().all(|p| p["spec"]["containers"][0]["image"] == "a:2"));
                let after = revisions(&plane).await;
                assert_eq!((before.len(), after.len()), (1, 2));
                let newest = after.iter().max_by_key(|r| r["revision"].as_i64()).expect("a revision");
                let hash = &newest["metadata"]["labels"]["controller-revision-hash"];
                assert!(pods.iter().all(|p| p["metadata"]["labels"]["controller-revision-hash"] == *hash));
            },
        ),
        alone("[sig-apps] Daemon set [Serial] should rollback without unnecessary restarts [Conformance]", rolls_back),
        test(
            "[sig-apps] Daemon set [Serial] should list and delete a collection of DaemonSets [Conformance]",
            |plane| async move {
                let sets = plane.of("apps/v1", "daemonsets");
                sets.create(daemon(json!({}))).await;
                sets.until("one", "a pod", |s| s["status"]["numberReady"].as_u64().unwrap_or(0) >= 1).await;
                assert_eq!(plane.wide("apps/v1", "daemonsets").list("labelSelector=of%3Ddaemons").await.len(), 1);
                sets.delete_all("labelSelector=of%3Ddaemons").await;
                sets.until_all("", "none", <[Value]>::is_empty).await;
            },
        ),
        test(
            "[sig-apps] Daemon set [Serial] should verify changes to a daemon set status [Conformance]",
            |plane| async move {
                let sets = plane.of("apps/v1", "daemonsets");
                let mut one = daemon(json!({}));
                one["metadata"]["labels"] = json!({});
                sets.create(one).await;
                sets.until("one", "a pod", |s| s["status"]["numberReady"].as_u64().unwrap_or(0) >= 1).await;
                status_endpoints(&sets, "one").await;
            },
        ),
    ]
}

fn daemon(more: Value) -> Value {
    let mut one = json!({"metadata": {"name": "one", "labels": {"of": "daemons"}},
        "spec": {"selector": {"matchLabels": {"app": "one"}}, "template": template("one", "a:1")}});
    for (key, value) in more.as_object().expect("fields") {
        one["spec"]["template"]["spec"][key] = value.clone();
    }
    one
}

fn ready(set: &Value, nodes: u32) -> bool {
    let s = &set["status"];
    s["observedGeneration"] == set["metadata"]["generation"]
        && s["desiredNumberScheduled"] == nodes
        && s["numberReady"] == nodes
}

/// The set `one` on so many nodes, with its pods ready.
async fn set(plane: &Plane, nodes: u32, more: Value) -> Resource {
    for n in 2..=nodes {
        agent::node(plane, &format!("node-{n}"), json!({"cpu": "8", "memory": "8Gi", "pods": "100"})).await;
    }
    let sets = plane.of("apps/v1", "daemonsets");
    sets.create(daemon(more)).await;
    sets.until("one", "its pods", |s| ready(s, nodes)).await;
    sets
}

async fn revisions(plane: &Plane) -> Vec<Value> {
    plane.of("apps/v1", "controllerrevisions").list("").await
}

/// Runs where a node's label says so, and follows it.
async fn selective(plane: Plane) {
    let (sets, nodes) = (plane.of("apps/v1", "daemonsets"), plane.wide("v1", "nodes"));
    let mut one = daemon(json!({"nodeSelector": {"color": "blue"}}));
    one["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    sets.create(one).await;
    sets.until("one", "none", |s| s["status"]["observedGeneration"] == 1 && s["status"]["desiredNumberScheduled"] == 0)
        .await;
    assert!(plane.of("v1", "pods").list("").await.is_empty());
    let color = |color: &str| json!({"metadata": {"labels": {"color": color}}});
    nodes.merge("node-1", color("blue")).await;
    sets.until("one", "a pod", |s| ready(s, 1)).await;
    nodes.merge("node-1", color("green")).await;
    plane.of("v1", "pods").until_all("", "none", <[Value]>::is_empty).await;
    let green = json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}, "template": {"spec": {"nodeSelector": {"color": "green"}}}}});
    sets.merge("one", green).await;
    sets.until("one", "a pod again", |s| ready(s, 1)).await;
}

async fn rolls_back(plane: Plane) {
    let sets = set(&plane, 2, json!({})).await;
    let pods = plane.of("v1", "pods");
    let mut broken = image("broken:1");
    broken["spec"]["template"]["metadata"] = json!({"annotations": {"pretend": "unready"}});
    sets.strategic("one", broken).await;
    let during = pods
        .until_all("", "one broken pod", |all| {
            let image = |p: &&Value, image: &str| p["spec"]["containers"][0]["image"] == image;
            all.iter().filter(|p| image(p, "broken:1")).count() == 1
                && all.iter().filter(|p| image(p, "a:1")).count() == 1
        })
        .await;
    let good = during.iter().find(|p| p["spec"]["containers"][0]["image"] == "a:1").expect("a good pod");
    let mut back = image("a:1");
    back["spec"]["template"]["metadata"] = json!({"annotations": null});
    sets.strategic("one", back).await;
    sets.until("one", "both pods", |s| ready(s, 2) && s["status"]["updatedNumberScheduled"] == 2).await;
    assert_eq!(
        pods.get(name_of(good)).await["metadata"]["uid"],
        good["metadata"]["uid"],
        "the good pod is not restarted"
    );
}
