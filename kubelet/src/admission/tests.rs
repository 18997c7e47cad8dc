//! A node with one pod is asked whether it takes another.

use serde_json::{Value, json};

use super::*;

fn pod(uid: &str, spec: Value) -> Pod {
    let metadata = json!({"name": uid, "namespace": "n", "uid": uid});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod")
}

fn node() -> Node {
    let taints = json!([{"key": "out", "effect": "NoExecute"}, {"key": "not-now", "effect": "NoSchedule"}]);
    serde_json::from_value(json!({"metadata": {"name": "one", "labels": {"zone": "a"}}, "spec": {"taints": taints}}))
        .expect("a node")
}

/// The refusal of a pod with these fields beside one container with those.
fn check(mut fields: Value, container: Value, expected: &str) {
    let first = json!({"name": "c", "ports": [{"containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1"}],
        "resources": {"requests": {"cpu": "1500m", "memory": "1Gi"}}});
    let running = pod("first", json!({"containers": [first]}));
    let mut container = container;
    container["name"] = "c".into();
    fields["containers"] = json!([container]);
    if fields.get("tolerations").is_none() {
        fields["tolerations"] = json!([{"operator": "Exists"}]);
    }
    let amounts =
        [("cpu", "2"), ("memory", "2Gi"), ("ephemeral-storage", "1Gi"), ("pods", "2"), ("hugepages-2Mi", "0")];
    let capacity = amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into();
    let shown = fields.to_string();
    let found = refusal(&pod("second", fields), &node(), &capacity, &[&running]);
    assert_eq!(found.map(|v| format!("{}: {}", v.reason, v.message)).unwrap_or_default(), expected, "{shown}");
}

fn asks(name: &str, amount: &str) -> Value {
    json!({"resources": {"requests": {name: amount}}})
}

fn port(protocol: &str, number: i32, address: &str) -> Value {
    json!({"ports": [{"containerPort": 1, "hostPort": number, "hostIP": address, "protocol": protocol}]})
}

#[test]
fn a_node_takes_what_fits() {
    let none = || json!({});
    check(none(), none(), "");
    check(none(), asks("cpu", "500m"), "");
    check(none(), asks("example.com/unknown", "5"), "");
    check(json!({"nodeSelector": {"zone": "a"}, "nodeName": "one"}), none(), "");
    check(none(), port("UDP", 80, "0.0.0.0"), "");
    check(none(), port("TCP", 80, "10.0.0.2"), "");
    check(none(), port("TCP", 0, ""), "");
    check(json!({"tolerations": [{"key": "out", "operator": "Exists"}]}), none(), "");
}

#[test]
fn a_node_refuses_what_does_not_fit() {
    let none = || json!({});
    let scarce =
        |name: &str, numbers: &str| format!("OutOf{name}: Node didn't have enough resource: {name}, {numbers}");
    check(none(), asks("cpu", "501m"), &scarce("cpu", "requested: 501, used: 1500, capacity: 2000"));
    let memory = scarce("memory", "requested: 2147483648, used: 1073741824, capacity: 2147483648");
    check(none(), asks("memory", "2Gi"), &memory);
    check(
        json!({"overhead": {"cpu": "400m"}}),
        asks("cpu", "200m"),
        &scarce("cpu", "requested: 600, used: 1500, capacity: 2000"),
    );
    let huge = scarce("hugepages-2Mi", "requested: 2097152, used: 0, capacity: 0");
    check(none(), asks("hugepages-2Mi", "2Mi"), &huge);
    let ports = "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    for address in ["", "0.0.0.0", "10.0.0.1"] {
        check(none(), port("TCP", 80, address), ports);
    }
    let affinity = "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    check(json!({"nodeSelector": {"zone": "b"}}), none(), affinity);
    let taint = "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
    check(json!({"tolerations": [{"key": "not-now", "operator": "Exists"}]}), none(), taint);
    let os = "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS";
    check(json!({"os": {"name": "windows"}}), none(), os);
}

#[test]
fn pods_that_are_over_or_gone_take_no_room() {
    let admission = Admission::default();
    let mut known = pod("known", json!({"containers": []}));
    known.status = serde_json::from_value(json!({"startTime": "2026-01-01T00:00:00Z"})).expect("a status");
    let fresh = Arc::new(pod("fresh", json!({"containers": []})));
    admission.note(&Change::Added(Arc::new(known.clone())));
    admission.note(&Change::Added(fresh.clone()));
    let admitted = |uid: &str| admission.pods.lock().get(uid).map(|entry| entry.admitted);
    assert_eq!((admitted("known"), admitted("fresh")), (Some(true), Some(false)));
    admission.note(&Change::Deleted(Arc::new(known)));
    assert_eq!(admitted("known"), None);
}
