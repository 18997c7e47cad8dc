//! Devices: what drivers offer, what claims have taken of it, and how what claims ask for is found
//! (`k8s.io/dynamic-resource-allocation/structured`).

pub(crate) mod allocator;
pub(crate) mod capacity;
pub(crate) mod constraints;
pub(crate) mod counters;
pub(crate) mod inventory;
pub(crate) mod ledger;
pub(crate) mod pools;
pub(crate) mod requests;
pub(crate) mod results;
pub(crate) mod selectors;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use api::quantity::Quantity;

/// Amounts by name.
pub(crate) type Amounts = BTreeMap<String, Quantity>;

/// One device of a pool of a driver.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeviceId {
    /// The driver.
    pub driver: Arc<str>,
    /// The pool.
    pub pool: Arc<str>,
    /// The device in it.
    pub device: Arc<str>,
}

impl DeviceId {
    /// The id of a device.
    pub(crate) fn new(driver: &str, pool: &str, device: &str) -> Self {
        Self { driver: driver.into(), pool: pool.into(), device: device.into() }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.driver, self.pool, self.device)
    }
}

/// Adds amounts to others. What has no name yet begins with nothing; a sum that cannot be told stays the larger part.
pub(crate) fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = match to.get(name) {
            Some(before) => before.checked_add(amount).unwrap_or_else(|| before.clone().max(amount.clone())),
            None => amount.clone(),
        };
        to.insert(name.clone(), sum);
    }
}

/// Takes amounts away from others.
pub(crate) fn subtract(from: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        if let Some(before) = from.get_mut(name) {
            *before = before.checked_sub(amount).unwrap_or_else(|| before.clone());
        }
    }
}
