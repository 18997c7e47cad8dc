//! Label selectors on typed objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels or a plain selector.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether `selector` matches; an empty one matches everything.
pub(crate) fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.as_ref().is_none_or(|wanted| contains(labels, wanted));
    let mut expressions = selector.match_expressions.iter().flatten();
    equal
        && expressions.all(|e| {
            let value = labels.get(&e.key);
            let among = value.is_some_and(|v| e.values.iter().flatten().any(|w| w == v));
            match e.operator.as_str() {
                "In" => among,
                "NotIn" => !among,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// Whether `labels` hold every pair of `wanted`.
pub(crate) fn contains(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// Whether `selector` has no requirement.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(|m| m.is_empty())
        && selector.match_expressions.as_ref().is_none_or(|e| e.is_empty())
}

/// The selector as the reference's events print it.
pub(crate) fn shown(selector: &LabelSelector) -> String {
    let labels: String = selector.match_labels.iter().flatten().map(|(k, v)| format!("{k}: {v},")).collect();
    let expressions = selector.match_expressions.iter().flatten().map(|e| {
        let values = e.values.clone().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", e.key, e.operator)
    });
    let expressions: String = expressions.collect();
    let labels = format!("MatchLabels:map[string]string{{{labels}}}");
    format!("&LabelSelector{{{labels},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: serde_json::Value, labels: serde_json::Value, expected: bool) {
        let parsed: LabelSelector = serde_json::from_value(selector.clone()).expect("a selector");
        let labels: Labels = serde_json::from_value(labels).expect("labels");
        assert_eq!(matches(&parsed, &labels), expected, "{selector} on {labels:?}");
    }

    #[test]
    fn selectors() {
        use serde_json::json;
        check(json!({}), json!({"a": "1"}), true);
        check(json!({"matchLabels": {"a": "1"}}), json!({"a": "1", "b": "2"}), true);
        check(json!({"matchLabels": {"a": "1"}}), json!({"a": "2"}), false);
        let not_in = json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]});
        check(not_in.clone(), json!({}), true);
        check(not_in, json!({"a": "1"}), false);
        check(json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}), json!({}), false);
        check(json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}), json!({}), true);
        check(json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}), json!({"a": "1"}), true);
    }

    #[test]
    fn selectors_are_shown_as_go_prints_them() {
        let shown = |selector: serde_json::Value| shown(&serde_json::from_value(selector).expect("a selector"));
        assert_eq!(
            shown(serde_json::json!({"matchLabels": {"b": "2", "a": "1"},
                "matchExpressions": [{"key": "c", "operator": "In", "values": ["x", "y"]}]})),
            "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:[]LabelSelectorRequirement{\
             LabelSelectorRequirement{Key:c,Operator:In,Values:[x y],},},}"
        );
    }
}
