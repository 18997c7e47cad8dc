//! What a pod uses.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::pods::{self, Half};
use crate::resources::ResourceList;

const NAMES: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// Where a quota counts one of these, each container must say how much it wants.
const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const COMPUTED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) fn concerns(name: &str) -> bool {
    NAMES.contains(&name)
        || name.starts_with("hugepages-")
        || name.strip_prefix("requests.").is_some_and(|of| of.starts_with("hugepages-") || is_extended(of))
}

/// Whether it is a resource of somebody else's: it has a domain, and not the cluster's own.
fn is_extended(name: &str) -> bool {
    let implicit = name.starts_with("deviceclass.resource.kubernetes.io/");
    implicit || name.contains('/') && !name.contains("kubernetes.io/")
}

/// What a pod uses that has not ended (`PodUsageFunc`); it counts as an object in any case.
pub(super) fn usage(pod: &Value, now: Timestamp) -> ResourceList {
    if has_ended(pod, now) {
        return ResourceList::default();
    }
    let held = pods::held_json(pod);
    let spec = held.as_ref().unwrap_or(&pod["spec"]);
    computed(&pods::requests(spec), &pods::limits(spec))
}

fn has_ended(pod: &Value, now: Timestamp) -> bool {
    if pod.as_object().is_some_and(pods::is_terminal) {
        return true;
    }
    let metadata = &pod["metadata"];
    let since = metadata["deletionTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
    let grace = metadata["deletionGracePeriodSeconds"].as_i64();
    // A pod that is stuck on a lost node must not keep others from starting.
    since.zip(grace).is_some_and(|(since, grace)| now > since + SignedDuration::from_secs(grace))
}

/// Requests and limits under the names that quotas use.
fn computed(requests: &ResourceList, limits: &ResourceList) -> ResourceList {
    let mut used = ResourceList::count("pods", 1);
    for (name, amount) in &requests.0 {
        if COMPUTED.contains(&name.as_str()) || name.starts_with("hugepages-") {
            used.0.insert(name.clone(), amount.clone());
            used.0.insert(format!("requests.{name}"), amount.clone());
        } else if is_extended(name) {
            used.0.insert(format!("requests.{name}"), amount.clone());
        }
    }
    for (name, amount) in limits.0.iter().filter(|(name, _)| COMPUTED.contains(&name.as_str())) {
        used.0.insert(format!("limits.{name}"), amount.clone());
    }
    used
}

/// What the containers of a pod must say and do not, given the resources that a quota counts (`Constraints`).
pub fn missing<'a>(pod: &Value, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let spec = &pod["spec"];
    let required: BTreeSet<&str> = names.filter(|name| REQUIRED.contains(name)).collect();
    if pods::has_whole(spec) || required.is_empty() {
        return None;
    }
    let mut without: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let lists = [&spec["containers"], &spec["initContainers"]];
    for container in lists.into_iter().filter_map(Value::as_array).flatten() {
        let said = computed(&Half::Requests.list(container), &Half::Limits.list(container));
        for name in required.iter().filter(|name| !said.0.contains_key(**name)) {
            without.entry(name).or_default().insert(container["name"].as_str().unwrap_or_default());
        }
    }
    let parts: Vec<String> = without
        .iter()
        .map(|(name, of)| format!("{name} for: {}", of.iter().copied().collect::<Vec<_>>().join(",")))
        .collect();
    (!parts.is_empty()).then(|| format!("must specify {}", parts.join("; ")))
}
