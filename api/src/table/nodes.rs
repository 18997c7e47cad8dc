//! Cells of nodes and events.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{at, condition, either, field, int, list, map, or, text};
use crate::{Object, time};

pub(crate) fn micro_or_time(object: &Object, time_path: &str, micro_path: &str, now: Timestamp) -> String {
    let found = either(object, time_path, micro_path);
    time::age((!found.is_empty()).then_some(found), now)
}

pub(crate) fn event_first(object: &Object, now: Timestamp) -> String {
    match text(object, "deprecatedFirstTimestamp") {
        "" => micro_or_time(object, "firstTimestamp", "eventTime", now),
        first => time::age(Some(first), now),
    }
}

pub(crate) fn event_last(object: &Object, now: Timestamp) -> String {
    let series = text(object, "series.lastObservedTime");
    let last = either(object, "lastTimestamp", "deprecatedLastTimestamp");
    match (at(object, "series").is_some_and(|s| !s.is_null()), last) {
        (true, _) => time::age((!series.is_empty()).then_some(series), now),
        (false, "") => event_first(object, now),
        (false, last) => time::age(Some(last), now),
    }
}

pub(crate) fn event_target(object: &Object, _: Timestamp) -> Value {
    let kind = either(object, "involvedObject.kind", "regarding.kind").to_lowercase();
    match either(object, "involvedObject.name", "regarding.name") {
        "" => kind.into(),
        name => format!("{kind}/{name}").into(),
    }
}

pub(crate) fn event_source(object: &Object, _: Timestamp) -> Value {
    let component = [
        either(object, "source.component", "deprecatedSource.component"),
        either(object, "reportingComponent", "reportingController"),
    ];
    let host = [either(object, "source.host", "deprecatedSource.host"), text(object, "reportingInstance")];
    let first = |texts: [&str; 2]| texts.into_iter().find(|t| !t.is_empty()).unwrap_or("").to_string();
    match (first(component), first(host)) {
        (component, host) if host.is_empty() => component.into(),
        (component, host) => format!("{component}, {host}").into(),
    }
}

pub(crate) fn event_count(object: &Object, _: Timestamp) -> Value {
    let count = int(object, "count").max(int(object, "deprecatedCount"));
    match at(object, "series.count").and_then(Value::as_i64) {
        Some(count) => count.into(),
        None => count.max(1).into(),
    }
}

pub(crate) fn node_status(node: &Object, _: Timestamp) -> Value {
    let mut status = match condition(node, "Ready") {
        "" => "Unknown",
        "True" => "Ready",
        _ => "NotReady",
    }
    .to_string();
    if at(node, "spec.unschedulable").and_then(Value::as_bool) == Some(true) {
        status.push_str(",SchedulingDisabled");
    }
    status.into()
}

pub(crate) fn node_roles(node: &Object, _: Timestamp) -> Value {
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in map(node, "metadata.labels").into_iter().flatten() {
        match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => roles.push(role),
            None if key == "kubernetes.io/role" => roles.extend(value.as_str().filter(|r| !r.is_empty())),
            _ => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    or(&roles.join(","), "<none>").into()
}

pub(crate) fn node_address(node: &Object, kind: &str) -> Value {
    let found = list(node, "status.addresses").iter().find(|a| field(a, "type") == kind);
    found.map_or("<none>", |a| field(a, "address")).into()
}

pub(crate) fn node_kernel(node: &Object, _: Timestamp) -> Value {
    let kernel = or(text(node, "status.nodeInfo.kernelVersion"), "<unknown>");
    match text(node, "status.nodeInfo.architecture") {
        "" => kernel.into(),
        architecture => format!("{kernel} ({architecture})").into(),
    }
}
