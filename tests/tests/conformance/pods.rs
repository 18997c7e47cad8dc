//! Pods as the API sees them; the containers are pretended.

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, condition, has};

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    let mut tests = of_pods();
    tests.extend(of_generations());
    tests.extend(of_runtime_classes());
    tests
}

fn of_pods() -> Vec<Conformance> {
    vec![
        test("[sig-node] Pods should be updated [NodeConformance] [Conformance]", |plane| async move {
            let pods = plane.of("v1", "pods");
            pods.create(pod("one", json!({}))).await;
            pods.change("one", |p| p["metadata"]["labels"]["time"] = json!("later")).await;
            assert_eq!(pods.list("labelSelector=time%3Dlater").await.len(), 1);
        }),
        test(
            "[sig-node] Pods should allow activeDeadlineSeconds to be updated [NodeConformance] [Conformance]",
            |plane| async move {
                let pods = plane.of("v1", "pods");
                pods.create(pod("one", json!({}))).await;
                let updated = pods.change("one", |p| p["spec"]["activeDeadlineSeconds"] = json!(5)).await;
                assert_eq!(updated["spec"]["activeDeadlineSeconds"], 5);
                let longer = json!({"spec": {"activeDeadlineSeconds": 6}});
                pods.try_patch("one", "application/merge-patch+json", &longer)
                    .await
                    .refused(422, "less than or equal to previous value");
            },
        ),
        test("[sig-node] Pods should be submitted and removed [NodeConformance] [Conformance]", submitted_and_removed),
        test("[sig-node] Pods should get a host IP [NodeConformance] [Conformance]", |plane| async move {
            let pods = plane.of("v1", "pods");
            pods.create(pod("one", json!({}))).await;
            let one = pods.until("one", "it runs", |p| p["status"]["phase"] == "Running").await;
            assert!(
                one["status"]["hostIP"].is_string() && one["status"]["hostIPs"][0]["ip"] == one["status"]["hostIP"],
                "{one}"
            );
        }),
        test("[sig-node] Pods should delete a collection of pods [Conformance]", |plane| async move {
            let pods = plane.of("v1", "pods");
            for name in ["one", "two", "three"] {
                pods.create(pod(name, json!({}))).await;
            }
            assert_eq!(pods.list("labelSelector=type%3DTesting").await.len(), 3);
            pods.delete_all("labelSelector=type%3DTesting").await;
            pods.until_all("", "none", <[Value]>::is_empty).await;
        }),
        test("[sig-node] Pods should patch a pod status [Conformance]", |plane| async move {
            let pods = plane.of("v1", "pods");
            pods.create(pod("one", json!({}))).await;
            pods.until("one", "it runs", |p| p["status"]["phase"] == "Running").await;
            let patch = json!({"status": {"message": "Patched", "reason": "E2E"}});
            let patched = pods.status().strategic("one", patch.clone()).await;
            assert!(has(&patched, &patch));
            assert!(has(&pods.status().get("one").await, &patch));
        }),
        test("[sig-node] Pods should run through the lifecycle of Pods and PodStatus [Conformance]", lifecycle),
        test(
            "[sig-node] Ephemeral Containers [NodeConformance] should update the ephemeral containers in an existing pod \
             [Conformance]",
            |plane| async move {
                let pods = plane.of("v1", "pods");
                pods.create(pod("one", json!({}))).await;
                let container = |name: &str| json!({"name": name, "image": "a:1", "command": ["sleep", "10"]});
                let ephemeral = pods.sub("ephemeralcontainers");
                ephemeral.strategic("one", json!({"spec": {"ephemeralContainers": [container("first")]}})).await;
                ephemeral
                    .change("one", |p| {
                        p["spec"]["ephemeralContainers"].as_array_mut().expect("a list").push(container("second"));
                    })
                    .await;
                let all = pods.get("one").await["spec"]["ephemeralContainers"].clone();
                assert!(all[0]["name"] == "first" && all[1]["name"] == "second", "{all}");
            },
        ),
        test(
            "[sig-node] Sysctls [LinuxOnly] [NodeConformance] should reject invalid sysctls [Conformance]",
            |plane| async move {
                let names = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar.."];
                let sysctls: Vec<Value> = names.iter().map(|name| json!({"name": name, "value": "1"})).collect();
                let one = pod("one", json!({"securityContext": {"sysctls": sysctls}}));
                let answer = plane.of("v1", "pods").try_create(&one).await;
                answer.clone().refused(422, "Invalid value: \"foo-\"");
                answer.clone().refused(422, "Invalid value: \"bar..\"");
                assert!(!answer.body["message"].to_string().contains("kernel.shmmax"));
            },
        ),
        test(
            "[sig-storage] CSIInlineVolumes should support CSIVolumeSource in Pod API [Conformance]",
            |plane| async move {
                let pods = plane.of("v1", "pods");
                let volume = json!({"name": "v", "csi": {"driver": "e2e.example.com"}});
                let spec = json!({"volumes": [volume], "nodeSelector": {"no": "node"}});
                pods.create(pod("one", spec)).await;
                let all = pods.list("labelSelector=type%3DTesting").await;
                assert!(has(&all[0]["spec"]["volumes"][0], &volume), "{}", all[0]["spec"]["volumes"]);
                pods.merge("one", json!({"metadata": {"labels": {"patched": "true"}}})).await;
                pods.delete("one").await;
                pods.until_gone("one").await;
            },
        ),
    ]
}

fn pod(name: &str, more: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name, "labels": {"type": "Testing"}}, "spec": {"terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "a:1"}]}});
    for (key, value) in more.as_object().expect("fields") {
        pod["spec"][key] = value.clone();
    }
    pod
}

async fn submitted_and_removed(plane: Plane) {
    let pods = plane.of("v1", "pods");
    let mut watch = pods.watch("labelSelector=type%3DTesting").await;
    let mut one = pod("one", json!({"terminationGracePeriodSeconds": 30}));
    one["metadata"]["annotations"] = json!({"pretend": "keep"});
    pods.create(one).await;
    watch.expect("ADDED", "one").await;
    watch.until("MODIFIED", "it runs", |p| p["status"]["phase"] == "Running").await;
    let deleted = pods.try_delete("one", &json!({"gracePeriodSeconds": 25})).await.ok();
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 25);
    watch.until("MODIFIED", "the mark", |p| p["metadata"]["deletionTimestamp"].is_string()).await;
    pods.try_delete("one", &json!({"gracePeriodSeconds": 0})).await.ok();
    let gone = watch.expect("DELETED", "one").await;
    assert!(gone["metadata"]["deletionTimestamp"].is_string() && gone["spec"]["containers"].is_array());
    assert!(pods.list("labelSelector=type%3DTesting").await.is_empty());
}

async fn lifecycle(plane: Plane) {
    let pods = plane.of("v1", "pods");
    let mut watch = pods.watch("labelSelector=type%3DTesting").await;
    pods.create(pod("one", json!({}))).await;
    watch.expect("ADDED", "one").await;
    watch.until("MODIFIED", "it is ready", |p| condition(p, "Ready")["status"] == "True").await;
    let patch = json!({"metadata": {"labels": {"testing": "patched"}}, "spec": {"containers": [{"name": "c", "image": "a:2"}]}});
    pods.strategic("one", patch).await;
    let patched = watch.until("MODIFIED", "the label", |p| p["metadata"]["labels"]["testing"] == "patched").await;
    assert_eq!(patched["spec"]["containers"][0]["image"], "a:2");
    let written = pods
        .status()
        .change("one", |p| {
            for c in p["status"]["conditions"].as_array_mut().expect("conditions") {
                c["status"] = json!("False");
            }
        })
        .await;
    assert_eq!(condition(&written, "Ready")["status"], "False");
    watch.until("MODIFIED", "the status", |p| condition(p, "Ready")["status"] == "False").await;
    pods.delete_all("labelSelector=testing%3Dpatched").await;
    watch.expect("DELETED", "one").await;
}

fn of_generations() -> Vec<Conformance> {
    vec![
        test(
            "[sig-node] Pods Extended (pod generation) Pod Generation pod generation should start at 1 and increment per update \
             [MinimumKubeletVersion:1.34] [Conformance]",
            generations,
        ),
        test(
            "[sig-node] Pods Extended (pod generation) Pod Generation custom-set generation on new pods and graceful delete \
             [Conformance]",
            |plane| async move {
                let pods = plane.of("v1", "pods");
                let mut one = pod("one", json!({"terminationGracePeriodSeconds": 30}));
                one["metadata"]["generation"] = json!(100);
                one["metadata"]["annotations"] = json!({"pretend": "keep"});
                assert_eq!(pods.create(one).await["metadata"]["generation"], 1);
                pods.until("one", "it runs", |p| p["status"]["phase"] == "Running").await;
                pods.delete("one").await;
                assert_eq!(pods.get("one").await["metadata"]["generation"], 2);
                pods.try_delete("one", &json!({"gracePeriodSeconds": 0})).await.ok();
            },
        ),
        test(
            "[sig-node] Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and limits for \
             memory and cpu [Conformance]",
            |plane| async move {
                let amounts = json!({"cpu": "100m", "memory": "100Mi"});
                let resources = json!({"requests": amounts, "limits": amounts});
                let containers = json!([{"name": "c", "image": "a:1", "resources": resources}]);
                let made = plane.of("v1", "pods").create(pod("one", json!({"containers": containers}))).await;
                assert_eq!(made["status"]["qosClass"], "Guaranteed");
            },
        ),
    ]
}

async fn generations(plane: Plane) {
    let pods = plane.of("v1", "pods");
    let init = json!([{"name": "init", "image": "a:1"}]);
    let made = pods.create(pod("one", json!({"initContainers": init}))).await;
    assert_eq!(made["metadata"]["generation"], 1);
    let toleration = json!({"key": "some", "operator": "Equal", "value": "bar", "effect": "NoSchedule"});
    type Change<'a> = (&'a str, Box<dyn Fn(&mut Value) + 'a>, bool);
    let changes: Vec<Change<'_>> = vec![
        ("nothing", Box::new(|_| ()), false),
        (
            "a toleration",
            Box::new(|p| p["spec"]["tolerations"].as_array_mut().expect("a list").push(toleration.clone())),
            true,
        ),
        ("a deadline", Box::new(|p| p["spec"]["activeDeadlineSeconds"] = json!(5000)), true),
        ("an image", Box::new(|p| p["spec"]["containers"][0]["image"] = json!("a:2")), true),
        ("the image of an init container", Box::new(|p| p["spec"]["initContainers"][0]["image"] = json!("a:2")), true),
        ("metadata", Box::new(|p| p["metadata"]["labels"]["more"] = json!("true")), false),
        ("a generation", Box::new(|p| p["metadata"]["generation"] = json!(100)), false),
    ];
    let mut expect = 1;
    for (what, change, counts) in changes {
        expect += i64::from(counts);
        let changed = pods.change("one", change).await;
        assert_eq!(changed["metadata"]["generation"], expect, "after a change of {what}");
    }
}

fn of_runtime_classes() -> Vec<Conformance> {
    vec![
        test(
            "[sig-node] RuntimeClass should reject a Pod requesting a non-existent RuntimeClass [NodeConformance] [Conformance]",
            |plane| async move {
                let name = plane.unique("none");
                let text = format!("pod rejected: RuntimeClass \"{name}\" not found");
                plane
                    .of("v1", "pods")
                    .try_create(&pod("one", json!({"runtimeClassName": name})))
                    .await
                    .refused(403, &text);
            },
        ),
        test(
            "[sig-node] RuntimeClass should reject a Pod requesting a deleted RuntimeClass [NodeConformance] [Conformance]",
            |plane| async move {
                let (classes, name) = (plane.wide("node.k8s.io/v1", "runtimeclasses"), plane.unique("gone"));
                classes.create(json!({"metadata": {"name": name}, "handler": "runc"})).await;
                classes.delete(&name).await;
                plane
                    .of("v1", "pods")
                    .try_create(&pod("one", json!({"runtimeClassName": name})))
                    .await
                    .refused(403, "not found");
            },
        ),
        test(
            "[sig-node] RuntimeClass should schedule a Pod requesting a RuntimeClass and initialize its Overhead \
             [NodeConformance] [Conformance]",
            |plane| async move { with_class(&plane, json!({"podFixed": {"cpu": "10m", "memory": "1Mi"}})).await },
        ),
        test(
            "[sig-node] RuntimeClass should schedule a Pod requesting a RuntimeClass without PodOverhead [NodeConformance] \
             [Conformance]",
            |plane| async move { with_class(&plane, Value::Null).await },
        ),
    ]
}

async fn with_class(plane: &Plane, overhead: Value) {
    let (classes, name) = (plane.wide("node.k8s.io/v1", "runtimeclasses"), plane.unique("class"));
    let mut class = json!({"metadata": {"name": name}, "handler": "runc"});
    if !overhead.is_null() {
        class["overhead"] = overhead.clone();
    }
    classes.create(class).await;
    let pods = plane.of("v1", "pods");
    let made = pods.create(pod("one", json!({"runtimeClassName": name}))).await;
    assert_eq!(made["spec"]["overhead"], overhead["podFixed"]);
    pods.until("one", "it runs", |p| p["status"]["phase"] == "Running").await;
    classes.delete(&name).await;
}
