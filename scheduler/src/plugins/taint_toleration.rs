//! `TaintToleration`: a tainted node takes only pods that tolerate its taints.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use super::{Plugin, Rejection, normalize};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Rejects a node with a `NoSchedule` or `NoExecute` taint that the pod does not tolerate.
///
/// # Errors
/// Why the node cannot take the pod.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let refuses = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    if node.taints().iter().filter(refuses).any(|taint| !tolerates(pod, taint)) {
        return Err(Rejection::final_(Plugin::TaintToleration, "node(s) had untolerated taint(s)"));
    }
    Ok(())
}

/// Prefers nodes with fewer `PreferNoSchedule` taints that the pod does not tolerate.
pub fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
    let avoids = |taint: &&Taint| taint.effect == "PreferNoSchedule" && !tolerates(pod, taint);
    let count = |node: &&NodeInfo| node.taints().iter().filter(avoids).count();
    let mut scores: Vec<i64> = nodes.iter().map(|node| i64::try_from(count(node)).unwrap_or(i64::MAX)).collect();
    if scores.iter().all(|score| *score == 0) {
        return None;
    }
    normalize(&mut scores, true);
    Some(scores)
}

/// Whether one of the pod's tolerations covers the taint.
pub fn tolerates(pod: &PodInfo, taint: &Taint) -> bool {
    pod.wanted.tolerations.iter().any(|toleration| covers(toleration, taint))
}

/// `Toleration.ToleratesTaint` in `k8s.io/api/core/v1`.
fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or("");
    let key = toleration.key.as_deref().unwrap_or("");
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    let (wanted, found) = (toleration.value.as_deref().unwrap_or(""), taint.value.as_deref().unwrap_or(""));
    match toleration.operator.as_deref().unwrap_or("") {
        "" | "Equal" => wanted == found,
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tolerations_cover_taints() {
        let check = |toleration: serde_json::Value, expect: bool| {
            let taint =
                Taint { key: "k".into(), value: Some("v".into()), effect: "NoSchedule".into(), time_added: None };
            let found = covers(&serde_json::from_value(toleration.clone()).unwrap(), &taint);
            assert_eq!(found, expect, "{toleration}");
        };
        check(json!({"operator": "Exists"}), true);
        check(json!({"key": "k", "operator": "Exists"}), true);
        check(json!({"key": "k", "value": "v"}), true);
        check(json!({"key": "k", "value": "w"}), false);
        check(json!({"key": "k", "value": "v", "effect": "NoExecute"}), false);
        check(json!({"key": "x", "operator": "Exists"}), false);
    }
}
