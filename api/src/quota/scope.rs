//! Whether the scopes of a quota hold of an object.

use serde_json::Value;

use crate::kinds;
use crate::pods::{QosClass, effective_quality};

/// Whether a scope, with its operator and values, holds of an object.
pub(super) type Holds = fn(&str, &str, &Value, &Value) -> bool;

/// Whether every scope of the quota's spec holds of the object; those of other kinds than it can be asked of never do.
pub fn in_scope(spec: &Value, group: &str, resource: &str, object: &Value) -> bool {
    let plain = spec["scopes"].as_array().into_iter().flatten();
    let mut plain = plain.map(|name| (name.as_str().unwrap_or_default(), "Exists", &Value::Null));
    let selected = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
    let mut selected = selected.map(|s| {
        (s["scopeName"].as_str().unwrap_or_default(), s["operator"].as_str().unwrap_or_default(), &s["values"])
    });
    let evaluator = kinds::of(group, resource).evaluator();
    let holds = |(name, operator, values): (&str, &str, &Value)| {
        evaluator.is_some_and(|evaluator| (evaluator.in_scope)(name, operator, values, object))
    };
    plain.all(holds) && selected.all(holds)
}

/// Whether a scope holds of a pod.
pub(super) fn of_pod(scope: &str, operator: &str, values: &Value, pod: &Value) -> bool {
    let spec = &pod["spec"];
    match scope {
        "Terminating" => is_terminating(spec),
        "NotTerminating" => !is_terminating(spec),
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => {
            let class = spec["priorityClassName"].as_str().filter(|class| !class.is_empty());
            among(operator, values, class.into_iter().collect::<Vec<_>>().as_slice())
        }
        "CrossNamespacePodAffinity" => looks_into_other_namespaces(&spec["affinity"]),
        _ => false,
    }
}

/// Whether a pod ends by itself after some time.
fn is_terminating(spec: &Value) -> bool {
    spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0)
}

fn is_best_effort(pod: &Value) -> bool {
    pod.as_object().is_some_and(|pod| effective_quality(pod) == QosClass::BestEffort)
}

fn looks_into_other_namespaces(affinity: &Value) -> bool {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let crosses = |term: &Value| {
        term["namespaces"].as_array().is_some_and(|n| !n.is_empty()) || term["namespaceSelector"].is_object()
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let of = |field: &str| affinity[kind][field].as_array().map_or(&[][..], Vec::as_slice);
        of(REQUIRED).iter().any(crosses) || of(PREFERRED).iter().any(|weighted| crosses(&weighted["podAffinityTerm"]))
    })
}

pub(super) fn of_claim(scope: &str, operator: &str, values: &Value, claim: &Value) -> bool {
    if scope != "VolumeAttributesClass" {
        return false;
    }
    let named = [
        &claim["spec"]["volumeAttributesClassName"],
        &claim["status"]["currentVolumeAttributesClassName"],
        &claim["status"]["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
    ];
    let named: Vec<&str> = named.into_iter().filter_map(Value::as_str).filter(|name| !name.is_empty()).collect();
    among(operator, values, &named)
}

/// Whether one of the names that an object has is as the operator wants it.
fn among(operator: &str, values: &Value, names: &[&str]) -> bool {
    let listed = |name: &&str| values.as_array().is_some_and(|values| values.iter().any(|value| value == *name));
    match operator {
        "Exists" => !names.is_empty(),
        "DoesNotExist" => names.is_empty(),
        "In" => names.iter().any(listed),
        "NotIn" => names.is_empty() || names.iter().any(|name| !listed(name)),
        _ => false,
    }
}
