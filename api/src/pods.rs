//! What can be told from a pod alone.

use serde_json::Value;

use crate::quantity::Quantity;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// The quality of service that a pod of this spec gets: `Guaranteed`, `Burstable` or `BestEffort` (`ComputePodQOS`).
pub fn quality(spec: &Value) -> &'static str {
    let none = Value::Null;
    if let Some(resources) = spec.get("resources").filter(|resources| resources.is_object()) {
        return of(std::iter::once(resources));
    }
    let containers = ["containers", "initContainers"].iter().filter_map(|list| spec.get(*list)?.as_array()).flatten();
    of(containers.map(|container| container.get("resources").unwrap_or(&none)))
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
