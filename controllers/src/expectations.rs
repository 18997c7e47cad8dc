//! What a controller did and has not seen yet.
//!
//! A cache lags behind the writes of its own controller. Until the creations and deletions it asked for have shown up
//! (or five minutes have passed), a controller makes no further ones for the same key.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use client::{Clock, ObjectKey};
use parking_lot::Mutex;

/// After this time an expectation no longer holds anybody up (`ExpectationsTimeout` in the reference).
pub(crate) const TIMEOUT: Duration = Duration::from_secs(300);

/// The creations and deletions each key waits for.
pub(crate) struct Expectations {
    clock: Clock,
    by_key: Mutex<HashMap<ObjectKey, Expected>>,
}

struct Expected {
    creations: usize,
    deletions: HashSet<String>,
    since: Duration,
}

impl Expectations {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, by_key: Mutex::new(HashMap::new()) }
    }

    /// Whether `key` waits for nothing.
    pub(crate) fn satisfied(&self, key: &ObjectKey) -> bool {
        self.by_key.lock().get(key).is_none_or(|e| {
            (e.creations == 0 && e.deletions.is_empty()) || self.clock.elapsed().saturating_sub(e.since) > TIMEOUT
        })
    }

    /// Waits for `count` creations and for the deletions of the objects of these uids, and for nothing else. To be kept
    /// while they are asked for.
    #[must_use]
    pub(crate) fn expect<'a>(
        &'a self,
        key: &'a ObjectKey,
        count: usize,
        uids: impl IntoIterator<Item = String>,
    ) -> Asking<'a> {
        let expected =
            Expected { creations: count, deletions: uids.into_iter().collect(), since: self.clock.elapsed() };
        self.by_key.lock().insert(key.clone(), expected);
        Asking { expectations: self, key }
    }

    /// One creation was seen, or did not happen.
    pub(crate) fn created(&self, key: &ObjectKey) {
        if let Some(expected) = self.by_key.lock().get_mut(key) {
            expected.creations = expected.creations.saturating_sub(1);
        }
    }

    /// A deletion was seen, or did not happen.
    pub(crate) fn deleted(&self, key: &ObjectKey, uid: &str) {
        if let Some(expected) = self.by_key.lock().get_mut(key) {
            expected.deletions.remove(uid);
        }
    }

    /// Forgets a key.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.by_key.lock().remove(key);
    }
}

/// While creations and deletions are asked for: if that panics nobody knows what was, and nothing is waited for.
pub(crate) struct Asking<'a> {
    expectations: &'a Expectations,
    key: &'a ObjectKey,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.expectations.forget(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_until_it_has_seen_everything() {
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let expectations = Expectations::new(clock.clone());
        let key = ObjectKey::new("ns", "rs");
        assert!(expectations.satisfied(&key));
        drop(expectations.expect(&key, 1, ["u".to_owned()]));
        expectations.created(&key);
        assert!(!expectations.satisfied(&key));
        expectations.deleted(&key, "other");
        assert!(!expectations.satisfied(&key));
        expectations.deleted(&key, "u");
        assert!(expectations.satisfied(&key));
        drop(expectations.expect(&key, 1, []));
        clock.advance(TIMEOUT + Duration::from_secs(1));
        assert!(expectations.satisfied(&key), "it waited long enough");
    }

    #[test]
    fn a_key_whose_asking_panicked_waits_for_nothing() {
        let expectations = Expectations::new(Clock::manual(jiff::Timestamp::UNIX_EPOCH));
        let key = ObjectKey::new("ns", "rs");
        let asked = client::caught::caught_call(|| {
            let _asking = expectations.expect(&key, 3, []);
            panic!("on the way");
        });
        assert!(asked.is_err() && expectations.satisfied(&key));
        drop(expectations.expect(&key, 3, []));
        assert!(!expectations.satisfied(&key));
    }
}
