//! What a ResourceQuota counts: which of its resources an object touches, how much the object uses, and whether the quota's
//! scopes hold of it.
//!
//! The API server asks before it stores an object, the controller when it counts anew; they must not differ.

mod devices;
mod pod;
mod scope;

use jiff::Timestamp;
use serde_json::Value;

use crate::quantity::Quantity;
use crate::resources::ResourceList;
pub use pod::missing;
pub use scope::in_scope;

const CLASS_SUFFIX: &str = ".storageclass.storage.k8s.io/";
const DEVICE_CLAIMS_GROUP: &str = "resource.k8s.io";
const DEVICE_CLAIMS: &str = "resourceclaims";
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// Core resources that are counted by their plain name, too.
const COUNTED_PLAINLY: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

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
    match (group, resource) {
        ("", "pods") => pod::concerns(name),
        ("", "services") => matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
        ("", "persistentvolumeclaims") => {
            let of_class = name.split_once(CLASS_SUFFIX).map_or(name, |(_, of)| of);
            matches!(of_class, "persistentvolumeclaims" | "requests.storage")
        }
        (DEVICE_CLAIMS_GROUP, DEVICE_CLAIMS) => devices::concerns(name),
        ("", other) => COUNTED_PLAINLY.contains(&other) && name == other,
        _ => false,
    }
}

/// The group and resource that a quota's resource counts (`count/deployments.apps`, `pods`, `limits.cpu`).
pub fn counted(name: &str) -> Option<(&str, &str)> {
    if let Some(counted) = name.strip_prefix("count/") {
        let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
        return Some((group, resource));
    }
    if devices::concerns(name) {
        return Some((DEVICE_CLAIMS_GROUP, DEVICE_CLAIMS));
    }
    let known = ["services", "persistentvolumeclaims", "pods"].into_iter().chain(COUNTED_PLAINLY);
    known.map(|resource| ("", resource)).find(|(group, resource)| concerns(name, group, resource))
}

/// What an object uses of everything that a quota may count (`Evaluator.Usage`).
pub fn usage(group: &str, resource: &str, object: &Value, now: Timestamp) -> ResourceList {
    let mut used = ResourceList::count(&count_name(group, resource), 1);
    match (group, resource) {
        ("", "pods") => used.add(&pod::usage(object, now)),
        ("", "services") => used.add(&of_service(object)),
        ("", "persistentvolumeclaims") => used.add(&of_claim(object)),
        (DEVICE_CLAIMS_GROUP, DEVICE_CLAIMS) => used.add(&devices::usage(object)),
        ("", plain) if COUNTED_PLAINLY.contains(&plain) => used.add(&ResourceList::count(plain, 1)),
        _ => {}
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
    let annotated = claim["metadata"]["annotations"][CLASS_ANNOTATION].as_str();
    let class = annotated.or(claim["spec"]["storageClassName"].as_str()).unwrap_or_default();
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
