//! The resources of a pod as a whole: those that are allocated, and those that it has.

use std::collections::BTreeMap;

use api::resources::{Half, of_pod_with_overhead};
use k8s_openapi::{
    api::core::v1::{Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::{Value, json};

use crate::resources::{cpu_shares, milli, total};

type List = BTreeMap<String, Quantity>;

/// The allocation of a pod (`status.allocatedResources`), if it asks for anything.
pub fn allocated(pod: &Pod) -> Option<List> {
    Some(sum(pod, Half::Requests)).filter(|list| !list.is_empty())
}

/// The resources that a pod has (`convertToAPIPodLevelResourcesStatus`). One that runs has what its cgroup was given, and `given` is
/// what it was given as a whole.
pub fn actual(pod: &Pod, runs: bool, given: Option<&ResourceRequirements>) -> ResourceRequirements {
    let whole = pod.spec.as_ref().and_then(|spec| spec.resources.clone());
    if !runs {
        let (requests, limits) = (sum(pod, Half::Requests), sum(pod, Half::Limits));
        return requirements(requests, limits, whole);
    }
    let mut pod = pod.clone();
    if let Some(spec) = &mut pod.spec
        && given.is_some()
    {
        spec.resources = given.cloned();
    }
    let own = |half: Half| {
        let whole = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
        let list = whole.and_then(|whole| if half == Half::Requests { &whole.requests } else { &whole.limits }.clone());
        list.unwrap_or_default()
    };
    let (mut requests, mut limits) = (own(Half::Requests), own(Half::Limits));
    for (list, half, request) in [(&mut requests, Half::Requests, true), (&mut limits, Half::Limits, false)] {
        let amounts = sum(&pod, half);
        let in_cgroup = |name: &str| total(&pod, name, request).is_some();
        let counted =
            amounts.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory") && in_cgroup(name));
        // The kernel knows no smaller weight than that of no request.
        list.extend(
            counted.filter(|(name, amount)| !request || name != "cpu" || cpu_shares(milli(amount)) > cpu_shares(0)),
        );
    }
    requirements(requests, limits, whole)
}

fn requirements(requests: List, limits: List, whole: Option<ResourceRequirements>) -> ResourceRequirements {
    let some = |list: List| Some(list).filter(|list| !list.is_empty());
    ResourceRequirements {
        requests: some(requests),
        limits: some(limits),
        claims: whole.and_then(|whole| whole.claims),
    }
}

/// The limits of a pod in all, by resource.
pub fn limits(pod: &Pod) -> List {
    sum(pod, Half::Limits)
}

fn sum(pod: &Pod, half: Half) -> List {
    let Some(spec) = &pod.spec else { return List::new() };
    let container = |c: &k8s_openapi::api::core::v1::Container| json!({"resources": c.resources, "restartPolicy": c.restart_policy});
    let containers: Vec<Value> = spec.containers.iter().map(container).collect();
    let init: Vec<Value> = spec.init_containers.iter().flatten().map(container).collect();
    let spec = json!({"containers": containers, "initContainers": init, "resources": spec.resources, "overhead": spec.overhead});
    let list = of_pod_with_overhead(&spec, half).0;
    list.into_iter().map(|(name, amount)| (name, Quantity(amount.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: Value, given: Option<Value>, allocated: Value, pending: Value, running: Value) {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
        let given = given.map(|given| serde_json::from_value::<ResourceRequirements>(given).expect("resources"));
        let text = |resources: ResourceRequirements| serde_json::to_value(resources).expect("JSON");
        assert_eq!(serde_json::to_value(super::allocated(&pod)).expect("JSON"), allocated, "{spec}");
        assert_eq!(text(actual(&pod, false, given.as_ref())), pending, "{spec}");
        assert_eq!(text(actual(&pod, true, given.as_ref())), running, "{spec}");
    }

    #[test]
    fn pods_as_a_whole() {
        check(json!({"containers": [{"name": "a"}]}), None, Value::Null, json!({}), json!({}));
        let one = json!({"requests": {"cpu": "100m", "x/y": "1"}, "limits": {"cpu": "1", "x/y": "1"}});
        let sum = json!({"cpu": "100m", "x/y": "1"});
        check(
            json!({"containers": [{"name": "a", "resources": one}, {"name": "b"}]}),
            None,
            sum.clone(),
            json!({"requests": sum, "limits": {"cpu": "1", "x/y": "1"}}),
            // Without a limit for each container there is none for the pod.
            json!({"requests": {"cpu": "100m"}}),
        );
        let whole = |cpu: &str| json!({"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"cpu": "2"}});
        check(
            json!({"containers": [{"name": "a"}], "resources": whole("1")}),
            Some(whole("500m")),
            json!({"cpu": "1", "memory": "1Gi"}),
            whole("1"),
            whole("500m"),
        );
    }
}
