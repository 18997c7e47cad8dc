//! Amounts of resources: what a pod asks for, and what a node has.

use std::collections::BTreeMap;

use api::pods::{self, Amounts};
use api::quantity::Quantity;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// What a container without a cpu request counts for in scores, in millicores (`DefaultMilliCPURequest`).
const CPU_MILLI_UNSET: i64 = 100;
/// What a container without a memory request counts for in scores, in bytes (`DefaultMemoryRequest`).
const MEMORY_BYTES_UNSET: i64 = 200 * 1024 * 1024;

/// Amounts by resource: cpu in millicores, the rest in units or bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Millicores.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of `ephemeral-storage`.
    pub ephemeral: i64,
    /// Pods (of a node: how many it takes).
    pub pods: i64,
    /// Everything else, by name.
    pub extended: BTreeMap<String, i64>,
}

impl Amounts for Resources {
    fn set(&mut self, name: &str, amount: Quantity) {
        match name {
            "cpu" => self.cpu_milli = amount.milli_value(),
            "memory" => self.memory = amount.value(),
            "ephemeral-storage" => self.ephemeral = amount.value(),
            "pods" => self.pods = amount.value(),
            _ => _ = self.extended.insert(name.to_owned(), amount.value()),
        }
    }

    fn add(&mut self, other: &Self) {
        self.each(other, |a, b| *a += b);
    }

    fn raise(&mut self, other: &Self) {
        self.each(other, |a, b| *a = (*a).max(b));
    }
}

impl Resources {
    /// Amounts from a resource list.
    pub(crate) fn of_list(list: Option<&BTreeMap<String, Text>>) -> Self {
        pods::read(list)
    }

    /// Takes `other` away.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.each(other, |a, b| *a -= b);
    }

    /// Whether it is less of something than `other`.
    pub(crate) fn is_less_of_any(&self, other: &Self) -> bool {
        let less = |name: &String, amount: &i64| self.extended.get(name).copied().unwrap_or_default() < *amount;
        self.cpu_milli < other.cpu_milli
            || self.memory < other.memory
            || self.ephemeral < other.ephemeral
            || other.extended.iter().any(|(name, amount)| less(name, amount))
    }

    fn each(&mut self, other: &Self, change: impl Fn(&mut i64, i64)) {
        change(&mut self.cpu_milli, other.cpu_milli);
        change(&mut self.memory, other.memory);
        change(&mut self.ephemeral, other.ephemeral);
        change(&mut self.pods, other.pods);
        for (name, amount) in &other.extended {
            change(self.extended.entry(name.clone()).or_default(), *amount);
        }
    }
}

/// What a pod asks for, and what it counts for in scores.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    /// The effective requests, as `PodRequests` in component-helpers computes them.
    pub exact: Resources,
    /// cpu and memory with stand-ins for containers that ask for nothing.
    pub nonzero_cpu_milli: i64,
    /// Bytes.
    pub nonzero_memory: i64,
}

impl Requests {
    /// The requests of a pod.
    pub(crate) fn of(pod: &Pod) -> Self {
        let Some(spec) = pods::held_spec(pod) else { return Self::default() };
        let spec = &*spec;
        let mut exact: Resources = pods::requests(spec);
        exact.pods = 1;
        // What is given for the pod as a whole needs no stand-ins for its containers (`getNonMissingContainerRequests`).
        let whole = pods::has_whole(spec);
        let (some_cpu, some_memory) = (whole && exact.cpu_milli != 0, whole && exact.memory != 0);
        let nonzero: Resources = pods::requests_with(spec, |container| {
            let list = container.resources.requests;
            let lacks = |name: &str| !list.is_some_and(|list| list.contains_key(name));
            let mut requests: Resources = pods::read(list);
            if !some_cpu && lacks("cpu") {
                requests.cpu_milli = CPU_MILLI_UNSET;
            }
            if !some_memory && lacks("memory") {
                requests.memory = MEMORY_BYTES_UNSET;
            }
            requests
        });
        Self { exact, nonzero_cpu_milli: nonzero.cpu_milli, nonzero_memory: nonzero.memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: serde_json::Value, cpu_milli: i64, memory: i64, nonzero_cpu_milli: i64) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let requests = Requests::of(&pod);
        let found = (requests.exact.cpu_milli, requests.exact.memory, requests.nonzero_cpu_milli);
        assert_eq!(found, (cpu_milli, memory, nonzero_cpu_milli), "{pod:?}");
    }

    fn container(cpu: &str) -> serde_json::Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Ki"}}})
    }

    #[test]
    fn requests_add_up() {
        check(json!({"containers": [container("100m"), container("1")]}), 1100, 2048, 1100);
        check(json!({"containers": [{"name": "c"}]}), 0, 0, 100);
        check(json!({"containers": [container("1")], "initContainers": [container("3")]}), 3000, 1024, 3000);
        let mut sidecar = container("1");
        sidecar["restartPolicy"] = json!("Always");
        check(json!({"containers": [container("1")], "initContainers": [sidecar, container("2")]}), 3000, 2048, 3000);
        check(json!({"containers": [container("1")], "overhead": {"cpu": "1"}}), 2000, 1024, 2000);
        let whole = json!({"requests": {"cpu": "500m"}});
        check(json!({"containers": [container("0"), {"name": "d"}], "resources": whole}), 500, 1024, 500);
    }
}
