//! Taints and tolerations.

use k8s_openapi::api::core::v1::{Taint, Toleration};
use k8s_openapi::api::resource::v1::{DeviceTaint, DeviceToleration};

/// Whether a toleration bears a taint (`Toleration.ToleratesTaint` in `k8s.io/api/core/v1`).
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
        _ => false,
    }
}

/// Whether a toleration bears the taint of a device (`resourceclaim.ToleratesTaint`). What the effect means is not asked.
pub fn tolerates_device(toleration: &DeviceToleration, taint: &DeviceTaint) -> bool {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let (effect, key) = (given(&toleration.effect), given(&toleration.key));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => given(&toleration.value) == given(&taint.value),
        _ => false,
    }
}

/// The first taint of one of `effects` that nothing bears.
pub fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    let counts = |t: &&Taint| effects.contains(&t.effect.as_str());
    taints.iter().filter(counts).find(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
}

/// For how many seconds all `NoExecute` taints are borne: `None` is for ever, zero is not at all.
pub fn borne_for(taints: &[Taint], tolerations: &[Toleration]) -> Option<u64> {
    let mut shortest: Option<u64> = None;
    for taint in taints.iter().filter(|t| t.effect == "NoExecute") {
        let bearing: Vec<_> = tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if bearing.is_empty() {
            return Some(0);
        }
        let seconds = bearing.iter().filter_map(|t| t.toleration_seconds).map(|s| s.max(0) as u64).min();
        shortest = shortest.into_iter().chain(seconds).min();
    }
    shortest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(tolerations: serde_json::Value, expected: Option<u64>) {
        let taints = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]);
        let taints: Vec<Taint> = serde_json::from_value(taints).expect("taints");
        let parsed: Vec<Toleration> = serde_json::from_value(tolerations.clone()).expect("tolerations");
        assert_eq!(borne_for(&taints, &parsed), expected, "{tolerations}");
    }

    #[test]
    fn how_long_a_taint_is_borne() {
        check(json!([]), Some(0));
        check(json!([{"operator": "Exists"}]), None);
        let key = "node.kubernetes.io/not-ready";
        check(json!([{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]), Some(300));
        check(json!([{"key": key, "operator": "Exists", "effect": "NoSchedule"}]), Some(0));
        check(json!([{"key": key, "operator": "Equal", "value": "x"}]), Some(0));
    }

    #[test]
    fn tolerations_cover_taints() {
        let check = |toleration: serde_json::Value, expect: bool| {
            let taint =
                Taint { key: "k".into(), value: Some("v".into()), effect: "NoSchedule".into(), time_added: None };
            let found = tolerates(&serde_json::from_value(toleration.clone()).expect("a toleration"), &taint);
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
