//! Keys of labels that a pod's selectors take from the pod itself become requirements when it is created
//! (`mutatePodAffinity`, `mutateTopologySpreadConstraints`).

use api::Object;
use serde_json::{Map, Value, json};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn merge(pod: &mut Object) {
    let labels = pod.at(&["metadata", "labels"]).and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(spec) = pod.0.get_mut("spec") else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = spec.get_mut("affinity").and_then(|affinity| affinity.get_mut(kind)) else { continue };
        for term in items(affinity, PREFERRED).filter_map(|term| term.get_mut("podAffinityTerm")) {
            apply(term, &labels);
        }
        items(affinity, REQUIRED).for_each(|term| apply(term, &labels));
    }
    items(spec, "topologySpreadConstraints").for_each(|constraint| apply(constraint, &labels));
}

fn items<'a>(value: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

fn apply(term: &mut Value, labels: &Map<String, Value>) {
    let mut more = Vec::new();
    for (list, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys = term.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let known = keys.filter_map(|key| Some((key, labels.get(key)?)));
        more.extend(known.map(|(key, value)| json!({"key": key, "operator": operator, "values": [value]})));
    }
    let Some(Value::Object(selector)) = term.get_mut("labelSelector").filter(|_| !more.is_empty()) else { return };
    let expressions = selector.entry("matchExpressions").or_insert_with(|| json!([]));
    if expressions.is_null() {
        *expressions = json!([]);
    }
    if let Some(expressions) = expressions.as_array_mut() {
        expressions.extend(more);
    }
}
