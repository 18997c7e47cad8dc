//! Cells of workloads, policies, claims and the rest.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{at, condition, field, int, labels, list, map, text};
use crate::quantity::Quantity;
use crate::{Object, time};

pub(crate) fn ready_of_wanted(object: &Object, _: Timestamp) -> Value {
    format!("{}/{}", int(object, "status.readyReplicas"), int(object, "spec.replicas")).into()
}

pub(crate) fn component_status(object: &Object, _: Timestamp) -> Value {
    match list(object, "conditions").iter().find(|c| field(c, "type") == "Healthy") {
        Some(healthy) if field(healthy, "status") == "True" => "Healthy".into(),
        Some(_) => "Unhealthy".into(),
        None => "Unknown".into(),
    }
}

pub(crate) fn component(object: &Object, name: &str) -> Value {
    list(object, "conditions").iter().find(|c| field(c, "type") == "Healthy").map_or("", |c| field(c, name)).into()
}

pub(crate) fn quota(object: &Object, limits: bool) -> Value {
    let shown = |name: &str, path: &str| {
        let value = map(object, path).and_then(|m| m.get(name));
        value.and_then(|v| Quantity::from_json(v).ok()).unwrap_or_default().to_string()
    };
    let hard = map(object, "status.hard").into_iter().flat_map(|m| m.keys());
    let wanted = hard.filter(|name| name.starts_with("limits.") == limits);
    let cells: Vec<String> =
        wanted.map(|name| format!("{name}: {}/{}", shown(name, "status.used"), shown(name, "status.hard"))).collect();
    cells.join(", ").into()
}

pub(crate) fn controller(object: &Object, _: Timestamp) -> Value {
    let owners = list(object, "metadata.ownerReferences").iter();
    let Some(owner) = owners.into_iter().find(|o| o["controller"].as_bool() == Some(true)) else {
        return "<none>".into();
    };
    let group = field(owner, "apiVersion").split_once('/').map_or("", |(group, _)| group);
    let dot = if group.is_empty() { "" } else { "." };
    format!("{}/{}", format!("{}{dot}{group}", field(owner, "kind")).to_lowercase(), field(owner, "name")).into()
}

pub(crate) fn job_status(job: &Object, _: Timestamp) -> Value {
    let is = |kind: &str| condition(job, kind) == "True";
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if at(job, "metadata.deletionTimestamp").is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
    .into()
}

pub(crate) fn job_completions(job: &Object, _: Timestamp) -> Value {
    let succeeded = int(job, "status.succeeded");
    match at(job, "spec.completions").and_then(Value::as_i64) {
        Some(completions) => format!("{succeeded}/{completions}").into(),
        None => match int(job, "spec.parallelism") {
            parallelism if parallelism > 1 => format!("{succeeded}/1 of {parallelism}").into(),
            _ => format!("{succeeded}/1").into(),
        },
    }
}

pub(crate) fn job_duration(job: &Object, now: Timestamp) -> Value {
    let Ok(start) = time::parse(text(job, "status.startTime")) else { return "".into() };
    let end = time::parse(text(job, "status.completionTime")).unwrap_or(now);
    time::human_duration(end.duration_since(start)).into()
}

pub(crate) fn certificate_status(object: &Object, _: Timestamp) -> Value {
    let has = |kind: &str| list(object, "status.conditions").iter().any(|c| field(c, "type") == kind);
    let mut status = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_string();
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !text(object, "status.certificate").is_empty() {
        status.push_str(",Issued");
    }
    status.into()
}

pub(crate) fn subjects(binding: &Object, kind: &str) -> Value {
    let of_kind = list(binding, "subjects").iter().filter(|s| field(s, "kind") == kind);
    let shown = of_kind.map(|s| match kind {
        "ServiceAccount" => format!("{}/{}", field(s, "namespace"), field(s, "name")),
        _ => field(s, "name").to_string(),
    });
    shown.collect::<Vec<_>>().join(", ").into()
}

pub(crate) fn param_kind(policy: &Object, _: Timestamp) -> Value {
    match at(policy, "spec.paramKind").filter(|p| !p.is_null()) {
        Some(kind) => format!("{}/{}", field(kind, "apiVersion"), field(kind, "kind")).into(),
        None => "<unset>".into(),
    }
}

pub(crate) fn param_ref(binding: &Object, _: Timestamp) -> Value {
    let Some(params) = at(binding, "spec.paramRef").filter(|p| !p.is_null()) else { return "<unset>".into() };
    match (field(params, "name"), field(params, "namespace")) {
        ("", _) => params.get("selector").map_or("<unset>".into(), |s| labels(s.get("matchLabels")).into()),
        (name, "") => format!("*/{name}").into(),
        (name, namespace) => format!("{namespace}/{name}").into(),
    }
}

pub(crate) fn claim_state(claim: &Object, _: Timestamp) -> Value {
    let deleted = at(claim, "metadata.deletionTimestamp").is_some();
    let allocated = at(claim, "status.allocation").is_some_and(|a| !a.is_null());
    let mut states: Vec<&str> = Vec::new();
    if deleted {
        states.push("deleted");
    }
    match allocated {
        true => states.push("allocated"),
        false if !deleted => states.push("pending"),
        false => {}
    }
    if allocated && !list(claim, "status.reservedFor").is_empty() {
        states.push("reserved");
    }
    states.join(",").into()
}
