//! How many devices of each class a claim may be given (`claimEvaluator.Usage` in pkg/quota).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::resources::ResourceList;

/// What stands behind the name of a class.
const SUFFIX: &str = ".deviceclass.resource.k8s.io/devices";
/// The most devices that one claim can get, which is what one that asks for all of them counts.
const ALLOCATION_RESULTS_MAX: i64 = 32;

/// Whether a quota's resource is the devices of a class.
pub(super) fn concerns(name: &str) -> bool {
    name.strip_suffix(SUFFIX).is_some_and(|class| !class.is_empty())
}

/// The devices of each class; of alternatives the most of each.
pub(super) fn usage(claim: &Value) -> ResourceList {
    let mut used = ResourceList::default();
    let requests = claim["spec"]["devices"]["requests"].as_array();
    for request in requests.into_iter().flatten() {
        match request["firstAvailable"].as_array().filter(|alternatives| !alternatives.is_empty()) {
            Some(alternatives) => {
                let mut most = BTreeMap::<&str, i64>::new();
                for (class, devices) in alternatives.iter().filter_map(devices) {
                    let most = most.entry(class).or_default();
                    *most = devices.max(*most);
                }
                most.into_iter().for_each(|(class, devices)| used.add(&of_class(class, devices)));
            }
            // Older versions have the fields in the request itself.
            None => {
                let exactly = request.get("exactly").unwrap_or(request);
                used.add(&devices(exactly).map(|(class, devices)| of_class(class, devices)).unwrap_or_default());
            }
        }
    }
    used
}

fn of_class(class: &str, devices: i64) -> ResourceList {
    ResourceList::count(&format!("{class}{SUFFIX}"), devices)
}

/// The class and how many of it. An unknown mode counts nothing.
fn devices(request: &Value) -> Option<(&str, i64)> {
    let class = request["deviceClassName"].as_str()?;
    let devices = match request["allocationMode"].as_str() {
        Some("ExactCount") | None => request["count"].as_i64().unwrap_or(1),
        Some("All") => ALLOCATION_RESULTS_MAX,
        Some(_) => 0,
    };
    Some((class, devices))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn devices_are_counted_by_class() {
        let exactly = |class: &str, mode: &str, count: i64| json!({"deviceClassName": class, "allocationMode": mode, "count": count});
        let claim = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": exactly("gold", "ExactCount", 2)},
            {"name": "b", "exactly": exactly("tin", "All", 0)},
            {"name": "c", "firstAvailable": [exactly("gold", "ExactCount", 3), exactly("gold", "ExactCount", 5), exactly("tin", "Later", 9)]},
            {"name": "d", "deviceClassName": "gold", "allocationMode": "ExactCount", "count": 1},
        ]}}});
        let expected =
            json!({"gold.deviceclass.resource.k8s.io/devices": "8", "tin.deviceclass.resource.k8s.io/devices": "32"});
        assert_eq!(usage(&claim).to_json(), expected);
        assert!(concerns("gold.deviceclass.resource.k8s.io/devices"));
        assert!(!concerns(".deviceclass.resource.k8s.io/devices"));
        let name = "gold.deviceclass.resource.k8s.io/devices";
        assert_eq!(crate::quota::counted(name), Some(("resource.k8s.io", "resourceclaims")));
    }
}
