//! Tests of the order in which pods go.

use serde_json::{Value, json};

use super::*;

fn at(seconds_ago: i64) -> String {
    (now() - jiff::SignedDuration::from_secs(seconds_ago)).to_string()
}

fn now() -> Timestamp {
    "2026-01-31T00:00:00Z".parse().expect("a time")
}

/// A running pod that is ready and was created this long ago.
fn pod(ready_for: Option<i64>, age: Option<i64>) -> Value {
    let mut ready = json!({"type": "Ready", "status": "True"});
    if let Some(seconds) = ready_for {
        ready["lastTransitionTime"] = json!(at(seconds));
    }
    let mut pod = json!({"metadata": {}, "spec": {"nodeName": "node", "containers": [], "initContainers": [
            {"name": "sidecar", "restartPolicy": "Always"}]},
        "status": {"phase": "Running", "conditions": [ready]}});
    if let Some(seconds) = age {
        pod["metadata"]["creationTimestamp"] = json!(at(seconds));
    }
    pod
}

fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    *pod.pointer_mut(pointer).expect("it is there") = value;
    pod
}

fn restarted(mut pod: Value, main: i32, sidecar: i32) -> Value {
    let status = |name: &str, restarts: i32| {
        json!([{"name": name, "image": "", "imageID": "", "ready": true,
        "restartCount": restarts}])
    };
    pod["status"]["containerStatuses"] = status("main", main);
    pod["status"]["initContainerStatuses"] = status("sidecar", sidecar);
    pod
}

fn costing(mut pod: Value, cost: &str) -> Value {
    pod["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": cost});
    pod
}

fn typed(pod: &Value) -> Pod {
    serde_json::from_value(pod.clone()).expect("a pod")
}

/// The cases of `TestSortingActivePodsWithRanks` in the reference.
#[test]
fn what_goes_first_from_a_set() {
    let month = 30 * 24 * 3600;
    let pending = with(pod(None, None), "/status", json!({"phase": "Pending"}));
    let unscheduled = with(pending.clone(), "/spec/nodeName", json!(""));
    let unknown = with(pending.clone(), "/status/phase", json!("Unknown"));
    let unready = with(pending.clone(), "/status/phase", json!("Running"));
    let timeless = pod(None, None);
    let fresh = pod(Some(0), Some(0));
    let old = pod(Some(month), Some(month));
    let fresh_of_old = pod(Some(0), Some(month));
    let lesser = |(a, crowd_a): (&Value, usize), (b, crowd_b): (&Value, usize)| {
        let worth = |pod: &Value, crowd| Worth::to_set(&typed(pod), crowd, now());
        assert!(worth(a, crowd_a) < worth(b, crowd_b), "{a} in {crowd_a} goes before {b} in {crowd_b}");
    };
    for crowds in [(1, 2), (2, 1)] {
        lesser((&unscheduled, crowds.0), (&pending, crowds.1));
    }
    lesser((&pending, 1), (&unknown, 2));
    lesser((&unknown, 1), (&unready, 2));
    lesser((&unready, 1), (&timeless, 1));
    lesser((&timeless, 1), (&fresh, 1));
    lesser((&fresh, 2), (&timeless, 1));
    lesser((&fresh, 1), (&old, 1));
    lesser((&fresh, 2), (&old, 1));
    lesser((&restarted(fresh.clone(), 9, 0), 1), (&restarted(fresh.clone(), 0, 0), 1));
    lesser((&restarted(fresh.clone(), 9, 9), 1), (&restarted(fresh.clone(), 9, 0), 1));
    lesser((&fresh, 2), (&restarted(fresh.clone(), 9, 0), 1));
    lesser((&fresh, 1), (&fresh_of_old, 1));
    lesser((&fresh_of_old, 2), (&fresh, 1));
    lesser((&costing(fresh.clone(), "10"), 2), (&costing(fresh.clone(), "100"), 1));
    lesser((&costing(fresh.clone(), "-5"), 1), (&fresh, 2));
    lesser((&pod(Some(2 * 3600), Some(month)), 1), (&pod(Some(5 * 3600), Some(month)), 1));
}

/// `TestSortingActivePods`: a job goes by exact ages, and by no cost and no node.
#[test]
fn what_goes_first_from_a_job() {
    let lesser = |a: &Value, b: &Value| {
        assert!(Worth::to_job(&typed(a)) < Worth::to_job(&typed(b)), "{a} goes before {b}");
    };
    lesser(&pod(Some(5 * 3600), Some(9)), &pod(Some(5 * 3600 + 1), Some(9)));
    lesser(&pod(Some(9), Some(9)), &costing(pod(Some(10), Some(9)), "-5"));
    lesser(&restarted(pod(Some(9), Some(9)), 2, 0), &pod(Some(9), Some(9)));
    lesser(&pod(Some(9), None), &pod(Some(9), Some(9)));
    lesser(&pod(Some(9), Some(9)), &pod(Some(9), Some(10)));
}

/// As in the reference pods of about the same age go by uid, that is by chance.
#[test]
fn among_about_the_same_age_chance_decides() {
    let named = |ready_for, uid: &str| {
        let mut pod = pod(Some(ready_for), Some(9));
        pod["metadata"]["uid"] = json!(uid);
        Worth::to_set(&typed(&pod), 1, now())
    };
    assert!(named(8 * 3600, "a") < named(5 * 3600, "b"));
    assert!(named(5 * 3600, "a") < named(8 * 3600, "b"));
}

/// What a pod is worth among others.
type Key = fn(&(Pod, usize)) -> Worth;

/// Whatever pods say of themselves, sorting them neither panics nor depends on the order in which they come.
#[test]
fn every_mix_of_pods_has_one_order() {
    let mut state = 7_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..20 {
        let mut pods: Vec<(Pod, usize)> = (0..60)
            .map(|n| {
                let times = [None, Some(-5), Some(0), Some(1), Some(3), Some(9), Some(30), Some(100), Some(1000)];
                let mut p = pod(times[random(times.len())], times[random(times.len())]);
                p["metadata"]["uid"] = json!(format!("{}", n * 7919 % 60));
                (typed(&restarted(p, random(3) as i32, random(2) as i32)), random(3))
            })
            .collect();
        let sorted = |pods: &[(Pod, usize)], key: Key| {
            let mut sorted = pods.to_vec();
            sorted.sort_by_key(key);
            sorted.into_iter().map(|(pod, _)| pod.uid()).collect::<Vec<_>>()
        };
        let keys: [Key; 2] = [|(p, crowd)| Worth::to_set(p, *crowd, now()), |(p, _)| Worth::to_job(p)];
        let before = keys.map(|key| sorted(&pods, key));
        (1..pods.len()).for_each(|n| pods.swap(n, random(n + 1)));
        assert_eq!(keys.map(|key| sorted(&pods, key)), before);
    }
}
