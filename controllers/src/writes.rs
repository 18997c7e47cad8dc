//! Writes that the cache does not show yet.
//!
//! A controller that decides by what is in the cache must not decide twice on the same state. It notes the revision of
//! each write, and waits with the key until the cache has caught up.

use std::collections::HashMap;
use std::time::Duration;

use client::{Clock, ObjectKey};
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

/// After this time a write no longer holds anybody up; the object was deleted before the cache saw it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The revision of an object as a number.
pub(crate) fn revision<K: Resource>(object: &K) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// The revision that was written and when, by the name of the object.
type Pending = HashMap<String, (u64, Duration)>;

/// The writes each key waits for.
pub(crate) struct Writes {
    clock: Clock,
    by_key: Mutex<HashMap<ObjectKey, Pending>>,
}

impl Writes {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, by_key: Mutex::new(HashMap::new()) }
    }

    /// Notes that `object` was written for `key`.
    pub(crate) fn note<K: Resource>(&self, key: &ObjectKey, object: &K) {
        let entry = (revision(object), self.clock.elapsed());
        self.by_key.lock().entry(key.clone()).or_default().insert(object.name_any(), entry);
    }

    /// Forgets a key that nobody works on any more.
    pub(crate) fn forget_all(&self, key: &ObjectKey) {
        self.by_key.lock().remove(key);
    }

    /// Notes that the object of this name is gone.
    pub(crate) fn forget(&self, key: &ObjectKey, name: &str) {
        if let Some(writes) = self.by_key.lock().get_mut(key) {
            writes.remove(name);
        }
    }

    /// Whether the cache shows every write of `key`; `current` tells the revision that the cache has of a name.
    pub(crate) fn settled(&self, key: &ObjectKey, current: impl Fn(&str) -> Option<u64>) -> bool {
        let now = self.clock.elapsed();
        let mut by_key = self.by_key.lock();
        let Some(writes) = by_key.get_mut(key) else { return true };
        writes.retain(|name, (revision, at)| {
            let seen = current(name).is_some_and(|current| current >= *revision);
            !seen && now.saturating_sub(*at) < TIMEOUT
        });
        let settled = writes.is_empty();
        if settled {
            by_key.remove(key);
        }
        settled
    }
}
