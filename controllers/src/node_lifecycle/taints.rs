//! The taints that follow from a node's conditions: a plain function.

use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::condition;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that are bad when true, with their taints.
const PRESSURES: &[(&str, &str)] = &[
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// The taints that the node should have, if they are not the ones it has.
pub(super) fn wanted(node: &Node, now: &Time) -> Option<Vec<Taint>> {
    let spec = node.spec.as_ref();
    let current = spec.and_then(|s| s.taints.clone()).unwrap_or_default();
    let mut due: Vec<(&str, &str)> = Vec::new();
    match condition(node, "Ready").map(|c| c.status.as_str()) {
        Some("False") => due.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        Some("Unknown") => due.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        // A node that has not reported yet keeps the taint that its admission gave it.
        None => due.extend(current.iter().filter(|t| t.key == NOT_READY).map(|_| (NOT_READY, "NoSchedule"))),
        _ => {}
    }
    for (type_, taint) in PRESSURES {
        if condition(node, type_).is_some_and(|c| c.status == "True") {
            due.push((taint, "NoSchedule"));
        }
    }
    if spec.and_then(|s| s.unschedulable).unwrap_or(false) {
        due.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let managed = |t: &Taint| {
        let ready = matches!(t.key.as_str(), NOT_READY | UNREACHABLE) && t.effect != "PreferNoSchedule";
        let pressure = PRESSURES.iter().any(|(_, key)| *key == t.key) || t.key == UNSCHEDULABLE;
        ready || (pressure && t.effect == "NoSchedule")
    };
    let is = |t: &Taint, (key, effect): &(&str, &str)| t.key == *key && t.effect == *effect;
    let mut taints: Vec<Taint> =
        current.iter().filter(|t| !managed(t) || due.iter().any(|d| is(t, d))).cloned().collect();
    for d in &due {
        if !taints.iter().any(|t| is(t, d)) {
            let (key, effect) = (d.0.to_owned(), d.1.to_owned());
            taints.push(Taint { key, effect, value: None, time_added: Some(now.clone()) });
        }
    }
    (taints != current).then_some(taints)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(node: serde_json::Value, expected: Option<&[&str]>) {
        let parsed: Node = serde_json::from_value(node.clone()).expect("a node");
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        let taints =
            wanted(&parsed, &now).map(|t| t.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect::<Vec<_>>());
        let expected = expected.map(|e| e.iter().map(|t| format!("node.kubernetes.io/{t}")).collect::<Vec<_>>());
        assert_eq!(taints, expected, "{node}");
    }

    #[test]
    fn conditions_become_taints() {
        let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
        check(json!({"metadata": {}, "status": ready("True")}), None);
        check(
            json!({"metadata": {}, "status": ready("False")}),
            Some(&["not-ready:NoSchedule", "not-ready:NoExecute"]),
        );
        let unreachable: &[&str] = &["unreachable:NoSchedule", "unreachable:NoExecute"];
        check(json!({"metadata": {}, "status": ready("Unknown")}), Some(unreachable));
        let tainted = json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]});
        check(json!({"metadata": {}, "spec": tainted, "status": ready("True")}), Some(&[]));
        check(json!({"metadata": {}, "spec": tainted}), None);
        let cordoned = json!({"unschedulable": true});
        check(json!({"metadata": {}, "spec": cordoned, "status": ready("True")}), Some(&["unschedulable:NoSchedule"]));
    }
}
