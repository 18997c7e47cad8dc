//! Answers from elsewhere that hold for a while.
//!
//! They are kept in two halves: when the newer is full it becomes the older, and what was in that goes. So there is a limit on how
//! many there are, and what is asked for often stays.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::clock::Clock;

/// How many answers a half has at most.
const HALF_MAX: usize = 4096;

/// What an answer is found by: a digest with a secret in it, so that nobody can choose which fall together, and none of what
/// was asked is kept.
pub type Key = [u8; 32];

/// Answers by what was asked.
pub struct Cache<V> {
    secret: Key,
    halves: Mutex<Halves<V>>,
}

struct Halves<V> {
    newer: HashMap<Key, (Instant, V)>,
    older: HashMap<Key, (Instant, V)>,
}

impl<V: Clone> Cache<V> {
    /// An empty one.
    pub fn new(clock: &dyn Clock) -> Self {
        let mut secret = Key::default();
        clock.random(&mut secret);
        let halves = Mutex::new(Halves { newer: HashMap::new(), older: HashMap::new() });
        Self { secret, halves }
    }

    /// The key of what is asked, which has these parts.
    pub fn key<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> Key {
        let mut digest = Sha256::new();
        digest.update(self.secret);
        for part in parts {
            // Parts that end elsewhere are other parts.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// The answer, if it still holds.
    pub fn get(&self, key: &Key, now: Instant) -> Option<V> {
        let mut halves = self.halves.lock();
        if let Some((until, value)) = halves.newer.get(key) {
            return (*until > now).then(|| value.clone());
        }
        let (until, value) = halves.older.remove(key)?;
        if until <= now {
            return None;
        }
        halves.put(*key, (until, value.clone()));
        Some(value)
    }

    /// Keeps an answer for a while; not at all, if that is no time.
    pub fn put(&self, key: Key, value: V, ttl: Duration, now: Instant) {
        if !ttl.is_zero() {
            self.halves.lock().put(key, (now + ttl, value));
        }
    }
}

impl<V> Halves<V> {
    fn put(&mut self, key: Key, entry: (Instant, V)) {
        if self.newer.len() >= HALF_MAX && !self.newer.contains_key(&key) {
            self.older = std::mem::take(&mut self.newer);
        }
        self.older.remove(&key);
        self.newer.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn answers_hold_for_a_while_and_are_not_many() {
        let cache = Cache::new(&SystemClock);
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let key = |n: usize| cache.key([&n.to_be_bytes()[..]]);
        cache.put(key(0), 0, second, start);
        assert_eq!(cache.get(&key(0), start), Some(0));
        assert_eq!(cache.get(&key(0), start + second), None);
        cache.put(key(1), 1, Duration::ZERO, start);
        assert_eq!(cache.get(&key(1), start), None, "what holds for no time is not kept");
        for n in 0..10 * HALF_MAX {
            cache.put(key(n), n, second, start);
            assert_eq!(cache.get(&key(0), start), Some(0), "what is asked for stays");
        }
        let halves = cache.halves.lock();
        assert!(halves.newer.len() <= HALF_MAX && halves.older.len() <= HALF_MAX);
    }

    #[test]
    fn parts_are_told_apart() {
        let cache: Cache<()> = Cache::new(&SystemClock);
        assert_ne!(cache.key([&b"xy"[..], b"z"]), cache.key([&b"x"[..], b"yz"]));
        assert_ne!(cache.key([&b"x"[..]]), Cache::<()>::new(&SystemClock).key([&b"x"[..]]), "the secret is in it");
    }
}
