//! What becomes of an event: a new object, a higher count on an old one, or nothing.
//!
//! The limits are those of `EventCorrelator` in client-go's `tools/record`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Similar events after which they are combined.
const SIMILAR_MAX: usize = 10;
/// Similar events further apart than this are not combined.
const SIMILAR_SECONDS: u64 = 600;
/// Events that a source may send about an object at once.
const BURST: f64 = 25.0;
/// Seconds after which it may send one more.
const REFILL_SECONDS: f64 = 300.0;
/// Entries of each memory; when it is full the oldest half is forgotten.
const ENTRIES_MAX: usize = 4096;

/// The fields of an event by which events are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint {
    pub(crate) object: String,
    pub(crate) type_: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// What to do with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Create it, with this message.
    Create { message: String },
    /// Raise the count of the event of this name.
    Count { name: String, count: i32, message: String },
    /// The source said too much about this object.
    Drop,
}

struct Similar {
    messages: BTreeSet<String>,
    last: Duration,
}

struct Seen {
    name: String,
    count: i32,
    last: Duration,
}

struct Bucket {
    tokens: f64,
    last: Duration,
}

#[derive(Default)]
pub(crate) struct Correlator {
    similar: HashMap<Fingerprint, Similar>,
    seen: HashMap<Fingerprint, Seen>,
    buckets: HashMap<(String, String), Bucket>,
}

impl Correlator {
    /// Judges an event. The caller tells with [`Correlator::recorded`] under which name it was created.
    pub(crate) fn observe(&mut self, event: &Fingerprint, now: Duration) -> (Fingerprint, Verdict) {
        let (key, message) = self.aggregate(event, now);
        if !self.admits(event, now) {
            return (key, Verdict::Drop);
        }
        let verdict = match self.seen.get_mut(&key) {
            Some(seen) => {
                seen.count += 1;
                seen.last = now;
                Verdict::Count { name: seen.name.clone(), count: seen.count, message }
            }
            None => Verdict::Create { message },
        };
        (key, verdict)
    }

    /// Remembers the name under which an event was created.
    pub(crate) fn recorded(&mut self, key: Fingerprint, name: String, now: Duration) {
        trim(&mut self.seen, |s| s.last);
        self.seen.insert(key, Seen { name, count: 1, last: now });
    }

    /// Forgets an event that no longer exists.
    pub(crate) fn forget(&mut self, key: &Fingerprint) {
        self.seen.remove(key);
    }

    fn aggregate(&mut self, event: &Fingerprint, now: Duration) -> (Fingerprint, String) {
        trim(&mut self.similar, |s| s.last);
        let group = Fingerprint { message: String::new(), ..event.clone() };
        let similar =
            self.similar.entry(group.clone()).or_insert_with(|| Similar { messages: BTreeSet::new(), last: now });
        if now.saturating_sub(similar.last) > Duration::from_secs(SIMILAR_SECONDS) {
            similar.messages.clear();
        }
        similar.last = now;
        similar.messages.insert(event.message.clone());
        if similar.messages.len() < SIMILAR_MAX {
            return (event.clone(), event.message.clone());
        }
        similar.messages.pop_first();
        (group, format!("(combined from similar events): {}", event.message))
    }

    fn admits(&mut self, event: &Fingerprint, now: Duration) -> bool {
        trim(&mut self.buckets, |b| b.last);
        let key = (event.object.clone(), event.type_.clone());
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: BURST, last: now });
        let refill = now.saturating_sub(bucket.last).as_secs_f64() / REFILL_SECONDS;
        bucket.tokens = (bucket.tokens + refill).min(BURST);
        bucket.last = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }
}

fn trim<K: Clone + Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, last: impl Fn(&V) -> Duration) {
    if map.len() < ENTRIES_MAX {
        return;
    }
    let mut times: Vec<_> = map.values().map(&last).collect();
    times.sort_unstable();
    let middle = times[times.len() / 2];
    map.retain(|_, value| last(value) > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> Fingerprint {
        Fingerprint { object: "pod".into(), type_: "Normal".into(), reason: "R".into(), message: message.into() }
    }

    #[test]
    fn the_same_event_is_counted() {
        let mut c = Correlator::default();
        let (key, verdict) = c.observe(&event("a"), Duration::ZERO);
        assert_eq!(verdict, Verdict::Create { message: "a".into() });
        c.recorded(key, "e1".into(), Duration::ZERO);
        let (_, verdict) = c.observe(&event("a"), Duration::from_secs(1));
        assert_eq!(verdict, Verdict::Count { name: "e1".into(), count: 2, message: "a".into() });
    }

    #[test]
    fn similar_events_are_combined() {
        let mut c = Correlator::default();
        for i in 0..9 {
            let (_, verdict) = c.observe(&event(&format!("m{i}")), Duration::ZERO);
            assert_eq!(verdict, Verdict::Create { message: format!("m{i}") });
        }
        let (key, verdict) = c.observe(&event("m9"), Duration::ZERO);
        assert_eq!(verdict, Verdict::Create { message: "(combined from similar events): m9".into() });
        assert_eq!(key.message, "");
    }

    #[test]
    fn a_chatty_source_is_cut_off_and_recovers() {
        let mut c = Correlator::default();
        let (key, _) = c.observe(&event("a"), Duration::ZERO);
        c.recorded(key, "e1".into(), Duration::ZERO);
        for _ in 0..24 {
            assert!(matches!(c.observe(&event("a"), Duration::ZERO).1, Verdict::Count { .. }));
        }
        assert_eq!(c.observe(&event("a"), Duration::ZERO).1, Verdict::Drop);
        assert!(matches!(c.observe(&event("a"), Duration::from_secs(300)).1, Verdict::Count { .. }));
    }
}
