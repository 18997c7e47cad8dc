//! Nodes, taints, scheduling and preemption, each on a cluster with nodes of its own.

use serde_json::{Value, json};

use crate::agent;
use crate::case::{Conformance, alone, test};
use crate::plane::{Plane, condition, has};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    let mut tests = of_nodes();
    tests.extend(of_predicates());
    tests.extend(of_preemption());
    tests
}

fn of_nodes() -> Vec<Conformance> {
    vec![
        test(
            "[sig-node] Node Lifecycle should run through the lifecycle of a node [Conformance]",
            |plane| async move {
                let (nodes, name) = (plane.wide("v1", "nodes"), plane.unique("fake"));
                let ready = json!({"type": "Ready", "status": "True", "reason": "E2E", "message": "set by a test"});
                let fake = json!({"metadata": {"name": name}, "spec": {"unschedulable": true}, "status": {"phase": "Running", "conditions": [ready]}});
                nodes.create(fake).await;
                nodes.strategic(&name, json!({"metadata": {"labels": {name.as_str(): "patched"}}})).await;
                assert_eq!(nodes.list(&format!("labelSelector={name}%3Dpatched")).await.len(), 1);
                let updated = nodes.change(&name, |n| n["metadata"]["labels"][name.as_str()] = json!("updated")).await;
                assert_eq!(updated["metadata"]["labels"][name.as_str()], "updated");
                nodes.delete(&name).await;
                nodes.until_gone(&name).await;
            },
        ),
        alone(
            "[sig-node] NoExecuteTaintManager Single Pod [Serial] removing taint cancels eviction [Disruptive] [Conformance]",
            |plane| async move {
                let (nodes, pods) = (plane.wide("v1", "nodes"), plane.of("v1", "pods"));
                let tolerates =
                    json!([{"key": "evict", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]);
                pods.create(pod("one", json!({"tolerations": tolerates}))).await;
                runs(&pods, "one").await;
                let taint = |taints: Value| json!({"spec": {"taints": taints}});
                nodes.merge("node-1", taint(json!([{"key": "evict", "value": "v", "effect": "NoExecute"}]))).await;
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                nodes.merge("node-1", taint(Value::Null)).await;
                tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
                assert!(pods.get("one").await["metadata"]["deletionTimestamp"].is_null());
            },
        ),
        alone(
            "[sig-node] NoExecuteTaintManager Multiple Pods [Serial] evicts pods with minTolerationSeconds [Disruptive] [Conformance]",
            |plane| async move {
                let (nodes, pods) = (plane.wide("v1", "nodes"), plane.of("v1", "pods"));
                let tolerates = |seconds: u32| {
                    json!({"tolerations": [{"key": "evict", "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": seconds}]})
                };
                pods.create(pod("one", tolerates(0))).await;
                pods.create(pod("two", tolerates(1))).await;
                pods.create(pod("three", tolerates(3600))).await;
                for name in ["one", "two", "three"] {
                    runs(&pods, name).await;
                }
                let mut watch = pods.watch("").await;
                nodes
                    .merge(
                        "node-1",
                        json!({"spec": {"taints": [{"key": "evict", "value": "v", "effect": "NoExecute"}]}}),
                    )
                    .await;
                for name in ["one", "two"] {
                    let gone = watch.until("DELETED", name, |_| true).await;
                    assert_eq!(gone["metadata"]["name"], name);
                    assert!(has(
                        &condition(&gone, "DisruptionTarget"),
                        &json!({"status": "True", "reason": "DeletionByTaintManager"})
                    ));
                }
                assert!(pods.get("three").await["metadata"]["deletionTimestamp"].is_null());
            },
        ),
    ]
}

fn pod(name: &str, more: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "a:1"}]}});
    for (key, value) in more.as_object().expect("fields") {
        pod["spec"][key] = value.clone();
    }
    pod
}

/// A pod that asks for so much of a resource.
fn asking(name: &str, resource: &str, amount: &str, class: &str) -> Value {
    let amounts = json!({resource: amount});
    let container = json!({"name": "c", "image": "a:1", "resources": {"requests": amounts, "limits": amounts}});
    let mut pod = pod(name, json!({"containers": [container]}));
    if !class.is_empty() {
        pod["spec"]["priorityClassName"] = json!(class);
    }
    pod
}

async fn runs(pods: &Resource, name: &str) -> Value {
    pods.until(name, "it runs", |p| p["status"]["phase"] == "Running").await
}

async fn does_not_fit(pods: &Resource, name: &str) -> Value {
    pods.until(name, "it does not fit", |p| condition(p, "PodScheduled")["reason"] == "Unschedulable").await
}

fn of_predicates() -> Vec<Conformance> {
    vec![
        alone(
            "[sig-scheduling] SchedulerPredicates [Serial] validates resource limits of pods that are allowed to run [Conformance]",
            |plane| async move {
                let pods = plane.of("v1", "pods");
                pods.create(asking("fills", "cpu", "400", "")).await;
                runs(&pods, "fills").await;
                pods.create(asking("more", "cpu", "400", "")).await;
                let more = does_not_fit(&pods, "more").await;
                let said = condition(&more, "PodScheduled")["message"].to_string();
                assert!(said.contains("0/1 nodes are available: 1 Insufficient cpu."), "{said}");
                pods.delete("fills").await;
                runs(&pods, "more").await;
            },
        ),
        alone(
            "[sig-scheduling] SchedulerPredicates [Serial] validates that NodeSelector is respected if not matching [Conformance]",
            |plane| async move {
                let pods = plane.of("v1", "pods");
                pods.create(pod("one", json!({"nodeSelector": {"label": "nonempty"}}))).await;
                // The scheduler may hear later than this test that the new node's first taint is gone.
                let why = "1 node(s) didn't match Pod's node affinity/selector";
                let says =
                    |p: &Value| condition(p, "PodScheduled")["message"].as_str().is_some_and(|m| m.contains(why));
                pods.until("one", "the selector does not match", says).await;
            },
        ),
        alone(
            "[sig-scheduling] SchedulerPredicates [Serial] validates that NodeSelector is respected if matching [Conformance]",
            |plane| async move {
                let pods = plane.of("v1", "pods");
                agent::node(&plane, "node-2", json!({"cpu": "8", "memory": "8Gi", "pods": "100"})).await;
                plane
                    .wide("v1", "nodes")
                    .merge("node-2", json!({"metadata": {"labels": {"kubernetes.io/e2e": "42"}}}))
                    .await;
                pods.create(pod("one", json!({"nodeSelector": {"kubernetes.io/e2e": "42"}}))).await;
                assert_eq!(runs(&pods, "one").await["spec"]["nodeName"], "node-2");
            },
        ),
        alone(
            "[sig-scheduling] SchedulerPredicates [Serial] validates that there exists conflict between pods with same hostPort \
             and protocol but one using 0.0.0.0 hostIP [Conformance]",
            |plane| async move {
                let pods = plane.of("v1", "pods");
                let with_port = |name: &str, ip: &str| {
                    let port = json!({"hostPort": 54322, "containerPort": 8080, "protocol": "TCP", "hostIP": ip});
                    pod(name, json!({"containers": [{"name": "c", "image": "a:1", "ports": [port]}]}))
                };
                pods.create(with_port("one", "0.0.0.0")).await;
                runs(&pods, "one").await;
                pods.create(with_port("two", "10.1.0.1")).await;
                let two = does_not_fit(&pods, "two").await;
                let said = condition(&two, "PodScheduled")["message"].to_string();
                assert!(said.contains("didn't have free ports for the requested pod ports"), "{said}");
            },
        ),
    ]
}

fn of_preemption() -> Vec<Conformance> {
    vec![
        alone(
            "[sig-scheduling] SchedulerPreemption [Serial] validates basic preemption works [Conformance]",
            |plane| async move {
                let pods = filled(&plane).await;
                pods.create(asking("preemptor", DONGLE, "2", "high")).await;
                runs(&pods, "preemptor").await;
                assert!(pods.find("low").await.is_none(), "the pod of lowest priority makes room");
                runs(&pods, "medium").await;
            },
        ),
        alone(
            "[sig-scheduling] SchedulerPreemption [Serial] validates lower priority pod preemption by critical pod [Conformance]",
            |plane| async move {
                let pods = filled(&plane).await;
                let system = crate::resource::Resource::new(plane.clone(), "v1", Some("kube-system"), "pods");
                system.create(asking("critical", DONGLE, "2", "system-cluster-critical")).await;
                runs(&system, "critical").await;
                assert!(pods.find("low").await.is_none());
                runs(&pods, "medium").await;
            },
        ),
        alone(
            "[sig-scheduling] SchedulerPreemption [Serial] validates pod disruption condition is added to the preempted pod \
             [Conformance]",
            |plane| async move {
                let pods = filled(&plane).await;
                pods.merge("low", json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
                pods.create(asking("preemptor", DONGLE, "2", "high")).await;
                let low = pods.until("low", "its deletion", |p| p["metadata"]["deletionTimestamp"].is_string()).await;
                assert!(
                    has(
                        &condition(&low, "DisruptionTarget"),
                        &json!({"status": "True", "reason": "PreemptionByScheduler"})
                    ),
                    "{low}"
                );
                pods.merge("low", json!({"metadata": {"finalizers": null}})).await;
                runs(&pods, "preemptor").await;
            },
        ),
        alone(
            "[sig-scheduling] SchedulerPreemption [Serial] PreemptionExecutionPath runs ReplicaSets to verify preemption running \
             path [Conformance]",
            by_sets,
        ),
        test(
            "[sig-scheduling] SchedulerPreemption [Serial] PriorityClass endpoints verify PriorityClass endpoints can be operated \
             with different HTTP methods [Conformance]",
            priority_classes,
        ),
    ]
}

const DONGLE: &str = "scheduling.example.com/dongle";

async fn classes(plane: &Plane) {
    let classes = plane.wide("scheduling.k8s.io/v1", "priorityclasses");
    for (name, value) in [("low", 1), ("medium", 100), ("high", 1000)] {
        classes.create(json!({"metadata": {"name": name}, "value": value})).await;
    }
}

/// One node with five of something, of which a pod of low and one of medium priority have two each.
async fn filled(plane: &Plane) -> Resource {
    classes(plane).await;
    let room = json!({"status": {"capacity": {DONGLE: "5"}, "allocatable": {DONGLE: "5"}}});
    plane.wide("v1", "nodes").status().merge("node-1", room).await;
    let pods = plane.of("v1", "pods");
    for class in ["low", "medium"] {
        pods.create(asking(class, DONGLE, "2", class)).await;
        runs(&pods, class).await;
    }
    pods
}

async fn by_sets(plane: Plane) {
    classes(&plane).await;
    let room = json!({"status": {"capacity": {DONGLE: "4"}, "allocatable": {DONGLE: "4"}}});
    plane.wide("v1", "nodes").status().merge("node-1", room).await;
    let sets = plane.of("apps/v1", "replicasets");
    let set = |class: &str, replicas: u32, amount: &str| {
        let mut template = json!({"metadata": {"labels": {"app": class}}});
        template["spec"] = asking("x", DONGLE, amount, class)["spec"].clone();
        json!({"metadata": {"name": class}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": class}}, "template": template}})
    };
    for (class, replicas) in [("low", 2), ("medium", 2)] {
        sets.create(set(class, replicas, "1")).await;
        sets.until(class, "its pods", |s| s["status"]["readyReplicas"] == replicas).await;
    }
    sets.create(set("high", 1, "3")).await;
    sets.until("high", "its pod", |s| s["status"]["readyReplicas"] == 1).await;
    sets.until("low", "no pods", |s| s["status"]["readyReplicas"].as_u64().unwrap_or(0) == 0).await;
    sets.until("medium", "one pod", |s| s["status"]["readyReplicas"] == 1).await;
}

async fn priority_classes(plane: Plane) {
    let classes = plane.wide("scheduling.k8s.io/v1", "priorityclasses");
    let (one, two) = (plane.unique("p1"), plane.unique("p2"));
    for (name, value) in [(&one, 1), (&two, 2)] {
        classes.create(json!({"metadata": {"name": name, "labels": {"of": plane.namespace()}}, "value": value})).await;
        assert_eq!(classes.get(name).await["value"], value);
    }
    let merge = "application/merge-patch+json";
    for value in [4, 5] {
        classes
            .try_patch(&one, merge, &json!({"value": value}))
            .await
            .refused(422, "Forbidden: may not be changed in an update.");
    }
    let patched = classes.strategic(&one, json!({"description": "patched"})).await;
    assert_eq!(patched["description"], "patched");
    let updated = classes.change(&two, |c| c["description"] = json!("updated")).await;
    assert_eq!(updated["description"], "updated");
    let label = format!("labelSelector=of%3D{}", plane.namespace());
    assert_eq!(classes.list(&label).await.len(), 2);
    classes.delete(&one).await;
    classes.delete_all(&label).await;
    assert!(classes.list(&label).await.is_empty());
}
