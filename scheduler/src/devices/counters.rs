//! Counters that devices of a pool share: a device can be had while there is enough of each left (partitionable devices).

use std::collections::BTreeMap;

use super::inventory::Known;
use super::ledger::Ledger;
use super::pools::Pool;
use super::{Amounts, add, subtract};

/// What is left of the counters of one pool, and what was taken of them in the search under way.
#[derive(Debug)]
pub(crate) struct Counters {
    left: BTreeMap<String, Amounts>,
    taken: BTreeMap<String, Amounts>,
}

impl Counters {
    /// The counters of a pool, less what devices that somebody has take of them, be they for this node or another.
    pub(crate) fn new(pool: &Pool, ledger: &Ledger) -> Self {
        let mut left = pool.counters.clone();
        let devices = pool.slices.iter().chain(&pool.others).flat_map(|slice| &slice.devices);
        for (set, amounts) in devices.filter(|known| ledger.is_used(&known.id)).flat_map(|known| &known.consumes) {
            // What is left may be less than nothing: the driver may have changed its mind.
            left.get_mut(set).into_iter().for_each(|left| subtract(left, amounts));
        }
        Self { left, taken: BTreeMap::new() }
    }

    /// Takes what a device consumes, unless there is too little of something.
    pub(crate) fn take(&mut self, device: &Known) -> bool {
        for (set, amounts) in &device.consumes {
            add(self.taken.entry(set.clone()).or_default(), amounts);
        }
        let fits = self.left.iter().all(|(set, left)| {
            let taken = self.taken.get(set);
            left.iter().all(|(name, left)| match taken.and_then(|taken| taken.get(name)) {
                Some(taken) => left >= taken,
                None => left.sign() >= 0,
            })
        });
        if !fits {
            self.give_back(device);
        }
        fits
    }

    /// Gives back what a device took.
    pub(crate) fn give_back(&mut self, device: &Known) {
        for (set, amounts) in &device.consumes {
            self.taken.get_mut(set).into_iter().for_each(|taken| subtract(taken, amounts));
        }
    }
}
