//! What a pod counts for while it is resized: not less than what it still has (`determineEffectiveRequests`,
//! `determineEffectiveLimits` in `k8s.io/component-helpers/resource`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource;
use serde_json::Value;

use super::state::condition;
use super::view::{List, is_sidecar};
use crate::quantity::Quantity;

type Amounts = BTreeMap<String, resource::Quantity>;

/// The specification of a pod with what it counts for in the place of what it asks for.
pub fn held_spec(pod: &Pod) -> Option<Cow<'_, PodSpec>> {
    let spec = pod.spec.as_ref()?;
    let Some(status) = pod.status.as_ref() else { return Some(Cow::Borrowed(spec)) };
    let statuses = || status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let is_same = |own: &Container| {
        let told = statuses().find(|told| told.name == own.name);
        told.is_none_or(|told| told.resources.is_none() || !differs(own, told))
    };
    let whole_is_same = status.resources.is_none() || spec.resources.is_none();
    let mut counted = spec.containers.iter().chain(sidecars(spec));
    if counted.all(is_same) && whole_is_same {
        return Some(Cow::Borrowed(spec));
    }
    let is_infeasible = condition(pod, "PodResizePending").is_some_and(|c| c.reason.as_deref() == Some("Infeasible"));
    let mut held = spec.clone();
    let sidecars = held.init_containers.iter_mut().flatten().filter(|own| is_sidecar(own.restart_policy.as_deref()));
    for own in held.containers.iter_mut().chain(sidecars) {
        let Some(told) = statuses().find(|told| told.name == own.name) else { continue };
        if let Some(actuated) = &told.resources {
            let own = own.resources.get_or_insert_default();
            hold(own, actuated, told.allocated_resources.as_ref(), is_infeasible);
        }
    }
    if let (Some(own), Some(actuated)) = (&mut held.resources, &status.resources) {
        let names: Vec<String> = own.requests.iter().chain(&own.limits).flat_map(|list| list.keys().cloned()).collect();
        hold(own, actuated, status.allocated_resources.as_ref(), is_infeasible);
        // What is not given for the pod as a whole does not become so.
        for list in [&mut own.requests, &mut own.limits].into_iter().flatten() {
            list.retain(|name, _| names.contains(name));
        }
    }
    Some(Cow::Owned(held))
}

/// The same of a pod as JSON; nothing if it counts for what it asks for.
pub fn held_json(pod: &Value) -> Option<Value> {
    let is_told = |list: &str| {
        let statuses = pod.pointer(list).and_then(Value::as_array).into_iter().flatten();
        statuses.into_iter().any(|status| status.get("resources").is_some_and(Value::is_object))
    };
    let lists = ["/status/containerStatuses", "/status/initContainerStatuses"];
    if !lists.into_iter().any(is_told) && pod.pointer("/status/resources").is_none() {
        return None;
    }
    let pod: Pod = serde_json::from_value(pod.clone()).ok()?;
    match held_spec(&pod)? {
        Cow::Borrowed(_) => None,
        Cow::Owned(spec) => serde_json::to_value(spec).ok(),
    }
}

fn sidecars(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let init = spec.init_containers.iter().flatten();
    init.filter(|own| is_sidecar(own.restart_policy.as_deref()))
}

/// Whether a container has something else than it asks for.
fn differs(own: &Container, told: &ContainerStatus) -> bool {
    let (asked, actuated) = (own.resources.as_ref(), told.resources.as_ref());
    let requests =
        |resources: Option<&ResourceRequirements>| resources.and_then(|r| r.requests.clone()).unwrap_or_default();
    let limits =
        |resources: Option<&ResourceRequirements>| resources.and_then(|r| r.limits.clone()).unwrap_or_default();
    let allocated = told.allocated_resources.as_ref();
    requests(asked) != requests(actuated)
        || limits(asked) != limits(actuated)
        || allocated.is_some_and(|allocated| *allocated != requests(asked))
}

fn hold(
    own: &mut ResourceRequirements,
    actuated: &ResourceRequirements,
    allocated: Option<&Amounts>,
    infeasible: bool,
) {
    let asked = std::mem::take(own);
    let wanted = |list: &Option<Amounts>| if infeasible { Amounts::new() } else { list.clone().unwrap_or_default() };
    let mut requests = wanted(&asked.requests);
    raise(&mut requests, actuated.requests.as_ref());
    raise(&mut requests, allocated);
    let mut limits = wanted(&asked.limits);
    raise(&mut limits, actuated.limits.as_ref());
    (own.requests, own.limits, own.claims) = (Some(requests), Some(limits), asked.claims);
}

fn raise(list: &mut Amounts, other: Option<&Amounts>) {
    for (name, amount) in other.into_iter().flatten() {
        let more = Quantity::parse(&amount.0).ok();
        if list.amount(name).is_none_or(|known| more.is_some_and(|more| more > known)) {
            list.insert(name.clone(), amount.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: &str, actuated: &str, allocated: &str, reason: &str, expected: Option<&str>) {
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": spec}}}]},
            "status": {"conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
                "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "resources": {"requests": {"cpu": actuated}}, "allocatedResources": {"cpu": allocated}}]}});
        let held = held_json(&pod).map(|spec| spec["containers"][0]["resources"]["requests"]["cpu"].clone());
        assert_eq!(held.as_ref().and_then(Value::as_str), expected, "{spec} {actuated} {allocated} {reason}");
    }

    #[test]
    fn a_pod_counts_for_what_it_still_has() {
        check("1", "1", "1", "", None);
        check("1", "2", "2", "", Some("2"));
        check("1", "1", "2", "", Some("2"));
        check("3", "1", "2", "Deferred", Some("3"));
        check("3", "1", "2", "Infeasible", Some("2"));
    }
}
