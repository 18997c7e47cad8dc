//! StatefulSets.

use serde_json::{Value, json};

use super::{image, name_of, scaled, status_endpoints, workload};
use crate::agent;
use crate::case::{Conformance, test};
use crate::plane::{Plane, eventually};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    const NAMES: [&str; 8] = [
        "should perform rolling updates and roll backs of template modifications [Conformance]",
        "should perform canary updates and phased rolling updates of template modifications [Conformance]",
        "Scaling should happen in predictable order and halt if any stateful pod is unhealthy [Slow] [Conformance]",
        "Burst scaling should run to completion even with unhealthy pods [Slow] [Conformance]",
        "Should recreate evicted statefulset [Conformance]",
        "should have a working scale subresource [Conformance]",
        "should list, patch and delete a collection of StatefulSets [Conformance]",
        "should validate Statefulset Status endpoints [Conformance]",
    ];
    // All of them are named alike.
    let [rolls, canary, order, burst, evicted, scale, collection, status] =
        NAMES.map(|name| &*format!("{START}{name}").leak());
    vec![
        test(rolls, rolls_forth_and_back),
        test(canary, in_phases),
        test(order, in_order),
        test(burst, all_at_once),
        test(evicted, comes_again),
        test(scale, |plane| async move {
            let sets = set(&plane, 1, |_| {}).await;
            scaled(&sets, "one").await;
        }),
        test(collection, |plane| async move {
            let sets = set(&plane, 1, |_| {}).await;
            let mut patch = image("a:2");
            patch["spec"]["replicas"] = json!(2);
            sets.strategic("one", patch).await;
            sets.until("one", "two new pods", |s| {
                s["status"]["readyReplicas"] == 2 && s["status"]["updatedReplicas"] == 2
            })
            .await;
            assert_eq!(sets.list("labelSelector=of%3Done").await.len(), 1);
            sets.delete_all("labelSelector=of%3Done").await;
            sets.until_all("", "none", <[Value]>::is_empty).await;
        }),
        test(status, |plane| async move {
            let sets = set(&plane, 1, |_| {}).await;
            status_endpoints(&sets, "one").await;
        }),
    ]
}

const START: &str = "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] ";

/// A set `one` with its pods ready.
async fn set(plane: &Plane, replicas: u32, change: impl Fn(&mut Value)) -> Resource {
    let sets = plane.of("apps/v1", "statefulsets");
    let mut one = workload("one", replicas);
    one["spec"]["serviceName"] = json!("one");
    change(&mut one);
    sets.create(one).await;
    sets.until("one", "its pods", |s| s["status"]["readyReplicas"].as_u64().unwrap_or(0) == u64::from(replicas)).await;
    sets
}

async fn images(plane: &Plane) -> Vec<String> {
    let pods = plane.of("v1", "pods").list("labelSelector=app%3Done").await;
    let mut pods: Vec<(String, String)> = pods
        .iter()
        .map(|p| (name_of(p).to_owned(), p["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()))
        .collect();
    pods.sort();
    pods.into_iter().map(|(_, image)| image).collect()
}

fn settled(set: &Value) -> bool {
    let s = &set["status"];
    s["observedGeneration"] == set["metadata"]["generation"]
        && s["currentRevision"] == s["updateRevision"]
        && s["readyReplicas"] == set["spec"]["replicas"]
}

/// Updated from the highest ordinal down, one after the other.
async fn rolls_forth_and_back(plane: Plane) {
    let sets = set(&plane, 3, |_| {}).await;
    let first = sets.get("one").await["status"]["currentRevision"].clone();
    let mut watch = plane.of("v1", "pods").watch("labelSelector=app%3Done").await;
    for image_name in ["a:2", "a:1"] {
        sets.strategic("one", image(image_name)).await;
        let mut order = Vec::new();
        while order.len() < 3 {
            let event = watch.next().await;
            if event.kind == "ADDED" && event.object["spec"]["containers"][0]["image"] == image_name {
                let name = name_of(&event.object).to_owned();
                order.extend(Some(name).filter(|name| !order.contains(name)));
            }
        }
        if image_name == "a:2" {
            assert_eq!(order, ["one-2", "one-1", "one-0"]);
        }
        sets.until("one", "it to settle", settled).await;
        assert_eq!(images(&plane).await, [image_name; 3]);
    }
    assert_eq!(sets.get("one").await["status"]["currentRevision"], first, "it is the first revision again");
}

async fn in_phases(plane: Plane) {
    let partition = |partition: u32| json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}}});
    let sets =
        set(&plane, 3, |one| one["spec"]["updateStrategy"] = partition(3)["spec"]["updateStrategy"].clone()).await;
    sets.strategic("one", image("a:2")).await;
    sets.until("one", "a new revision", |s| s["status"]["currentRevision"] != s["status"]["updateRevision"]).await;
    assert_eq!(images(&plane).await, ["a:1"; 3], "the partition is above all pods");
    sets.merge("one", partition(2)).await;
    let phase = async |expect: [&str; 3]| {
        eventually("the phase", async || images(&plane).await == expect).await;
        sets.until("one", "its pods", |s| s["status"]["readyReplicas"] == 3).await;
    };
    phase(["a:1", "a:1", "a:2"]).await;
    // A pod that is deleted comes again in the revision that its ordinal has.
    let pods = plane.of("v1", "pods");
    for (name, expect) in [("one-0", "a:1"), ("one-2", "a:2")] {
        let uid = pods.get(name).await["metadata"]["uid"].clone();
        pods.delete(name).await;
        let again = pods.until(name, "another", |p| p["metadata"]["uid"] != uid).await;
        assert_eq!(again["spec"]["containers"][0]["image"], expect);
        pods.until(name, "it is ready", |p| p["status"]["phase"] == "Running").await;
    }
    sets.merge("one", partition(1)).await;
    phase(["a:1", "a:2", "a:2"]).await;
    sets.merge("one", partition(0)).await;
    sets.until("one", "it to settle", settled).await;
    assert_eq!(images(&plane).await, ["a:2"; 3]);
}

async fn in_order(plane: Plane) {
    let pods = plane.of("v1", "pods");
    let mut watch = pods.watch("labelSelector=app%3Done").await;
    let sets = set(&plane, 1, |_| {}).await;
    agent::set_ready(&plane, "one-0", false).await;
    sets.until("one", "it is unhealthy", |s| s["status"]["readyReplicas"].as_u64().unwrap_or(0) == 0).await;
    sets.merge("one", json!({"spec": {"replicas": 3}})).await;
    sets.until("one", "it to be seen", |s| s["status"]["observedGeneration"] == s["metadata"]["generation"]).await;
    assert_eq!(pods.list("").await.len(), 1, "it halts while a pod is unhealthy");
    agent::set_ready(&plane, "one-0", true).await;
    sets.until("one", "three pods", |s| s["status"]["readyReplicas"] == 3).await;
    for name in ["one-0", "one-1", "one-2"] {
        watch.until("ADDED", name, |_| true).await;
        assert!(pods.find(name).await.is_some());
    }
    for name in ["one-0", "one-1", "one-2"] {
        agent::set_ready(&plane, name, false).await;
    }
    sets.until("one", "no healthy pods", |s| s["status"]["readyReplicas"].as_u64().unwrap_or(0) == 0).await;
    sets.merge("one", json!({"spec": {"replicas": 0}})).await;
    sets.until("one", "it to be seen", |s| s["status"]["observedGeneration"] == s["metadata"]["generation"]).await;
    assert_eq!(pods.list("").await.len(), 3, "it halts again");
    // The last goes as soon as those before it are healthy.
    for name in ["one-2", "one-1", "one-0"] {
        agent::set_ready(&plane, name, true).await;
    }
    for name in ["one-2", "one-1", "one-0"] {
        let gone = watch.until("DELETED", name, |_| true).await;
        assert_eq!(name_of(&gone), name);
    }
}

async fn all_at_once(plane: Plane) {
    let sets = set(&plane, 1, |one| one["spec"]["podManagementPolicy"] = json!("Parallel")).await;
    agent::set_ready(&plane, "one-0", false).await;
    sets.merge("one", json!({"spec": {"replicas": 3}})).await;
    let pods = plane.of("v1", "pods");
    pods.until_all("", "three pods", |all| all.len() == 3).await;
    sets.merge("one", json!({"spec": {"replicas": 0}})).await;
    pods.until_all("", "none", <[Value]>::is_empty).await;
    sets.until("one", "none in its status", |s| s["status"]["replicas"] == 0).await;
}

/// A pod that failed on its node is made anew, as often as it takes.
async fn comes_again(plane: Plane) {
    let pods = plane.of("v1", "pods");
    set(&plane, 1, |_| {}).await;
    let first = pods.get("one-0").await;
    agent::end(&plane, "one-0", "Failed").await;
    let second = pods.until("one-0", "another", |p| p["metadata"]["uid"] != first["metadata"]["uid"]).await;
    pods.until("one-0", "it runs", |p| {
        p["status"]["phase"] == "Running" && p["metadata"]["uid"] == second["metadata"]["uid"]
    })
    .await;
}
