//! Disruption budgets and evictions.

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, condition, has};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test("[sig-apps] DisruptionController should create a PodDisruptionBudget [Conformance]", created),
        test(
            "[sig-apps] DisruptionController should observe PodDisruptionBudget status updated [Conformance]",
            |plane| async move {
                let budgets = plane.of("policy/v1", "poddisruptionbudgets");
                budgets.create(budget("one", json!(1))).await;
                pods(&plane, 3).await;
                budgets.until("one", "two may go", |b| b["status"]["disruptionsAllowed"] == 2).await;
            },
        ),
        test("[sig-apps] DisruptionController should update/patch PodDisruptionBudget status [Conformance]", status),
        test(
            "[sig-apps] DisruptionController should block an eviction until the PDB is updated to allow it [Conformance]",
            evictions,
        ),
        test(
            "[sig-apps] DisruptionController Listing PodDisruptionBudgets for all namespaces should list and delete a \
             collection of PodDisruptionBudgets [Conformance]",
            collection,
        ),
    ]
}

fn budget(name: &str, min_available: Value) -> Value {
    json!({"metadata": {"name": name, "labels": {"of": "test"}}, "spec": {"minAvailable": min_available,
        "selector": {"matchLabels": {"app": "one"}}}})
}

async fn pods(plane: &Plane, count: u32) {
    let pods = plane.of("v1", "pods");
    for n in 0..count {
        let pod = json!({"metadata": {"name": format!("pod-{n}"), "labels": {"app": "one"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "a:1"}]}});
        pods.create(pod).await;
    }
    pods.until_all("", "they are ready", |all| all.iter().all(|p| condition(p, "Ready")["status"] == "True")).await;
}

async fn processed(budgets: &Resource, name: &str) -> Value {
    budgets
        .until(name, "it to be processed", |b| b["status"]["observedGeneration"] == b["metadata"]["generation"])
        .await
}

async fn created(plane: Plane) {
    let budgets = plane.of("policy/v1", "poddisruptionbudgets");
    budgets.create(budget("one", json!("1%"))).await;
    processed(&budgets, "one").await;
    budgets.change("one", |b| b["spec"]["minAvailable"] = json!("2%")).await;
    assert_eq!(processed(&budgets, "one").await["spec"]["minAvailable"], "2%");
    budgets.strategic("one", json!({"spec": {"minAvailable": "3%"}})).await;
    assert_eq!(processed(&budgets, "one").await["spec"]["minAvailable"], "3%");
    budgets.delete("one").await;
    budgets.until_gone("one").await;
}

async fn status(plane: Plane) {
    let budgets = plane.of("policy/v1", "poddisruptionbudgets");
    budgets.create(budget("one", json!(1))).await;
    pods(&plane, 1).await;
    budgets.until("one", "its pod", |b| b["status"]["currentHealthy"] == 1).await;
    let disrupted = |name: &str| json!({"disruptedPods": {name: "2026-01-01T00:00:00Z"}});
    let updated = budgets
        .status()
        .change("one", |b| b["status"]["disruptedPods"] = disrupted("a")["disruptedPods"].clone())
        .await;
    assert!(has(&updated["status"], &disrupted("a")), "{updated}");
    let patched = budgets.status().merge("one", json!({"status": disrupted("b")})).await;
    assert!(has(&patched["status"], &disrupted("b")), "{patched}");
}

async fn evictions(plane: Plane) {
    let (budgets, all) = (plane.of("policy/v1", "poddisruptionbudgets"), plane.of("v1", "pods"));
    let evict = async |name: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        all.sub("eviction").try_post(name, &eviction).await
    };
    pods(&plane, 3).await;
    budgets.create(budget("one", json!(3))).await;
    budgets
        .until("one", "no pod to spare", |b| {
            b["status"]["currentHealthy"] == 3 && b["status"]["disruptionsAllowed"] == 0
        })
        .await;
    evict("pod-0").await.refused(429, "Cannot evict pod as it would violate the pod's disruption budget.");
    budgets.change("one", |b| b["spec"]["minAvailable"] = json!(2)).await;
    budgets.until("one", "one to spare", |b| b["status"]["disruptionsAllowed"] == 1).await;
    evict("pod-0").await.ok();
    all.until_gone("pod-0").await;
    budgets
        .until("one", "none to spare", |b| b["status"]["currentHealthy"] == 2 && b["status"]["disruptionsAllowed"] == 0)
        .await;
    budgets.strategic("one", json!({"spec": {"minAvailable": 3}})).await;
    budgets.until("one", "it to be processed", |b| b["status"]["desiredHealthy"] == 3).await;
    evict("pod-1").await.refused(429, "disruption budget");
    budgets.delete("one").await;
    evict("pod-1").await.ok();
}

async fn collection(plane: Plane) {
    let (budgets, other) = (plane.of("policy/v1", "poddisruptionbudgets"), plane.second_namespace().await);
    for name in ["one", "two", "three"] {
        budgets.create(budget(name, json!(1))).await;
    }
    other.of("policy/v1", "poddisruptionbudgets").create(budget("elsewhere", json!(1))).await;
    let everywhere = plane.wide("policy/v1", "poddisruptionbudgets").list("labelSelector=of%3Dtest").await;
    let mine =
        |b: &&Value| b["metadata"]["namespace"] == plane.namespace() || b["metadata"]["namespace"] == other.namespace();
    assert_eq!(everywhere.iter().filter(mine).count(), 4);
    assert_eq!(budgets.list("").await.len(), 3);
    budgets.delete_all("").await;
    assert!(budgets.list("").await.is_empty());
    other.of("policy/v1", "poddisruptionbudgets").get("elsewhere").await;
    other.leave().await;
}
