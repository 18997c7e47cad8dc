//! What a ResourceQuota counts: which of its resources an object touches, how much the object uses, and whether the quota's
//! scopes hold of it.
//!
//! The API server asks before it stores an object, the controller when it counts anew; they must not differ.

mod devices;
mod pod;
mod scope;

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds;
use crate::quantity::Quantity;
use crate::resources::ResourceList;
use crate::volumes::class_of;
pub use pod::missing;
pub use scope::in_scope;

const CLASS_SUFFIX: &str = ".storageclass.storage.k8s.io/";

/// How a quota counts the objects of a kind beyond their number (`Evaluator`).
#[derive(Clone, Copy)]
pub struct Evaluator {
    /// Whether a quota's resource is about them.
    concerns: fn(&str, &str) -> bool,
    /// What one uses; given its plural, itself and the time.
    usage: fn(&str, &Value, Timestamp) -> ResourceList,
    /// Whether a scope holds of one.
    in_scope: scope::Holds,
}

/// Of kinds that are counted by their plain name, too.
pub(crate) const PLAIN: Evaluator = Evaluator {
    concerns: |name, plural| name == plural,
    usage: |plural, _, _| ResourceList::count(plural, 1),
    in_scope: |_, _, _, _| false,
};
/// Of pods.
pub(crate) const PODS: Evaluator = Evaluator {
    concerns: |name, _| pod::concerns(name),
    usage: |_, object, now| pod::usage(object, now),
    in_scope: scope::of_pod,
};
/// Of services.
pub(crate) const SERVICES: Evaluator = Evaluator {
    concerns: |name, _| matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
    usage: |_, object, _| of_service(object),
    ..PLAIN
};
/// Of claims of volumes.
pub(crate) const CLAIMS: Evaluator = Evaluator {
    concerns: |name, _| {
        let of_class = name.split_once(CLASS_SUFFIX).map_or(name, |(_, of)| of);
        matches!(of_class, "persistentvolumeclaims" | "requests.storage")
    },
    usage: |_, object, _| of_claim(object),
    in_scope: scope::of_claim,
};
/// Of claims of devices.
pub(crate) const DEVICE_CLAIMS: Evaluator =
    Evaluator { concerns: |name, _| devices::concerns(name), usage: |_, object, _| devices::usage(object), ..PLAIN };

/// The name by which a quota counts the objects of any resource (`ObjectCountQuotaResourceNameFor`).
pub fn count_name(group: &str, resource: &str) -> String {
    if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") }
}

/// Whether a quota's resource is about the objects of this resource (`MatchingResources`).
pub fn concerns(name: &str, group: &str, resource: &str) -> bool {
    if let Some(counted) = name.strip_prefix("count/") {
        return match counted.split_once('.') {
            Some((r, g)) => r == resource && g == group,
            None => counted == resource && group.is_empty(),
        };
    }
    kinds::of(group, resource).evaluator().is_some_and(|evaluator| (evaluator.concerns)(name, resource))
}

/// The group and resource that a quota's resource counts (`count/deployments.apps`, `pods`, `limits.cpu`).
pub fn counted(name: &str) -> Option<(&str, &str)> {
    if let Some(counted) = name.strip_prefix("count/") {
        let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
        return Some((group, resource));
    }
    let counted = kinds::all().filter_map(|(group, plural, kind)| Some((group, plural, kind.evaluator()?)));
    let mut of_name = counted.filter(|(_, plural, evaluator)| (evaluator.concerns)(name, plural));
    of_name.next().map(|(group, plural, _)| (group, plural))
}

/// What an object uses of everything that a quota may count (`Evaluator.Usage`).
pub fn usage(group: &str, resource: &str, object: &Value, now: Timestamp) -> ResourceList {
    let mut used = ResourceList::count(&count_name(group, resource), 1);
    if let Some(evaluator) = kinds::of(group, resource).evaluator() {
        used.add(&(evaluator.usage)(resource, object, now));
    }
    used
}

fn of_service(service: &Value) -> ResourceList {
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let (node_ports, balancers) = match spec["type"].as_str() {
        Some("NodePort") => (ports.len(), 0),
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => {
            (ports.iter().filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0).count(), 1)
        }
        Some("LoadBalancer") => (ports.len(), 1),
        _ => (0, 0),
    };
    let mut used = ResourceList::count("services", 1);
    used.add(&ResourceList::count("services.nodeports", i64::try_from(node_ports).unwrap_or(i64::MAX)));
    used.add(&ResourceList::count("services.loadbalancers", balancers));
    used
}

fn of_claim(claim: &Value) -> ResourceList {
    let class = claim.as_object().map(class_of).unwrap_or_default();
    let mut used = ResourceList::count("persistentvolumeclaims", 1);
    let amount = |value: &Value| Quantity::from_json(value).ok().filter(|_| !value.is_null());
    let wanted = amount(&claim["spec"]["resources"]["requests"]["storage"]);
    let given = amount(&claim["status"]["allocatedResources"]["storage"]);
    if let Some(storage) = wanted.map(|wanted| given.filter(|given| *given > wanted).unwrap_or(wanted)) {
        used.0.insert("requests.storage".into(), whole(storage));
    }
    if !class.is_empty() {
        let of_class = used.0.iter().map(|(name, q)| (format!("{class}{CLASS_SUFFIX}{name}"), q.clone()));
        let of_class: Vec<_> = of_class.collect();
        used.0.extend(of_class);
    }
    used
}

/// Storage is counted in whole bytes.
fn whole(storage: Quantity) -> Quantity {
    let rounded = Quantity::new(storage.value(), storage.format());
    if rounded == storage { storage } else { rounded }
}

#[cfg(test)]
mod tests;
