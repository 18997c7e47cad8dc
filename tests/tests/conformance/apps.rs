//! Workloads and their controllers.

pub(crate) mod cron_job;
pub(crate) mod daemon_set;
pub(crate) mod deployment;
pub(crate) mod disruption;
pub(crate) mod job;
pub(crate) mod replica_set;
pub(crate) mod replication_controller;
pub(crate) mod stateful_set;

use serde_json::{Value, json};

use crate::case::Conformance;
use crate::plane::{Plane, has};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    let mut tests = deployment::tests();
    tests.extend(replica_set::tests());
    tests.extend(replication_controller::tests());
    tests.extend(stateful_set::tests());
    tests.extend(daemon_set::tests());
    tests.extend(job::tests());
    tests.extend(cron_job::tests());
    tests.extend(disruption::tests());
    tests
}

/// A template of pods with the label `app`.
fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": image}]}})
}

/// A workload of the `apps` group.
fn workload(name: &str, replicas: u32) -> Value {
    json!({"metadata": {"name": name, "labels": {"of": name}}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": name}}, "template": template(name, "a:1")}})
}

/// A strategic merge patch of the image.
fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

fn owner_of(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

/// The pods that run with an image.
async fn running(plane: &Plane, app: &str, image: &str) -> usize {
    let pods = plane.of("v1", "pods").list(&format!("labelSelector=app%3D{app}")).await;
    let runs = |pod: &&Value| pod["status"]["phase"] == "Running" && pod["spec"]["containers"][0]["image"] == image;
    pods.iter().filter(runs).count()
}

/// Conditions in the status are read, patched and updated by themselves, while a controller writes the rest.
async fn status_endpoints(resource: &Resource, name: &str) {
    let added = |reason: &str| json!({"type": "Tried", "status": "True", "reason": reason, "message": "it is a test"});
    let mut watch = resource.watch("").await;
    assert!(resource.status().get(name).await["status"].is_object());
    resource.status().change(name, |o| o["status"]["conditions"] = json!([added("Updated")])).await;
    let has_reason = |o: &Value, reason: &str| {
        o["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|c| c["reason"] == reason))
    };
    watch.until("MODIFIED", "the update", |o| has_reason(o, "Updated")).await;
    let patched = resource.status().merge(name, json!({"status": {"conditions": [added("Patched")]}})).await;
    assert!(has_reason(&patched, "Patched"));
    watch.until("MODIFIED", "the patch", |o| has_reason(o, "Patched")).await;
}

/// The size is read, replaced and patched through `scale`, and the controller follows.
async fn scaled(resource: &Resource, name: &str) {
    let scale = resource.scale();
    let mut read = scale.get(name).await;
    assert!(has(&read, &json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 1}})), "{read}");
    read["metadata"]["resourceVersion"] = json!("");
    read["spec"]["replicas"] = json!(2);
    assert_eq!(scale.update(&read).await["spec"]["replicas"], 2);
    assert_eq!(resource.get(name).await["spec"]["replicas"], 2);
    resource.until(name, "two pods", |o| o["status"]["readyReplicas"] == 2).await;
    let patched = scale.strategic(name, json!({"spec": {"replicas": 4}})).await;
    assert_eq!(patched["spec"]["replicas"], 4);
    resource.until(name, "four pods", |o| o["status"]["readyReplicas"] == 4).await;
    assert_eq!(scale.get(name).await["status"]["replicas"], 4);
}
