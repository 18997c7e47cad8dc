//! Pods of which it is known that they are gone, so that nobody has to ask (`uidCache`).

use std::collections::{HashSet, VecDeque};

/// How many are remembered (`maxUIDCacheEntries`).
const DEPARTED_MAX: usize = 500;

/// The uids of those that went last.
#[derive(Debug, Default)]
pub(super) struct Departed {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Departed {
    /// Remembers a uid, in the place of the oldest if there are many.
    pub(super) fn add(&mut self, uid: String) {
        if !self.known.insert(uid.clone()) {
            return;
        }
        self.order.push_back(uid);
        while self.order.len() > DEPARTED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Whether the object of this uid is known to be gone.
    pub(super) fn has(&self, uid: &str) -> bool {
        self.known.contains(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut departed = Departed::default();
        for number in 0..=DEPARTED_MAX {
            departed.add(number.to_string());
            departed.add(number.to_string());
        }
        assert!(!departed.has("0") && departed.has("1") && departed.has(&DEPARTED_MAX.to_string()));
        assert_eq!((departed.known.len(), departed.order.len()), (DEPARTED_MAX, DEPARTED_MAX));
    }
}
