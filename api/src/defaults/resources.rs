//! Defaults of resource requests and limits.

use serde_json::{Map, Value, json};

use crate::pods::{self, Half};
use crate::quantity::Quantity;
use crate::resources::ResourceList;

type Fields = Map<String, Value>;

/// Requests of containers from their limits, resources of the pod as a whole, and the rest of `SetDefaults_Pod`.
pub(super) fn pod(map: &mut Fields) {
    let Some(Value::Object(spec)) = map.get_mut("spec") else { return };
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Value::Object(container) = container else { continue };
            if let Some(Value::Object(resources)) = container.get_mut("resources") {
                fill(resources, "limits", "requests");
            }
            if host_network {
                host_ports(container);
            }
        }
    }
    pod_resources(spec);
    if spec.get("enableServiceLinks").is_none_or(Value::is_null) {
        spec.insert("enableServiceLinks".to_string(), true.into());
    }
}

/// With the host's network every container port is a host port.
fn host_ports(container: &mut Fields) {
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let Value::Object(port) = port else { continue };
        if port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0
            && let Some(number) = port.get("containerPort").cloned()
        {
            port.insert("hostPort".to_string(), number);
        }
    }
}

/// Adds to the map `to` what `from` has and it lacks.
fn fill(resources: &mut Fields, from: &str, to: &str) {
    let Some(Value::Object(source)) = resources.get(from) else { return };
    if source.is_empty() {
        return;
    }
    let source = source.clone();
    let target = resources.entry(to).or_insert_with(|| json!({}));
    if target.is_null() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (name, quantity) in source {
        target.entry(name).or_insert(quantity);
    }
}

/// `defaultHugePagePodLimits` and `defaultPodRequests`.
fn pod_resources(spec: &mut Fields) {
    let Some(Value::Object(mut resources)) = spec.get("resources").cloned() else { return };
    let has = |resources: &Fields, name: &str| {
        resources.get(name).and_then(Value::as_object).is_some_and(|list| !list.is_empty())
    };
    if !has(&resources, "limits") && !has(&resources, "requests") {
        return;
    }
    for (name, quantity) in together(spec, Half::Limits).0 {
        let requested = resources.get("requests").and_then(|requests| requests.get(&name)).is_some();
        if name.starts_with("hugepages-") && !requested {
            entry(&mut resources, "limits", name, quantity);
        }
    }
    if has(&resources, "limits") {
        for (name, quantity) in together(spec, Half::Requests).0 {
            if matches!(name.as_str(), "cpu" | "memory") {
                entry(&mut resources, "requests", name, quantity);
            }
        }
        let limits = resources.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, quantity) in limits {
            if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
                let requests = resources.entry("requests").or_insert_with(|| json!({}));
                if let Value::Object(requests) = requests {
                    requests.entry(name).or_insert(quantity);
                }
            }
        }
    }
    spec.insert("resources".to_string(), Value::Object(resources));
}

fn entry(resources: &mut Fields, list: &str, name: String, quantity: Quantity) {
    if let Value::Object(list) = resources.entry(list).or_insert_with(|| json!({})) {
        list.entry(name).or_insert_with(|| quantity.to_string().into());
    }
}

/// What the containers of a pod need together.
fn together(spec: &Fields, half: Half) -> ResourceList {
    pods::containers_together(spec, |container| pods::read(half.of(&container.resources)))
}

/// A container's limit range: defaults from the maximum, requests from the defaults, then from the minimum
/// (`SetDefaults_LimitRangeItem`).
pub(super) fn limit_range_item(map: &mut Fields) {
    if map.get("type").and_then(Value::as_str) != Some("Container") {
        return;
    }
    fill(map, "max", "default");
    fill(map, "default", "defaultRequest");
    fill(map, "min", "defaultRequest");
}

/// The lists of amounts of a limit.
pub(super) const LIMITS: &[&str] = &["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

/// Amounts finer than a thousandth are rounded up to one (`SetDefaults_ResourceList`).
pub(super) fn round(map: &mut Fields, lists: &[&str]) {
    for list in lists {
        for value in map.get_mut(*list).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            let Some(text) = value.as_str().filter(|text| text.ends_with(['n', 'u'])) else { continue };
            if let Ok(quantity) = Quantity::parse(text) {
                *value = Quantity::from_milli(quantity.milli_value(), quantity.format()).to_string().into();
            }
        }
    }
}
