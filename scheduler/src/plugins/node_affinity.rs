//! `NodeName` and `NodeAffinity`: the pod names nodes, or labels that they must or should have.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use super::{Plugin, Rejection, normalize};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Rejects every node but the one that `spec.nodeName` names.
///
/// # Errors
/// Why the node cannot take the pod.
pub fn filter_name(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let wanted = &*pod.node_name;
    if !wanted.is_empty() && wanted != node.name() {
        return Err(Rejection::final_(Plugin::NodeName, "node(s) didn't match the requested node name"));
    }
    Ok(())
}

/// Rejects a node that the pod's node selector or required affinity does not match.
///
/// # Errors
/// Why the node cannot take the pod.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    if matches(pod, node) {
        return Ok(());
    }
    Err(Rejection::final_(Plugin::NodeAffinity, "node(s) didn't match Pod's node affinity/selector"))
}

/// Whether the pod's node selector and required affinity match the node.
pub fn matches(pod: &PodInfo, node: &NodeInfo) -> bool {
    let labels = node.labels();
    let selected = pod.wanted.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = pod.wanted.node_affinity.as_ref();
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|selector| selector_matches(selector, labels, node.name()))
}

/// Whether any term of a node selector matches.
pub fn selector_matches(selector: &NodeSelector, labels: &BTreeMap<String, String>, name: &str) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, labels, name))
}

/// Prefers nodes that match preferred terms, by the sum of their weights.
pub fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
    let preferred = pod.wanted.node_affinity.as_ref()?.preferred_during_scheduling_ignored_during_execution.as_ref()?;
    let weigh = |node: &&NodeInfo| {
        let matching = preferred.iter().filter(|term| term_matches(&term.preference, node.labels(), node.name()));
        matching.map(|term| i64::from(term.weight)).sum()
    };
    let mut scores: Vec<i64> = nodes.iter().map(weigh).collect();
    normalize(&mut scores, false);
    Some(scores)
}

/// A term with no requirement matches nothing.
fn term_matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or(&[]);
    let fields = term.match_fields.as_deref().unwrap_or(&[]);
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let field = |key: &str| (key == "metadata.name").then_some(name);
    expressions.iter().all(|r| requirement_matches(r, labels.get(&r.key).map(String::as_str)))
        && fields.iter().all(|r| requirement_matches(r, field(&r.key)))
}

fn requirement_matches(requirement: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or(&[]);
    let among = |found: &str| values.iter().any(|value| value == found);
    let number = |text: &str| text.parse::<i64>().ok();
    let compare = |holds: fn(i64, i64) -> bool| {
        let found = found.and_then(number);
        let wanted = values.first().and_then(|value| number(value));
        found.zip(wanted).is_some_and(|(found, wanted)| holds(found, wanted))
    };
    match requirement.operator.as_str() {
        "In" => found.is_some_and(among),
        "NotIn" => !found.is_some_and(among),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compare(|found, wanted| found > wanted),
        "Lt" => compare(|found, wanted| found < wanted),
        _ => false,
    }
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
