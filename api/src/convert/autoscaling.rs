//! `HorizontalPodAutoscaler` between `autoscaling/v1`, which knows one CPU target and keeps all else in annotations,
//! and `autoscaling/v2`.

use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const ANNOTATIONS: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];
/// What is aimed at if nothing is said.
const DEFAULT_CPU_UTILIZATION: i32 = 80;

/// From v1 to v2.
pub(super) fn upgrade(map: &mut Fields) {
    let annotation = |map: &Fields, name: &str| -> Option<Value> {
        serde_json::from_str(map.get("metadata")?.get("annotations")?.get(name)?.as_str()?).ok()
    };
    let items = |value: Value| match value {
        Value::Array(items) => Some(items),
        _ => None,
    };
    let metrics = annotation(map, METRICS).and_then(items);
    let current = annotation(map, CURRENT_METRICS).and_then(items);
    let conditions = annotation(map, CONDITIONS).and_then(items);
    let behavior = annotation(map, BEHAVIOR).map(|value| with_first_letters(value, char::to_ascii_lowercase));
    drop_annotations(map);
    if let Some(Value::Object(spec)) = map.get_mut("spec") {
        let mut all: Vec<Value> = metrics.into_iter().flatten().map(source_to_v2).collect();
        if let Some(utilization) = spec.remove("targetCPUUtilizationPercentage").filter(|v| !v.is_null()) {
            all.push(cpu_metric(utilization));
        }
        if all.is_empty() {
            all.push(cpu_metric(DEFAULT_CPU_UTILIZATION.into()));
        }
        spec.insert("metrics".to_string(), Value::Array(all));
        if let Some(behavior) = behavior.filter(|b| b.as_object().is_some_and(|b| !b.is_empty())) {
            spec.insert("behavior".to_string(), behavior);
        }
    }
    if let Some(Value::Object(status)) = map.get_mut("status") {
        if let Some(utilization) = status.remove("currentCPUUtilizationPercentage").filter(|v| !v.is_null()) {
            let current = json!({"averageUtilization": utilization});
            status.insert(
                "currentMetrics".to_string(),
                json!([{"type": "Resource", "resource": {"name": "cpu", "current": current}}]),
            );
        }
        if let Some(current) = current {
            let current = current.into_iter().map(status_to_v2).collect();
            status.insert("currentMetrics".to_string(), Value::Array(current));
        }
        if let Some(conditions) = conditions {
            status.insert("conditions".to_string(), Value::Array(conditions));
        }
    }
}

/// From v2 to v1.
pub(super) fn downgrade(map: &mut Fields) {
    drop_annotations(map);
    let mut annotations: Vec<(&str, Value)> = Vec::new();
    if let Some(Value::Object(spec)) = map.get_mut("spec") {
        let metrics = take_items(spec, "metrics");
        let utilization = metrics.iter().find_map(cpu_utilization).cloned();
        if let Some(utilization) = utilization {
            spec.insert("targetCPUUtilizationPercentage".to_string(), utilization);
        }
        let others: Vec<Value> = metrics.into_iter().filter(|m| cpu_utilization(m).is_none()).collect();
        if !others.is_empty() {
            annotations.push((METRICS, others.into_iter().map(source_to_v1).collect()));
        }
        if let Some(behavior) = spec.remove("behavior").filter(|b| !b.is_null()) {
            // The reference writes its internal type here, whose fields start with capitals.
            annotations.push((BEHAVIOR, with_first_letters(behavior, char::to_ascii_uppercase)));
        }
    }
    if let Some(Value::Object(status)) = map.get_mut("status") {
        let current = take_items(status, "currentMetrics");
        for metric in &current {
            let cpu = metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
            let utilization = metric.pointer("/resource/current/averageUtilization").filter(|u| cpu && !u.is_null());
            if let Some(utilization) = utilization {
                status.insert("currentCPUUtilizationPercentage".to_string(), utilization.clone());
            }
        }
        if !current.is_empty() {
            annotations.push((CURRENT_METRICS, current.into_iter().map(status_to_v1).collect()));
        }
        let conditions = take_items(status, "conditions");
        if !conditions.is_empty() {
            annotations.push((CONDITIONS, Value::Array(conditions)));
        }
    }
    if annotations.is_empty() {
        return;
    }
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    let Value::Object(metadata) = metadata else { return };
    let all = metadata.entry("annotations").or_insert_with(|| json!({}));
    if let Value::Object(all) = all {
        all.extend(annotations.into_iter().map(|(name, value)| (name.to_string(), Value::from(in_order(&value)))));
    }
}

/// The fields that annotations hold, in the order of Go's structs.
const ORDER: &str = "type status lastTransitionTime reason message object pods resource containerResource external target \
    kind name apiVersion metricName metricSelector targetAverageUtilization targetValue targetAverageValue \
    currentAverageUtilization currentValue currentAverageValue selector averageValue container scaleUp scaleDown \
    stabilizationWindowSeconds selectPolicy policies tolerance value periodSeconds matchLabels matchExpressions key \
    operator values";

/// JSON with the fields in that order, with or without capitals.
fn in_order(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Object(map) => {
            let place = |name: &str| ORDER.split_whitespace().position(|known| known.eq_ignore_ascii_case(name));
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
            let parts = entries.into_iter().map(|(name, value)| format!("{}:{}", json!(name), in_order(value)));
            format!("{{{}}}", joined(parts.collect()))
        }
        Value::Array(items) => format!("[{}]", joined(items.iter().map(in_order).collect())),
        scalar => scalar.to_string(),
    }
}

fn take_items(map: &mut Fields, name: &str) -> Vec<Value> {
    match map.remove(name) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn drop_annotations(map: &mut Fields) {
    let Some(Value::Object(metadata)) = map.get_mut("metadata") else { return };
    let Some(Value::Object(annotations)) = metadata.get_mut("annotations") else { return };
    for name in ANNOTATIONS {
        annotations.remove(name);
    }
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

fn cpu_metric(utilization: Value) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": utilization});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn cpu_utilization(metric: &Value) -> Option<&Value> {
    let cpu = metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
    metric.pointer("/resource/target/averageUtilization").filter(|u| cpu && !u.is_null())
}

/// The kinds of metric: the field that holds each, and what v1 calls the selector in it (empty for resources, which
/// have a name where the others have a metric).
const KINDS: [(&str, &str); 5] = [
    ("resource", ""),
    ("containerResource", ""),
    ("pods", "selector"),
    ("object", "selector"),
    ("external", "metricSelector"),
];

fn each_kind(metric: Value, change: impl Fn(&str, &str, &mut Fields) -> Fields) -> Value {
    let Value::Object(mut metric) = metric else { return metric };
    for (kind, selector) in KINDS {
        if let Some(Value::Object(mut old)) = metric.remove(kind) {
            let mut new = change(kind, selector, &mut old);
            for name in ["name", "container"] {
                if let Some(value) = old.remove(name) {
                    new.insert(name.to_string(), value);
                }
            }
            metric.insert(kind.to_string(), Value::Object(new));
        }
    }
    Value::Object(metric)
}

fn moved(from: &mut Fields, name: &str, to: &mut Fields, new: &str) {
    if let Some(value) = from.remove(name).filter(|v| !v.is_null()) {
        to.insert(new.to_string(), value);
    }
}

/// Moves v1's metric name, selector and object to where v2 has them.
fn identity_to_v2(kind: &str, selector: &str, old: &mut Fields, new: &mut Fields) {
    if selector.is_empty() {
        return;
    }
    let mut metric = Fields::new();
    moved(old, "metricName", &mut metric, "name");
    moved(old, selector, &mut metric, "selector");
    new.insert("metric".to_string(), Value::Object(metric));
    if kind == "object" {
        moved(old, "target", new, "describedObject");
    }
}

fn identity_to_v1(kind: &str, selector: &str, old: &mut Fields, new: &mut Fields) {
    if selector.is_empty() {
        return;
    }
    if let Some(Value::Object(mut metric)) = old.remove("metric") {
        moved(&mut metric, "name", new, "metricName");
        moved(&mut metric, "selector", new, selector);
    }
    if kind == "object" {
        moved(old, "describedObject", new, "target");
    }
}

fn source_to_v2(metric: Value) -> Value {
    each_kind(metric, |kind, selector, old| {
        let (mut new, mut target) = (Fields::new(), Fields::new());
        let average = if kind == "object" { "averageValue" } else { "targetAverageValue" };
        moved(old, "targetAverageUtilization", &mut target, "averageUtilization");
        moved(old, average, &mut target, "averageValue");
        moved(old, "targetValue", &mut target, "value");
        let has = |name: &str| target.contains_key(name);
        if kind == "object" && has("averageValue") && target.get("value") == Some(&json!("0")) {
            target.remove("value");
        }
        let has = |name: &str| target.contains_key(name);
        let of = match kind {
            "resource" | "containerResource" if has("averageUtilization") => "Utilization",
            "object" if !has("averageValue") => "Value",
            "external" if has("value") => "Value",
            _ => "AverageValue",
        };
        target.insert("type".to_string(), of.into());
        identity_to_v2(kind, selector, old, &mut new);
        new.insert("target".to_string(), Value::Object(target));
        new
    })
}

fn source_to_v1(metric: Value) -> Value {
    each_kind(metric, |kind, selector, old| {
        let mut new = Fields::new();
        if let Some(Value::Object(mut target)) = old.remove("target") {
            let average = if kind == "object" { "averageValue" } else { "targetAverageValue" };
            moved(&mut target, "averageUtilization", &mut new, "targetAverageUtilization");
            moved(&mut target, "averageValue", &mut new, average);
            moved(&mut target, "value", &mut new, "targetValue");
        }
        // These are values and no pointers in v1, so they are always written.
        match kind {
            "pods" => zero_if_absent(&mut new, "targetAverageValue"),
            "object" => zero_if_absent(&mut new, "targetValue"),
            _ => {}
        }
        identity_to_v1(kind, selector, old, &mut new);
        new
    })
}

fn status_to_v2(metric: Value) -> Value {
    each_kind(metric, |kind, selector, old| {
        let (mut new, mut current) = (Fields::new(), Fields::new());
        let average = if kind == "object" { "averageValue" } else { "currentAverageValue" };
        moved(old, "currentAverageUtilization", &mut current, "averageUtilization");
        moved(old, average, &mut current, "averageValue");
        moved(old, "currentValue", &mut current, "value");
        identity_to_v2(kind, selector, old, &mut new);
        new.insert("current".to_string(), Value::Object(current));
        new
    })
}

fn zero_if_absent(map: &mut Fields, name: &str) {
    map.entry(name).or_insert_with(|| json!("0"));
}

fn status_to_v1(metric: Value) -> Value {
    each_kind(metric, |kind, selector, old| {
        let mut new = Fields::new();
        if let Some(Value::Object(mut current)) = old.remove("current") {
            let average = if kind == "object" { "averageValue" } else { "currentAverageValue" };
            moved(&mut current, "averageUtilization", &mut new, "currentAverageUtilization");
            moved(&mut current, "averageValue", &mut new, average);
            moved(&mut current, "value", &mut new, "currentValue");
        }
        let always = if matches!(kind, "object" | "external") { "currentValue" } else { "currentAverageValue" };
        zero_if_absent(&mut new, always);
        identity_to_v1(kind, selector, old, &mut new);
        new
    })
}

/// Changes the first letter of every field's name.
fn with_first_letters(value: Value, change: fn(&char) -> char) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.into_iter().map(|(name, value)| {
                let mut letters = name.chars();
                let first = letters.next().map(|c| change(&c));
                (first.into_iter().chain(letters).collect::<String>(), with_first_letters(value, change))
            });
            Value::Object(fields.filter(|(_, value)| !value.is_null()).collect())
        }
        Value::Array(items) => items.into_iter().map(|item| with_first_letters(item, change)).collect(),
        other => other,
    }
}
