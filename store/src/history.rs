//! What readers see: the newest map, and the bounded past behind it.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use crate::clock;
use crate::interest::{Interest, Interests, is_prefix};
use crate::limits::{
    HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, HISTORY_FRESH_BYTES_MAX, HISTORY_FRESH_FOR, HISTORY_TOTAL_BYTES_MAX,
    REBUILT_SNAPSHOTS_MAX, WATCH_BATCHES_MAX,
};
use crate::past::{Past, previous};
use crate::stage::Stage;
use crate::{EventBatch, Revision, Snapshot, StoreError, Watch};

/// How much of the past is kept. Within these bounds it is kept for [`crate::limits::HISTORY_KEPT_FOR`] whole, and
/// the longer ago something was the less room there is for it.
#[derive(Clone, Copy)]
pub struct HistoryLimits {
    /// How many events of a group.
    pub events_max: usize,
    /// How many bytes of values that were replaced or deleted, as they are kept, in a group.
    pub bytes_max: usize,
    /// How many in all groups.
    pub total_bytes_max: usize,
    /// The group of a key, or of all keys below a prefix: itself a prefix, that ends with a slash. Empty for a prefix
    /// of keys of several groups.
    pub group: fn(&str) -> &str,
}

impl Default for HistoryLimits {
    /// One group of all keys.
    fn default() -> Self {
        Self {
            events_max: HISTORY_EVENTS_MAX,
            bytes_max: HISTORY_BYTES_MAX,
            total_bytes_max: HISTORY_TOTAL_BYTES_MAX,
            group: |_| "",
        }
    }
}

impl std::fmt::Debug for HistoryLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} events, {} bytes, {} in all", self.events_max, self.bytes_max, self.total_bytes_max)
    }
}

/// The visible state of a backend: every backend publishes into one, and every reader and watcher reads from it.
pub(crate) struct History {
    newest: ArcSwap<Snapshot>,
    past: RwLock<Past>,
    rebuilt: Mutex<VecDeque<Rebuilt>>,
    fresh: Mutex<Fresh>,
    interests: Interests,
    closed: OnceLock<StoreError>,
    limits: HistoryLimits,
}

/// A state that was put together for a reader.
struct Rebuilt {
    /// The group that it is right for; empty for all.
    group: Box<str>,
    snapshot: Snapshot,
    /// Since the last look.
    used: bool,
}

/// Events whose older values are not packed yet, for whoever reads along needs them as they are.
#[derive(Default)]
struct Fresh {
    batches: VecDeque<(Instant, EventBatch)>,
    bytes: usize,
}

impl History {
    pub(crate) fn new(newest: Snapshot, limits: HistoryLimits) -> Arc<Self> {
        let revision = newest.revision;
        Arc::new(Self {
            newest: ArcSwap::from_pointee(newest),
            past: RwLock::new(Past::new(revision)),
            rebuilt: Mutex::default(),
            fresh: Mutex::default(),
            interests: Interests::default(),
            closed: OnceLock::new(),
            limits,
        })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.newest.load())
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.newest.load().revision
    }

    /// Makes a durable stage visible to readers, and to watchers once they are woken.
    pub(crate) fn publish(&self, stage: Stage) {
        self.publish_at(stage, clock::now());
    }

    fn publish_at(&self, stage: Stage, now: Instant) {
        let Stage { snapshot, events } = stage;
        if events.is_empty() {
            return;
        }
        let events: EventBatch = events.into();
        let mut past = self.past.write();
        self.interests.touch(&events, snapshot.revision);
        past.push(&snapshot, events.clone(), now, &self.limits);
        let before = self.newest.swap(Arc::new(snapshot));
        drop(past);
        let mut fresh = self.fresh.lock();
        fresh.bytes += bytes_before(&events);
        fresh.batches.push_back((now, events));
        drop(fresh);
        // Freed only now: dropping many values must not hold up readers.
        drop(before);
    }

    /// Wakes the watchers, then packs and forgets what is over the limits. Apart from [`History::publish`] so that
    /// commits can be answered before that.
    pub(crate) fn wake(&self) {
        let newest = self.newest.load().revision;
        self.interests.wake(newest);
        self.pack(None);
        self.bound(clock::now());
    }

    /// Forgets what is too old for the room that it takes. To be called now and then.
    pub(crate) fn forget_old(&self) {
        self.forget_old_at(clock::now());
    }

    fn forget_old_at(&self, now: Instant) {
        self.pack(Some(now));
        self.bound(now);
        let unused = {
            let mut rebuilt = self.rebuilt.lock();
            let (used, unused) =
                std::mem::take(&mut *rebuilt).into_iter().partition::<VecDeque<_>, _>(|state| state.used);
            *rebuilt = used.into_iter().map(|state| Rebuilt { used: false, ..state }).collect();
            unused
        };
        drop(unused);
    }

    fn bound(&self, now: Instant) {
        let mut past = self.past.write();
        let forgotten = past.bound(now, &self.limits);
        if !forgotten.is_empty() {
            self.rebuilt.lock().retain(|state| state.snapshot.revision >= past.floor(&state.group));
        }
        drop(past);
        drop(forgotten);
    }

    /// Packs the older values of events that are no longer fresh.
    fn pack(&self, now: Option<Instant>) {
        loop {
            let old = self.fresh.lock().take_old(now);
            let Some(batch) = old else { return };
            for event in batch.iter() {
                let Some(older) = previous(event) else { continue };
                let smaller = older.pack(event.entry());
                let before = older.kept_bytes();
                let mut past = self.past.write();
                older.retire(smaller);
                past.saved(event, before.saturating_sub(older.kept_bytes()), &self.limits);
            }
        }
    }

    /// Tells the watchers that no event will follow, and why.
    pub(crate) fn close(&self, reason: StoreError) {
        self.closed.get_or_init(|| reason);
        self.interests.close();
    }

    /// Why no event will follow.
    pub(crate) fn closed(&self) -> StoreError {
        self.closed.get().cloned().unwrap_or_else(|| StoreError::Stopped("the store was closed".into()))
    }

    /// The state as of a revision, right for the keys below a prefix.
    pub(crate) fn snapshot_at(&self, revision: Revision, prefix: &str) -> Result<Snapshot, StoreError> {
        let group = (self.limits.group)(prefix);
        let (mut snapshot, undo) = {
            let past = self.past.read();
            let newest = self.newest.load();
            if revision > newest.revision {
                return Err(StoreError::FutureRevision { requested: revision, newest: newest.revision });
            }
            let oldest = past.floor(group);
            if revision < oldest {
                return Err(StoreError::Compacted { requested: revision, oldest });
            }
            if revision == newest.revision {
                return Ok(Snapshot::clone(&newest));
            }
            let mut rebuilt = self.rebuilt.lock();
            let known = rebuilt.iter_mut().find(|state| state.snapshot.revision == revision && *state.group == *group);
            if let Some(known) = known {
                known.used = true;
                return Ok(known.snapshot.clone());
            }
            let start = past.mark(revision).unwrap_or(&newest).clone();
            let undo: Vec<EventBatch> =
                past.between(revision, start.revision).map(|(_, batch)| batch.clone()).collect();
            (start, undo)
        };
        let of_group = |key: &str| group.is_empty() || (self.limits.group)(key) == group;
        for event in undo.iter().rev().flat_map(|batch| batch.iter().rev()).take_while(|e| e.revision > revision) {
            if of_group(event.key()) {
                snapshot.undo(event);
            }
        }
        snapshot.revision = revision;
        let mut rebuilt = self.rebuilt.lock();
        if rebuilt.len() >= REBUILT_SNAPSHOTS_MAX {
            rebuilt.pop_front();
        }
        rebuilt.push_back(Rebuilt { group: group.into(), snapshot: snapshot.clone(), used: true });
        Ok(snapshot)
    }

    /// A watch of the keys below a prefix, or, if there can be no interest in it, of the nearest one above.
    pub(crate) fn watch(self: &Arc<Self>, after: Revision, prefix: &str) -> Result<Watch, StoreError> {
        let prefix = if is_prefix(prefix) { prefix } else { &prefix[..prefix.rfind('/').map_or(0, |at| at + 1)] };
        let past = self.past.read();
        let oldest = past.floor((self.limits.group)(prefix));
        if after < oldest {
            return Err(StoreError::Compacted { requested: after, oldest });
        }
        let interest = self.interests.of(prefix, self.newest.load().revision);
        drop(past);
        Ok(Watch::new(self.clone(), interest, after))
    }

    /// Batches with events after `after` that are of interest, oldest first, and the revision that they reach.
    pub(crate) fn after(
        &self,
        after: Revision,
        interest: &Interest,
    ) -> Result<(Vec<EventBatch>, Revision), StoreError> {
        let past = self.past.read();
        let newest = self.newest.load().revision;
        let group = (self.limits.group)(interest.prefix());
        let floor = past.floor(group);
        let found: Vec<(Revision, &EventBatch)> = match interest.touched_after(after, WATCH_BATCHES_MAX) {
            // What was forgotten is no loss to a watcher whom it does not concern.
            Some(touched) if touched.first().is_some_and(|first| *first <= floor) => return Err(StoreError::Lagged),
            Some(touched) => {
                let find = |last: Revision| Ok((last, past.batch(last).ok_or(StoreError::Lagged)?));
                touched.into_iter().map(find).collect::<Result<_, _>>()?
            }
            None if after < floor => return Err(StoreError::Lagged),
            None if group.is_empty() => {
                let later = past.between(after, newest).filter(|(_, events)| interest.is_in(events));
                later.take(WATCH_BATCHES_MAX).collect()
            }
            None => {
                let later = past.of_group(group, after).filter(|(_, events)| interest.is_in(events));
                later.take(WATCH_BATCHES_MAX).collect()
            }
        };
        let reached = match found.last() {
            Some((last, _)) if found.len() >= WATCH_BATCHES_MAX => *last,
            _ => newest.max(after),
        };
        Ok((found.into_iter().map(|(_, events)| events.clone()).collect(), reached))
    }

    /// The revision up to which a watcher that has read up to `after` has missed nothing.
    pub(crate) fn reached(&self, after: Revision, interest: &Interest) -> Revision {
        let _past = self.past.read();
        if interest.is_quiet_since(after) { self.newest.load().revision.max(after) } else { after }
    }

    pub(crate) fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let newest = self.newest.load().revision;
        if revision > newest {
            return Err(StoreError::FutureRevision { requested: revision, newest });
        }
        let forgotten = self.past.write().forget(revision, &self.limits);
        self.rebuilt.lock().retain(|state| state.snapshot.revision >= revision);
        drop(forgotten);
        Ok(())
    }
}

impl Fresh {
    /// The next batch to pack: `now` tells what is old, and without it the oldest go once there is much.
    fn take_old(&mut self, now: Option<Instant>) -> Option<EventBatch> {
        let (at, _) = self.batches.front()?;
        let is_old = now.is_some_and(|now| now.saturating_duration_since(*at) > HISTORY_FRESH_FOR);
        if !is_old && self.bytes <= HISTORY_FRESH_BYTES_MAX {
            return None;
        }
        let (_, batch) = self.batches.pop_front()?;
        self.bytes = if self.batches.is_empty() { 0 } else { self.bytes.saturating_sub(bytes_before(&batch)) };
        Some(batch)
    }
}

/// What packing a batch could save, at most.
fn bytes_before(batch: &EventBatch) -> usize {
    batch.iter().filter_map(previous).map(crate::Entry::kept_bytes).sum()
}

#[cfg(test)]
mod tests;
