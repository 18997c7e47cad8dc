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

/// What becomes of the taint that makes pods leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Execute {
    /// None of the two stays.
    Clear,
    /// One stays as it is, and is swapped for the other if the condition changed; none is added.
    Keep,
    /// The one that the condition asks for is added.
    Add,
}

/// The taint with `NoExecute` that the node's condition asks for.
pub(super) fn executes(node: &Node) -> Option<&'static str> {
    match condition(node, "Ready").map(|c| c.status.as_str()) {
        Some("False") => Some(NOT_READY),
        Some("Unknown") => Some(UNREACHABLE),
        _ => None,
    }
}

/// Whether the node has one of the two taints that make pods leave.
pub(super) fn is_executing(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref()).into_iter().flatten();
    let mut taints = taints.filter(|t| t.effect == "NoExecute");
    taints.any(|t| matches!(t.key.as_str(), NOT_READY | UNREACHABLE))
}

/// The taints that the node should have, if they are not the ones it has (`doNoScheduleTaintingPass`, and the swap of
/// `processTaintBaseEviction`).
pub(super) fn wanted(node: &Node, execute: Execute, now: &Time) -> Option<Vec<Taint>> {
    let spec = node.spec.as_ref();
    let current = spec.and_then(|s| s.taints.clone()).unwrap_or_default();
    let mut due: Vec<(&str, &str)> = Vec::new();
    due.extend(executes(node).map(|key| (key, "NoSchedule")));
    for (type_, taint) in PRESSURES {
        if condition(node, type_).is_some_and(|c| c.status == "True") {
            due.push((taint, "NoSchedule"));
        }
    }
    if spec.and_then(|s| s.unschedulable).unwrap_or(false) {
        due.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let unknown = condition(node, "Ready").is_none();
    let adds = execute == Execute::Add || (execute == Execute::Keep && is_executing(node));
    due.extend(executes(node).filter(|_| adds).map(|key| (key, "NoExecute")));
    let managed = |t: &Taint| match t.effect.as_str() {
        "NoSchedule" => {
            let pressure = PRESSURES.iter().any(|(_, key)| *key == t.key);
            pressure || matches!(t.key.as_str(), NOT_READY | UNREACHABLE | UNSCHEDULABLE)
        }
        // Of a node that has not reported nobody knows whether its pods should leave.
        "NoExecute" => matches!(t.key.as_str(), NOT_READY | UNREACHABLE) && (execute == Execute::Clear || !unknown),
        _ => false,
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
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, ready: Option<&str>, execute: Execute, expected: Option<&[&str]>) {
        let conditions = ready.map(|status| json!([{"type": "Ready", "status": status}]));
        let node = json!({"metadata": {}, "spec": spec, "status": {"conditions": conditions}});
        let parsed: Node = serde_json::from_value(node.clone()).expect("a node");
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        let taints = wanted(&parsed, execute, &now);
        let taints = taints.map(|t| t.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect::<Vec<_>>());
        let expected = expected.map(|e| e.iter().map(|t| format!("node.kubernetes.io/{t}")).collect::<Vec<_>>());
        assert_eq!(taints, expected, "{node} {execute:?}");
    }

    fn tainted(taints: &[&str]) -> Value {
        let taints: Vec<Value> = taints
            .iter()
            .map(|t| t.split_once(':').expect("a key and an effect"))
            .map(|(key, effect)| json!({"key": format!("node.kubernetes.io/{key}"), "effect": effect}))
            .collect();
        json!({ "taints": taints })
    }

    #[test]
    fn conditions_become_taints() {
        use Execute::{Add, Keep};
        check(json!({}), Some("True"), Keep, None);
        check(json!({}), Some("False"), Keep, Some(&["not-ready:NoSchedule"]));
        check(json!({}), Some("False"), Add, Some(&["not-ready:NoSchedule", "not-ready:NoExecute"]));
        check(json!({}), Some("Unknown"), Add, Some(&["unreachable:NoSchedule", "unreachable:NoExecute"]));
        check(json!({"unschedulable": true}), Some("True"), Keep, Some(&["unschedulable:NoSchedule"]));
        check(tainted(&["not-ready:NoSchedule", "not-ready:NoExecute"]), Some("True"), Keep, Some(&[]));
        check(tainted(&["not-ready:PreferNoSchedule"]), Some("True"), Keep, None);
    }

    /// A node that somebody made by hand, and that never reports, is free to be scheduled to at once.
    #[test]
    fn a_node_without_conditions_bears_no_condition_taint() {
        check(json!({}), None, Execute::Keep, None);
        check(tainted(&["not-ready:NoSchedule"]), None, Execute::Keep, Some(&[]));
        check(tainted(&["not-ready:NoExecute"]), None, Execute::Keep, None);
        check(tainted(&["not-ready:NoExecute"]), None, Execute::Clear, Some(&[]));
    }

    #[test]
    fn the_taint_that_evicts_is_swapped_and_cleared() {
        let unreachable = tainted(&["unreachable:NoSchedule", "unreachable:NoExecute"]);
        check(
            unreachable.clone(),
            Some("False"),
            Execute::Keep,
            Some(&["not-ready:NoSchedule", "not-ready:NoExecute"]),
        );
        check(unreachable.clone(), Some("Unknown"), Execute::Keep, None);
        check(unreachable, Some("Unknown"), Execute::Clear, Some(&["unreachable:NoSchedule"]));
    }
}
