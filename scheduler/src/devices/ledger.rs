//! Which devices, and how much of those that several may have, claims have taken (`allocatedDevices`, `AllocatedState`).

use std::collections::HashMap;

use api::quantity::Quantity;
use k8s_openapi::api::resource::v1::AllocationResult;

use super::{Amounts, DeviceId, add, subtract};

/// What is taken, and by which claim.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    dedicated: HashMap<DeviceId, usize>,
    shared: HashMap<DeviceId, Shared>,
    by_claim: HashMap<String, Vec<Taken>>,
}

/// A device that several claims have a part of.
#[derive(Debug, Default, Clone)]
struct Shared {
    parts: usize,
    consumed: Amounts,
}

/// What one claim has of one device.
#[derive(Debug, Clone)]
struct Taken {
    device: DeviceId,
    /// How much, if it has a part only.
    part: Option<Amounts>,
}

impl Ledger {
    /// Writes down what the claim of a uid has; nothing if it has no devices.
    pub(crate) fn set(&mut self, uid: &str, allocation: Option<&AllocationResult>) {
        for taken in self.by_claim.remove(uid).unwrap_or_default() {
            self.give_back(&taken);
        }
        let taken = allocation.map(taken_by).unwrap_or_default();
        if taken.is_empty() {
            return;
        }
        for taken in &taken {
            match &taken.part {
                None => *self.dedicated.entry(taken.device.clone()).or_default() += 1,
                Some(part) => {
                    let shared = self.shared.entry(taken.device.clone()).or_default();
                    shared.parts += 1;
                    add(&mut shared.consumed, part);
                }
            }
        }
        self.by_claim.insert(uid.to_owned(), taken);
    }

    fn give_back(&mut self, taken: &Taken) {
        match &taken.part {
            None => {
                if let Some(count) = self.dedicated.get_mut(&taken.device) {
                    *count -= 1;
                    if *count == 0 {
                        self.dedicated.remove(&taken.device);
                    }
                }
            }
            Some(part) => {
                if let Some(shared) = self.shared.get_mut(&taken.device) {
                    shared.parts -= 1;
                    subtract(&mut shared.consumed, part);
                    if shared.parts == 0 {
                        self.shared.remove(&taken.device);
                    }
                }
            }
        }
    }

    /// Whether somebody has the whole device.
    pub(crate) fn is_dedicated(&self, device: &DeviceId) -> bool {
        self.dedicated.contains_key(device)
    }

    /// Whether anybody has any of the device.
    pub(crate) fn is_used(&self, device: &DeviceId) -> bool {
        self.is_dedicated(device) || self.shared.contains_key(device)
    }

    /// How much of a device others have, if any have a part of it.
    pub(crate) fn consumed(&self, device: &DeviceId) -> Option<&Amounts> {
        self.shared.get(device).map(|shared| &shared.consumed)
    }
}

/// What an allocation takes. Who looks on by admin access takes nothing.
fn taken_by(allocation: &AllocationResult) -> Vec<Taken> {
    let results = allocation.devices.iter().flat_map(|devices| devices.results.iter().flatten());
    let results = results.filter(|result| result.admin_access != Some(true));
    let taken = results.map(|result| {
        let part = result.share_id.as_ref().map(|_| {
            let consumed = result.consumed_capacity.iter().flatten();
            consumed.filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(&amount.0).ok()?))).collect()
        });
        Taken { device: DeviceId::new(&result.driver, &result.pool, &result.device), part }
    });
    taken.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_claim_takes_is_counted_once_and_given_back() {
        let allocation = |value: serde_json::Value| -> AllocationResult {
            serde_json::from_value(json!({"devices": {"results": value}})).expect("an allocation")
        };
        let whole = json!({"request": "r", "driver": "d", "pool": "p", "device": "one"});
        let part = |id: &str, amount: &str| {
            json!({"request": "r", "driver": "d", "pool": "p", "device": "two", "shareID": id,
                "consumedCapacity": {"memory": amount}})
        };
        let (one, two) = (DeviceId::new("d", "p", "one"), DeviceId::new("d", "p", "two"));
        let mut ledger = Ledger::default();
        ledger.set("a", Some(&allocation(json!([whole, part("x", "1Gi")]))));
        ledger.set("a", Some(&allocation(json!([whole, part("x", "1Gi")]))));
        ledger.set("b", Some(&allocation(json!([part("y", "2Gi")]))));
        assert!(ledger.is_dedicated(&one) && ledger.is_used(&two) && !ledger.is_dedicated(&two));
        let consumed = |ledger: &Ledger| ledger.consumed(&two).map(|c| c["memory"].to_string());
        assert_eq!(consumed(&ledger).as_deref(), Some("3Gi"));
        ledger.set("a", None);
        assert_eq!((ledger.is_used(&one), consumed(&ledger).as_deref()), (false, Some("2Gi")));
        ledger.set("b", None);
        assert!(!ledger.is_used(&two) && ledger.by_claim.is_empty());
        let mut admin = whole.clone();
        admin["adminAccess"] = json!(true);
        ledger.set("c", Some(&allocation(json!([admin]))));
        assert!(!ledger.is_used(&one));
    }
}
