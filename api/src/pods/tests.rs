//! One table a rule, asked of JSON and of typed pods.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Volume};
use serde_json::{Value, json};

use super::*;
use crate::resources::ResourceList;

fn typed_spec(spec: &Value) -> PodSpec {
    serde_json::from_value(spec.clone()).expect("a specification")
}

fn container(requests: Value, limits: Value) -> Value {
    json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
}

/// A container that asks for so much, and is limited to twice as much.
fn asks(cpu: u32) -> Value {
    container(json!({"cpu": format!("{cpu}m")}), json!({"cpu": format!("{}m", 2 * cpu)}))
}

fn sidecar(cpu: u32) -> Value {
    let mut sidecar = asks(cpu);
    sidecar["restartPolicy"] = json!("Always");
    sidecar
}

/// Both halves, as `name=amount` in order of name.
#[track_caller]
fn needs(spec: Value, asked: &str, limited: &str) {
    let typed = typed_spec(&spec);
    let found = [requests::<_, ResourceList>(&spec).pretty(), requests::<_, ResourceList>(&typed).pretty()];
    assert_eq!(found, [asked, asked], "requests of {spec}");
    assert_eq!([limits(&spec).pretty(), limits(&typed).pretty()], [limited, limited], "limits of {spec}");
}

#[test]
fn containers_add_up_and_init_containers_peak() {
    needs(json!({"containers": []}), "", "");
    needs(json!({"containers": [{"name": "c"}]}), "", "");
    needs(json!({"containers": [asks(100), asks(50)]}), "cpu=150m", "cpu=300m");
    needs(json!({"containers": [asks(100)], "initContainers": [asks(30), asks(70)]}), "cpu=100m", "cpu=200m");
    needs(json!({"containers": [asks(100)], "initContainers": [asks(30), asks(700)]}), "cpu=700m", "cpu=1400m");
    needs(json!({"containers": [asks(100)], "initContainers": [sidecar(20)]}), "cpu=120m", "cpu=240m");
    // An init container has the sidecars that started before it beside it, and not those that start later.
    needs(json!({"containers": [asks(100)], "initContainers": [sidecar(20), asks(300)]}), "cpu=320m", "cpu=640m");
    needs(json!({"containers": [asks(100)], "initContainers": [asks(300), sidecar(20)]}), "cpu=300m", "cpu=600m");
    let many = json!({"containers": [asks(10)],
        "initContainers": [sidecar(20), sidecar(30), asks(40), {"name": "other", "restartPolicy": "OnFailure"}]});
    needs(many, "cpu=90m", "cpu=180m");
    // Each resource has its own peak.
    let init = container(json!({"memory": "3Gi", "x.y/z": "2"}), json!({}));
    let main = container(json!({"cpu": "1", "memory": "1Gi"}), json!({"memory": "1Gi"}));
    needs(json!({"containers": [main], "initContainers": [init]}), "cpu=1,memory=3Gi,x.y/z=2", "memory=1Gi");
}

#[test]
fn resources_of_the_whole_pod_take_the_place_of_the_sum() {
    let whole =
        json!({"requests": {"cpu": "2", "hugepages-2Mi": "4Mi"}, "limits": {"cpu": "3", "hugepages-2Mi": "4Mi"}});
    let own = container(
        json!({"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "2Mi"}),
        json!({"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "2Mi"}),
    );
    needs(
        json!({"containers": [own], "resources": whole}),
        "cpu=2,hugepages-2Mi=4Mi,memory=1Gi",
        "cpu=3,hugepages-2Mi=4Mi,memory=1Gi",
    );
    // Only some can be given for the whole pod.
    let odd = json!({"requests": {"ephemeral-storage": "1Gi", "memory": "2Gi"}});
    needs(json!({"containers": [asks(100)], "resources": odd}), "cpu=100m,memory=2Gi", "cpu=200m");
    needs(json!({"containers": [asks(100)], "resources": {}}), "cpu=100m", "cpu=200m");
}

#[test]
fn overhead_raises_requests_and_the_limits_that_there_are() {
    let overhead = json!({"cpu": "10m", "memory": "1Mi"});
    needs(json!({"containers": [asks(100)], "overhead": overhead}), "cpu=110m,memory=1Mi", "cpu=210m");
    let none = container(json!({"cpu": "0"}), json!({"cpu": "0"}));
    needs(json!({"containers": [none], "overhead": overhead}), "cpu=10m,memory=1Mi", "cpu=0");
    let whole = json!({"limits": {"memory": "1Mi"}});
    needs(json!({"containers": [], "overhead": overhead, "resources": whole}), "cpu=10m,memory=1Mi", "memory=2Mi");
    let spec = json!({"containers": [asks(100)], "overhead": overhead});
    assert_eq!(amounts::<_, ResourceList>(&spec, Half::Requests).pretty(), "cpu=100m", "without overhead");
}

#[test]
fn quality_of_service() {
    let check = |spec: Value, expected: QosClass| {
        assert_eq!([quality(&spec), quality(&typed_spec(&spec))], [expected; 2], "{spec}");
        let pod = json!({"metadata": {}, "spec": spec, "status": {}});
        let typed: Pod = serde_json::from_value(pod.clone()).expect("a pod");
        assert_eq!([effective_quality(pod.as_object().expect("a map")), effective_quality(&typed)], [expected; 2]);
    };
    use QosClass::{BestEffort, Burstable, Guaranteed};
    let full = |n: u32| json!({"cpu": n.to_string(), "memory": format!("{n}Gi")});
    let same = |n: u32| container(full(n), full(n));
    check(json!({"containers": [{"name": "c"}]}), BestEffort);
    check(json!({"containers": [container(json!({"x/y": "1"}), json!({"x/y": "1"}))]}), BestEffort);
    check(json!({"containers": [container(json!({"cpu": "0", "memory": "0"}), json!({}))]}), BestEffort);
    check(json!({"containers": [same(1)]}), Guaranteed);
    check(json!({"containers": [same(1), same(2)], "initContainers": [same(3)]}), Guaranteed);
    check(json!({"containers": [same(1), {"name": "d"}]}), Burstable);
    check(json!({"containers": [same(1)], "initContainers": [{"name": "d"}]}), Burstable);
    check(json!({"containers": [container(full(1), full(2))]}), Burstable);
    check(json!({"containers": [container(json!({"cpu": "1"}), json!({"cpu": "1"}))]}), Burstable);
    check(json!({"containers": [container(json!({}), json!({"cpu": "5m"}))]}), Burstable);
    // The same amount may be written in two ways.
    let limits = json!({"cpu": "1", "memory": "1Gi"});
    check(json!({"containers": [container(json!({"cpu": "1000m", "memory": "1024Mi"}), limits.clone())]}), Guaranteed);
    // A request of nothing is none, so the sums differ.
    let nothing = container(json!({"cpu": "0", "memory": "1Gi"}), limits);
    check(json!({"containers": [nothing]}), Burstable);
    check(json!({"containers": [nothing, same(1)]}), Burstable);
    // Resources of the whole pod count alone.
    check(json!({"containers": [same(1)], "resources": {}}), BestEffort);
    check(json!({"containers": [{"name": "c"}], "resources": {"requests": full(1), "limits": full(1)}}), Guaranteed);
    check(json!({"containers": [same(1)], "resources": {"requests": full(1)}}), Burstable);
    check(json!({"containers": [same(1)], "resources": {"requests": {"hugepages-2Mi": "2Mi"}}}), BestEffort);
}

#[test]
fn the_quality_that_the_status_tells_stays() {
    let check = |told: Value, expected: QosClass| {
        let pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c"}]}, "status": {"qosClass": told}});
        let typed: Pod = serde_json::from_value(pod.clone()).expect("a pod");
        assert_eq!([effective_quality(pod.as_object().expect("a map")), effective_quality(&typed)], [expected; 2]);
    };
    check(json!("Guaranteed"), QosClass::Guaranteed);
    check(json!("Burstable"), QosClass::Burstable);
    check(json!("x"), QosClass::BestEffort);
    check(Value::Null, QosClass::BestEffort);
}

#[test]
fn the_life_of_a_pod() {
    let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("a time");
    let ready = |status: &str, since: Value| json!([{"type": "Ready", "status": status, "lastTransitionTime": since}]);
    let check = |phase: Value, deleted: bool, conditions: Value, expected: [bool; 4], available: Option<u64>| {
        let deletion = if deleted { json!("2026-01-01T00:00:00Z") } else { Value::Null };
        let pod =
            json!({"metadata": {"deletionTimestamp": deletion}, "status": {"phase": phase, "conditions": conditions}});
        let typed: Pod = serde_json::from_value(pod.clone()).expect("a pod");
        let json = pod.as_object().expect("a map");
        assert_eq!([is_terminal(json), is_terminating(json), is_active(json), is_ready(json)], expected, "{pod}");
        assert_eq!(
            [is_terminal(&typed), is_terminating(&typed), is_active(&typed), is_ready(&typed)],
            expected,
            "{pod}"
        );
        let available = available.map(Duration::from_secs);
        assert_eq!([available_in(json, 90, now), available_in(&typed, 90, now)], [available; 2], "{pod}");
        let at_once = expected[3].then_some(Duration::ZERO);
        assert_eq!([available_in(json, 0, now), available_in(&typed, -1, now)], [at_once; 2], "{pod}");
        assert_eq!(is_available(json, 30, now), available.is_some_and(|left| left.as_secs() <= 60), "{pod}");
    };
    let at = |time: &str| json!(format!("2026-01-01T{time}Z"));
    check(Value::Null, false, Value::Null, [false, false, true, false], None);
    check(json!("Running"), false, ready("True", at("00:00:00")), [false, false, true, true], Some(30));
    check(json!("Running"), false, ready("True", at("00:00:45")), [false, false, true, true], Some(75));
    check(json!("Running"), false, ready("True", Value::Null), [false, false, true, true], None);
    // A clock that is ahead makes nothing ready before its time.
    check(json!("Running"), false, ready("True", at("00:02:00")), [false, false, true, true], Some(90));
    check(json!("Running"), true, ready("False", at("00:00:00")), [false, true, false, false], None);
    check(json!("Succeeded"), false, ready("Unknown", at("00:00:00")), [true, false, false, false], None);
    check(json!("Failed"), true, json!([]), [true, true, false, false], None);
    check(json!("Unknown"), false, json!([]), [false, false, true, false], None);
    assert_eq!(phase(&Pod::default()), "Pending");
}

#[test]
fn claims_of_volumes() {
    let check = |volume: Value, expected: Option<&str>| {
        let typed: Volume = serde_json::from_value(volume.clone()).expect("a volume");
        assert_eq!(claim_of("pod", &volume).as_deref(), expected, "{volume}");
        assert_eq!(claim_of("pod", &typed).as_deref(), expected, "{volume}");
    };
    check(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}), Some("c"));
    check(json!({"name": "v", "ephemeral": {}}), Some("pod-v"));
    check(json!({"name": "v", "emptyDir": {}}), None);
}
