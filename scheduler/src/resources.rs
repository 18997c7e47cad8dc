//! Amounts of resources: what a pod asks for, and what a node has.

use std::collections::BTreeMap;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// What a container without a cpu request counts for in scores, in millicores (`DefaultMilliCPURequest`).
const CPU_MILLI_UNSET: i64 = 100;
/// What a container without a memory request counts for in scores, in bytes (`DefaultMemoryRequest`).
const MEMORY_BYTES_UNSET: i64 = 200 * 1024 * 1024;

/// Amounts by resource: cpu in millicores, the rest in units or bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
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

impl Resources {
    /// Amounts from a resource list.
    pub fn of_list(list: Option<&BTreeMap<String, Text>>) -> Self {
        let mut resources = Self::default();
        for (name, text) in list.into_iter().flatten() {
            let Ok(quantity) = Quantity::parse(&text.0) else { continue };
            match name.as_str() {
                "cpu" => resources.cpu_milli = quantity.milli_value(),
                "memory" => resources.memory = quantity.value(),
                "ephemeral-storage" => resources.ephemeral = quantity.value(),
                "pods" => resources.pods = quantity.value(),
                _ => {
                    resources.extended.insert(name.clone(), quantity.value());
                }
            }
        }
        resources
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.each(other, |a, b| *a += b);
    }

    /// Takes `other` away.
    pub fn subtract(&mut self, other: &Self) {
        self.each(other, |a, b| *a -= b);
    }

    /// Raises each amount to that of `other`.
    pub fn raise(&mut self, other: &Self) {
        self.each(other, |a, b| *a = (*a).max(b));
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
pub struct Requests {
    /// The effective requests, as `PodRequests` in component-helpers computes them.
    pub exact: Resources,
    /// cpu and memory with stand-ins for containers that ask for nothing.
    pub nonzero_cpu_milli: i64,
    /// Bytes.
    pub nonzero_memory: i64,
}

impl Requests {
    /// The requests of a pod: the sum of its containers and sidecars, or the peak of its init containers if that is more,
    /// plus overhead. Pod-level requests replace the sum where they are given.
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let exact = effective(spec, &|container| of_container(container));
        let mut nonzero = effective(spec, &|container| {
            let mut requests = of_container(container);
            let names = container.resources.as_ref().and_then(|r| r.requests.as_ref());
            if !names.is_some_and(|r| r.contains_key("cpu")) {
                requests.cpu_milli = CPU_MILLI_UNSET;
            }
            if !names.is_some_and(|r| r.contains_key("memory")) {
                requests.memory = MEMORY_BYTES_UNSET;
            }
            requests
        });
        nonzero.raise(&exact);
        Self { exact, nonzero_cpu_milli: nonzero.cpu_milli, nonzero_memory: nonzero.memory }
    }
}

type PodSpec = k8s_openapi::api::core::v1::PodSpec;

fn effective(spec: &PodSpec, of: &dyn Fn(&Container) -> Resources) -> Resources {
    let mut sum = Resources::default();
    for container in &spec.containers {
        sum.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut requests = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sum.add(&requests);
            sidecars.add(&requests);
            peak.raise(&sidecars);
        } else {
            requests.add(&sidecars);
            peak.raise(&requests);
        }
    }
    sum.raise(&peak);
    if let Some(requests) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        let whole = Resources::of_list(Some(requests));
        if requests.contains_key("cpu") {
            sum.cpu_milli = whole.cpu_milli;
        }
        if requests.contains_key("memory") {
            sum.memory = whole.memory;
        }
    }
    sum.add(&Resources::of_list(spec.overhead.as_ref()));
    sum.pods = 1;
    sum
}

fn of_container(container: &Container) -> Resources {
    Resources::of_list(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
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
    }
}
