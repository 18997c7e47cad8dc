//! Pod Security: what pods of a namespace may do beyond what any container may, in three levels and every version of them
//! (`k8s.io/pod-security-admission`). The rules are pure; who asks and what becomes of the answer is admission's.

mod baseline;
mod checks;
mod level;
mod namespace;
mod restricted;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use checks::{Violation, details, evaluate, reasons};
pub use level::{Level, LevelVersion, Version};
pub use namespace::{LABEL_PREFIX, Mode, Policy};

/// Containers of every sort, in the order in which they are told.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// What the rules look at: a pod, or the pod that a template makes.
#[derive(Debug, Clone, Copy)]
pub struct Pod<'a> {
    annotations: Option<&'a Map<String, Value>>,
    spec: &'a Value,
}

impl<'a> Pod<'a> {
    /// A pod or a template of pods, of which `metadata` and `spec` count.
    pub fn new(metadata: Option<&'a Value>, spec: Option<&'a Value>) -> Self {
        let annotations = metadata.and_then(|metadata| metadata.get("annotations")).and_then(Value::as_object);
        Self { annotations, spec: spec.unwrap_or(&Value::Null) }
    }

    /// The class of runtime that it asks for, or empty.
    pub fn runtime_class(&self) -> &'a str {
        self.spec["runtimeClassName"].as_str().unwrap_or("")
    }

    /// Every container, with its name.
    fn containers(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        let spec = self.spec;
        let all = CONTAINERS.into_iter().flat_map(|list| items(&spec[list]));
        all.map(|container| (container["name"].as_str().unwrap_or(""), container))
    }

    /// The names of the containers for which something holds.
    fn containers_with(&self, holds: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|(_, container)| holds(container)).map(|(name, _)| name).collect()
    }

    /// What the pod says of security for all of its containers.
    fn security(&self) -> &'a Value {
        &self.spec["securityContext"]
    }

    /// Whether it is for Windows, where much of this cannot be said.
    fn is_windows(&self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    /// Whether its users are others than the host's (`relaxPolicyForUserNamespacePod`).
    fn has_own_users(&self) -> bool {
        self.spec["hostUsers"] == false
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
