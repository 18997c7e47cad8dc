//! The quality of service that a pod gets (`ComputePodQOS`).

use api::Object;
use api::quantity::Quantity;
use serde_json::Value;

use super::array;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn class(pod: &Object) -> &'static str {
    if let Some(resources) = pod.at(&["spec", "resources"]).filter(|resources| {
        ["requests", "limits"].iter().any(|of| COUNTED.iter().any(|name| amount(resources, of, name).is_some()))
    }) {
        return of(std::iter::once(resources));
    }
    let containers = array(pod, &["spec", "containers"]).iter().chain(array(pod, &["spec", "initContainers"]));
    let none = Value::Null;
    let resources: Vec<&Value> = containers.map(|container| container.get("resources").unwrap_or(&none)).collect();
    of(resources.into_iter())
}

fn of<'a>(all: impl Iterator<Item = &'a Value>) -> &'static str {
    let (mut guaranteed, mut any) = (true, false);
    for resources in all {
        for name in COUNTED {
            let (request, limit) = (amount(resources, "requests", name), amount(resources, "limits", name));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request == limit || request.is_none());
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// A quantity above zero.
fn amount(resources: &Value, of: &str, name: &str) -> Option<Quantity> {
    let quantity = Quantity::from_json(resources.get(of)?.get(name)?).ok()?;
    (quantity.sign() > 0).then_some(quantity)
}
