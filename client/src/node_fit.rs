//! Whether a pod may be on a node: its name, selector, affinity and tolerations.

use std::collections::BTreeMap;

use api::selector::Operator;
use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration};
use kube::ResourceExt;

use crate::tolerations::untolerated;

/// Whether the spec names, selects and is drawn to nodes such as this.
pub fn is_chosen(spec: &PodSpec, node: &Node) -> bool {
    let name = spec.node_name.as_deref().filter(|n| !n.is_empty());
    let named = name.is_none_or(|n| node.metadata.name.as_deref() == Some(n));
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| node.labels().get(key) == Some(value));
    let required = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = required.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    named && selected && required.is_none_or(|r| selector_matches(r, node.labels(), &node.name_any()))
}

/// Whether the node bears a taint of one of `effects` that nothing tolerates.
pub fn repels(node: &Node, tolerations: &[Toleration], effects: &[&str]) -> bool {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    untolerated(taints, tolerations, effects).is_some()
}

/// Whether any term of a node selector matches.
pub fn selector_matches(selector: &NodeSelector, labels: &BTreeMap<String, String>, name: &str) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, labels, name))
}

/// Whether a term matches a node with these labels and this name. One without requirements matches nothing.
pub fn term_matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let by_labels = term.match_expressions.as_deref().unwrap_or_default();
    let by_fields = term.match_fields.as_deref().unwrap_or_default();
    let by_label = |r: &NodeSelectorRequirement| holds(r, labels.get(&r.key).map(String::as_str));
    let by_field = |r: &NodeSelectorRequirement| holds(r, (r.key == "metadata.name").then_some(name));
    !(by_labels.is_empty() && by_fields.is_empty()) && by_labels.iter().all(by_label) && by_fields.iter().all(by_field)
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    Operator::of_node_selector(&requirement.operator).is_some_and(|operator| operator.holds(value, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn terms_match_labels_and_names() {
        let labels = BTreeMap::from([("zone".to_string(), "a".to_string()), ("size".to_string(), "5".to_string())]);
        let check = |term: serde_json::Value, expect: bool| {
            let typed = serde_json::from_value(term.clone()).unwrap();
            assert_eq!(term_matches(&typed, &labels, "one"), expect, "{term}");
        };
        let expression = |key, operator, values: &[&str]| {
            json!({"matchExpressions": [
            {"key": key, "operator": operator, "values": values}]})
        };
        check(expression("zone", "In", &["a", "b"]), true);
        check(expression("zone", "In", &["b"]), false);
        check(expression("zone", "NotIn", &["b"]), true);
        check(expression("none", "NotIn", &["b"]), true);
        check(expression("zone", "Exists", &[]), true);
        check(expression("none", "DoesNotExist", &[]), true);
        check(expression("size", "Gt", &["4"]), true);
        check(expression("size", "Lt", &["5"]), false);
        check(expression("zone", "Gt", &["4"]), false);
        check(json!({}), false);
        check(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["one"]}]}), true);
        check(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["two"]}]}), false);
    }
}
