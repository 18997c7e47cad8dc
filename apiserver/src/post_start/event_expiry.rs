//! Events last an hour. Nothing polls: one timer waits for the next that ends.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use store::{Event, EventKind, Operation, Snapshot, Transaction};

use crate::Registry;
use crate::registry::{News, prefix, read};

/// How long an event is kept after it was last written (`--event-ttl`).
const EVENT_SECONDS: i64 = 3600;
/// Events that end within this time of each other go together.
const BATCH: Duration = Duration::from_secs(30);
/// Events deleted in one transaction.
const DELETES_MAX: usize = 500;

/// When each event ends.
#[derive(Default)]
struct Ends {
    by_key: HashMap<String, Timestamp>,
    by_time: BTreeSet<(Timestamp, String)>,
}

impl Ends {
    fn of(registry: &Registry, state: &Snapshot) -> Self {
        let mut ends = Self::default();
        for entry in state.list(&prefix("", "events", ""), None) {
            // When a stored event was last written is known by what it says of itself only.
            let written = read(entry).and_then(|event| {
                let times =
                    [&["lastTimestamp"][..], &["series", "lastObservedTime"], &["metadata", "creationTimestamp"]];
                times.iter().filter_map(|path| event.str_at(path).parse::<Timestamp>().ok()).max()
            });
            ends.insert(entry.key(), written.unwrap_or_else(|| registry.clock().now()) + hour());
        }
        ends
    }

    fn insert(&mut self, key: &str, end: Timestamp) {
        self.remove(key);
        self.by_key.insert(key.to_string(), end);
        self.by_time.insert((end, key.to_string()));
    }

    fn remove(&mut self, key: &str) {
        if let Some(end) = self.by_key.remove(key) {
            self.by_time.remove(&(end, key.to_string()));
        }
    }

    fn over(&self, now: Timestamp) -> Vec<String> {
        self.by_time.iter().take_while(|(end, _)| *end <= now).take(DELETES_MAX).map(|(_, key)| key.clone()).collect()
    }
}

/// Deletes events when their hour is over, until the store is closed.
pub(super) async fn follow(registry: &Registry) {
    let mut followed = registry.follow(prefix("", "events", ""));
    let mut ends = Ends::default();
    loop {
        let now = registry.clock().now();
        let wait = match ends.by_time.first() {
            Some((end, _)) if *end <= now => Some(Duration::ZERO),
            first => first.map(|(end, _)| end.duration_since(now).unsigned_abs() + BATCH),
        };
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            news = followed.next() => match news {
                Some(News::State(state)) => ends = Ends::of(registry, &state),
                Some(News::Events(happened)) => {
                    let now = registry.clock().now();
                    happened.iter().for_each(|event| note(&mut ends, event, now));
                }
                None => return,
            },
            () = timer => {
                if !delete(registry, &mut ends).await {
                    return;
                }
            }
        }
    }
}

fn hour() -> SignedDuration {
    SignedDuration::from_secs(EVENT_SECONDS)
}

fn note(ends: &mut Ends, event: &Event, now: Timestamp) {
    match &event.kind {
        EventKind::Put { .. } => ends.insert(event.key(), now + hour()),
        EventKind::Delete { .. } => ends.remove(event.key()),
    }
}

/// Deletes what is over; false if the store takes no more writes.
async fn delete(registry: &Registry, ends: &mut Ends) -> bool {
    let over = ends.over(registry.clock().now());
    if over.is_empty() {
        return true;
    }
    let operations = over.iter().map(|key| Operation::Delete(key.as_str().into())).collect();
    let done = registry.store().commit(Transaction { operations, ..Transaction::default() }).await;
    for key in &over {
        ends.remove(key);
    }
    done.is_ok()
}
