//! Requests and limits: the QoS class of a pod and the cgroup settings of its containers.

use std::collections::BTreeMap;

use api::pods::{self, QosClass, effective_quality};
use api::resources::ResourceList;
use k8s_cri::v1::LinuxContainerResources;
use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::pod;

/// The period of the kernel's CPU bandwidth control.
const CPU_PERIOD_US: i64 = 100_000;
/// The smallest quota that the kernel takes.
const CPU_QUOTA_US_MIN: i64 = 1_000;
/// The smallest weight that the kernel takes.
const CPU_SHARES_MIN: i64 = 2;
/// The lowest priority of pods that the cluster cannot do without (`SystemCriticalPriority`).
const CRITICAL_PRIORITY_MIN: i32 = 2_000_000_000;
/// The largest weight that the kernel takes.
const CPU_SHARES_MAX: i64 = 262_144;

type List = BTreeMap<String, Quantity>;

/// A quantity in thousandths; malformed ones count as nothing, the API server has refused them long before.
pub fn milli(quantity: &Quantity) -> i64 {
    api::quantity::Quantity::parse(&quantity.0).map_or(0, |parsed| parsed.milli_value())
}

/// A quantity in whole units, rounded up.
pub fn value(quantity: &Quantity) -> i64 {
    api::quantity::Quantity::parse(&quantity.0).map_or(0, |parsed| parsed.value())
}

fn lookup<'a>(list: Option<&'a List>, name: &str) -> Option<&'a Quantity> {
    list?.get(name).filter(|quantity| milli(quantity) > 0)
}

fn limits(resources: Option<&ResourceRequirements>) -> Option<&List> {
    resources?.limits.as_ref()
}

fn requests(resources: Option<&ResourceRequirements>) -> Option<&List> {
    resources?.requests.as_ref()
}

/// The limit of a container, which is the pod's where it has none of its own (`GetLimits`).
pub fn limit<'a>(
    whole: Option<&'a ResourceRequirements>,
    own: Option<&'a ResourceRequirements>,
    name: &str,
) -> Option<&'a Quantity> {
    lookup(limits(own), name).or_else(|| lookup(limits(whole), name))
}

/// The resources that are given for a pod as a whole.
pub fn of_whole(pod: &Pod) -> Option<&ResourceRequirements> {
    pod.spec.as_ref()?.resources.as_ref()
}

/// The cgroup that all of a pod's containers live under, for the `cgroupfs` driver.
pub fn cgroup_parent(root: &str, pod: &Pod) -> String {
    let root = root.trim_end_matches('/');
    let uid = pod::uid(pod);
    match effective_quality(pod) {
        QosClass::Guaranteed => format!("{root}/pod{uid}"),
        QosClass::Burstable => format!("{root}/burstable/pod{uid}"),
        QosClass::BestEffort => format!("{root}/besteffort/pod{uid}"),
    }
}

/// CPU weight of a request in thousandths of a core.
pub fn cpu_shares(milli_cpu: i64) -> i64 {
    (milli_cpu * 1024 / 1000).clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)
}

/// CPU quota of a limit in thousandths of a core; 0 is no limit.
pub fn cpu_quota(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 { 0 } else { (milli_cpu * CPU_PERIOD_US / 1000).max(CPU_QUOTA_US_MIN) }
}

fn memory_request(resources: Option<&ResourceRequirements>) -> i64 {
    lookup(requests(resources), "memory").map_or(0, value)
}

/// The part of the memory that the pod requests as a whole and no container does, for each container
/// (`remainingPodMemReqPerContainer`).
fn unclaimed_memory(pod: &Pod) -> i64 {
    let whole = memory_request(of_whole(pod));
    let Some(spec) = pod.spec.as_ref().filter(|_| whole != 0) else { return 0 };
    let together: ResourceList = pods::containers_together(spec, |container| pods::read(container.resources.requests));
    let claimed = together.0.get("memory").map_or(0, api::quantity::Quantity::value);
    let count = spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len);
    (whole - claimed) / i64::try_from(count.max(1)).unwrap_or(i64::MAX)
}

/// Whether the cluster cannot do without the pod (`IsCriticalPod`).
pub fn is_critical(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.priority).is_some_and(|priority| priority >= CRITICAL_PRIORITY_MIN)
}

/// How readily the kernel kills the container for want of memory (`GetContainerOOMScoreAdjust`).
pub fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: i64) -> i64 {
    if is_critical(pod) {
        return -997;
    }
    match effective_quality(pod) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let spec = pod.spec.as_ref();
            let is_sidecar = |own: &Container| own.name == container.name && pod::is_sidecar(own);
            let sidecar = spec.is_some_and(|spec| spec.init_containers.iter().flatten().any(is_sidecar));
            let mains = spec.into_iter().flat_map(|spec| &spec.containers);
            let least = mains.map(|main| memory_request(main.resources.as_ref())).min().filter(|_| sidecar);
            let request = memory_request(container.resources.as_ref());
            // A sidecar is not killed before the containers that need it.
            let request = request.max(least.unwrap_or(0)) + unclaimed_memory(pod);
            let share = 1000 - 1000 * request / memory_capacity.max(1);
            share.clamp(3, 999)
        }
    }
}

/// The cgroup settings of one container.
pub fn linux_resources(pod: &Pod, container: &Container, memory_capacity: i64) -> LinuxContainerResources {
    let resources = container.resources.as_ref();
    let cpu_limit = limit(of_whole(pod), resources, "cpu").map_or(0, milli);
    let cpu_request = requests(resources).and_then(|list| list.get("cpu")).map_or(cpu_limit, milli);
    LinuxContainerResources {
        cpu_period: CPU_PERIOD_US,
        cpu_quota: cpu_quota(cpu_limit),
        cpu_shares: cpu_shares(cpu_request),
        memory_limit_in_bytes: limit(of_whole(pod), resources, "memory").map_or(0, value),
        oom_score_adj: oom_score_adj(pod, container, memory_capacity),
        ..Default::default()
    }
}

/// The cgroup settings of a whole pod; a limit holds only if every container has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodCgroup {
    /// CPU weight.
    pub cpu_shares: i64,
    /// CPU quota per period; `None` is no limit.
    pub cpu_quota: Option<i64>,
    /// Length of that period.
    pub cpu_period: i64,
    /// Memory limit in bytes; `None` is no limit.
    pub memory: Option<i64>,
}

/// The settings of the pod's own cgroup (`ResourceConfigForPod`).
pub fn pod_cgroup(pod: &Pod) -> PodCgroup {
    let limits = limits_of_all(pod);
    PodCgroup {
        cpu_shares: cpu_shares(requested(pod).0.get("cpu").map_or(0, api::quantity::Quantity::milli_value)),
        cpu_quota: limits.0.get("cpu").map(|limit| cpu_quota(limit.milli_value())),
        cpu_period: CPU_PERIOD_US,
        memory: limits.0.get("memory").map(api::quantity::Quantity::value),
    }
}

/// What the pod asks for in all.
pub fn requested(pod: &Pod) -> ResourceList {
    pod.spec.as_ref().map(pods::requests).unwrap_or_default()
}

/// What the pod is limited to in all: only in those resources in which the pod as a whole or every container is limited.
pub fn limits_of_all(pod: &Pod) -> ResourceList {
    let Some(spec) = &pod.spec else { return ResourceList::default() };
    let limited = |resources: Option<&ResourceRequirements>, name: &str| lookup(limits(resources), name).is_some();
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let in_all = |name: &str| {
        limited(of_whole(pod), name) || containers.clone().all(|container| limited(container.resources.as_ref(), name))
    };
    pods::limits(spec).only(in_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(containers: &str, class: &str, expected: (i64, i64, i64, i64), pod: (i64, Option<i64>, Option<i64>)) {
        let object: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"uid": "u"},
            "spec": {"containers": serde_json::from_str::<serde_json::Value>(containers).expect("JSON")},
        }))
        .expect("a pod");
        assert_eq!(effective_quality(&object).name(), class, "{containers}");
        let first = &object.spec.as_ref().expect("a specification").containers[0];
        let linux = linux_resources(&object, first, 1000 << 20);
        let found = (linux.cpu_shares, linux.cpu_quota, linux.memory_limit_in_bytes, linux.oom_score_adj);
        assert_eq!(found, expected, "{containers}");
        let cgroup = pod_cgroup(&object);
        assert_eq!((cgroup.cpu_shares, cgroup.cpu_quota, cgroup.memory), pod, "{containers}");
    }

    #[test]
    fn classes_and_cgroups() {
        check(r#"[{"name":"a"}]"#, "BestEffort", (2, 0, 0, 1000), (2, None, None));
        check(
            r#"[{"name":"a","resources":{"requests":{"cpu":"500m","memory":"250Mi"}}}]"#,
            "Burstable",
            (512, 0, 0, 750),
            (512, None, None),
        );
        check(
            r#"[{"name":"a","resources":{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"2","memory":"1Gi"}}}]"#,
            "Guaranteed",
            (2048, 200_000, 1 << 30, -997),
            (2048, Some(200_000), Some(1 << 30)),
        );
        check(
            r#"[{"name":"a","resources":{"limits":{"cpu":"5m"}}},{"name":"b"}]"#,
            "Burstable",
            (5, 1_000, 0, 999),
            // A request that is not said is nothing: the API server has put the limit in its place.
            (2, None, None),
        );
    }

    #[test]
    fn pods_with_resources_as_a_whole() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
            "resources": {"requests": {"cpu": "1", "memory": "500Mi"}, "limits": {"cpu": "2", "memory": "600Mi"}},
            "initContainers": [{"name": "s", "restartPolicy": "Always"}],
            "containers": [{"name": "a", "resources": {"requests": {"memory": "100Mi"}, "limits": {"memory": "200Mi"}}}],
        }}))
        .expect("a pod");
        let spec = pod.spec.as_ref().expect("a specification");
        let of = |container: &Container| {
            let linux = linux_resources(&pod, container, 1000 << 20);
            (linux.cpu_shares, linux.cpu_quota, linux.memory_limit_in_bytes, linux.oom_score_adj)
        };
        // The limits of the pod hold where a container has none; 400 Mi that no container requests count half for each.
        assert_eq!(of(&spec.containers[0]), (2048, 200_000, 200 << 20, 700));
        let sidecar = &spec.init_containers.as_ref().expect("a sidecar")[0];
        assert_eq!(of(sidecar), (2048, 200_000, 600 << 20, 700), "it is not killed before the container");
    }
}
