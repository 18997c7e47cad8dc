//! The resources of a pod as a whole: those that are allocated, and those that it has.

use std::collections::BTreeMap;

use api::pods::{self, Half};
use api::resources::ResourceList;
use k8s_openapi::{
    api::core::v1::{Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::resources::{cpu_shares, limits_of_all, milli, requested};

type List = BTreeMap<String, Quantity>;

/// The allocation of a pod (`status.allocatedResources`), if it asks for anything.
pub(super) fn allocated(pod: &Pod) -> Option<List> {
    Some(listed(requested(pod))).filter(|list| !list.is_empty())
}

/// The resources that a pod has (`convertToAPIPodLevelResourcesStatus`). One that runs has what its cgroup was given, and `given` is
/// what it was given as a whole.
pub(super) fn actual(pod: &Pod, runs: bool, given: Option<&ResourceRequirements>) -> ResourceRequirements {
    let whole = pod.spec.as_ref().and_then(|spec| spec.resources.clone());
    if !runs {
        return requirements(listed(requested(pod)), limits(pod), whole);
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
    let in_cgroup = |amounts: ResourceList| listed(amounts.only(|name| matches!(name, "cpu" | "memory")));
    // The kernel knows no smaller weight than that of no request.
    let counts = |name: &str, amount: &Quantity| name != "cpu" || cpu_shares(milli(amount)) > cpu_shares(0);
    requests.extend(in_cgroup(requested(&pod)).into_iter().filter(|(name, amount)| counts(name, amount)));
    limits.extend(in_cgroup(limits_of_all(&pod)));
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
    listed(pod.spec.as_ref().map(pods::limits).unwrap_or_default())
}

fn listed(amounts: ResourceList) -> List {
    amounts.0.into_iter().map(|(name, amount)| (name, Quantity(amount.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
