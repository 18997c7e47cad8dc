//! What readers see: the newest map, and the bounded past behind it.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use crate::interest::{Interest, Interests, is_prefix};
use crate::limits::{MARK_EVERY_REVISIONS, REBUILT_SNAPSHOTS_MAX, WATCH_BATCHES_MAX};
use crate::stage::Stage;
use crate::{Event, EventBatch, EventKind, Revision, Snapshot, StoreError, Watch};

/// What an event costs besides the values it keeps alive.
const EVENT_OVERHEAD_BYTES: usize = 128;

/// How much of the past is kept.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLimits {
    /// How many events.
    pub events_max: usize,
    /// How many bytes of values that were replaced or deleted.
    pub bytes_max: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { events_max: crate::limits::HISTORY_EVENTS_MAX, bytes_max: crate::limits::HISTORY_BYTES_MAX }
    }
}

/// The visible state of a backend: every backend publishes into one, and every reader and watcher reads from it.
pub(crate) struct History {
    newest: RwLock<Snapshot>,
    past: RwLock<Past>,
    rebuilt: Mutex<VecDeque<Snapshot>>,
    interests: Interests,
    closed: OnceLock<StoreError>,
    limits: HistoryLimits,
}

/// Events in order, and some whole maps among them.
struct Past {
    /// Events after this revision are kept, and the state as of it can be rebuilt.
    oldest: Revision,
    batches: VecDeque<Batch>,
    events: usize,
    bytes: usize,
    marks: VecDeque<Snapshot>,
}

#[derive(Clone)]
struct Batch {
    last: Revision,
    events: EventBatch,
    bytes: usize,
}

impl History {
    pub(crate) fn new(newest: Snapshot, limits: HistoryLimits) -> Arc<Self> {
        let revision = newest.revision;
        let past = Past { oldest: revision, batches: VecDeque::new(), events: 0, bytes: 0, marks: VecDeque::new() };
        Arc::new(Self {
            newest: RwLock::new(newest),
            past: RwLock::new(past),
            rebuilt: Mutex::default(),
            interests: Interests::default(),
            closed: OnceLock::new(),
            limits,
        })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.newest.read().clone()
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.newest.read().revision
    }

    /// Makes a durable stage visible to readers, and to watchers once they are woken.
    pub(crate) fn publish(&self, stage: Stage) {
        let Stage { snapshot, events } = stage;
        if events.is_empty() {
            return;
        }
        let mut past = self.past.write();
        self.interests.touch(&events, snapshot.revision);
        past.push(snapshot.revision, events);
        if past.marks.back().map_or(past.oldest, Snapshot::revision) + MARK_EVERY_REVISIONS <= snapshot.revision {
            past.marks.push_back(snapshot.clone());
        }
        let forgotten = past.bound(&self.limits);
        let oldest = past.oldest;
        let before = std::mem::replace(&mut *self.newest.write(), snapshot);
        drop(past);
        if !forgotten.is_empty() {
            self.rebuilt.lock().retain(|snapshot| snapshot.revision >= oldest);
        }
        // Freed only now: dropping many values must not hold up readers.
        drop((forgotten, before));
    }

    /// Wakes the watchers. Apart from [`History::publish`] so that commits can be answered before a thousand
    /// watchers are woken.
    pub(crate) fn wake(&self) {
        let newest = self.newest.read().revision;
        self.interests.wake(newest);
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

    pub(crate) fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, StoreError> {
        let (mut snapshot, undo) = {
            let past = self.past.read();
            let newest = self.newest.read();
            if revision > newest.revision {
                return Err(StoreError::FutureRevision { requested: revision, newest: newest.revision });
            }
            if revision < past.oldest {
                return Err(StoreError::Compacted { requested: revision, oldest: past.oldest });
            }
            if revision == newest.revision {
                return Ok(newest.clone());
            }
            if let Some(found) = self.rebuilt.lock().iter().find(|snapshot| snapshot.revision == revision) {
                return Ok(found.clone());
            }
            let mark = past.marks.partition_point(|mark| mark.revision < revision);
            let start = past.marks.get(mark).unwrap_or(&newest).clone();
            let from = past.batches.partition_point(|batch| batch.last <= revision);
            let to = past.batches.partition_point(|batch| batch.last <= start.revision);
            let undo: Vec<EventBatch> = past.batches.range(from..to).map(|batch| batch.events.clone()).collect();
            (start, undo)
        };
        for event in undo.iter().rev().flat_map(|batch| batch.iter().rev()).take_while(|e| e.revision > revision) {
            snapshot.undo(event);
        }
        snapshot.revision = revision;
        let mut rebuilt = self.rebuilt.lock();
        if rebuilt.len() >= REBUILT_SNAPSHOTS_MAX {
            rebuilt.pop_front();
        }
        rebuilt.push_back(snapshot.clone());
        Ok(snapshot)
    }

    /// A watch of the keys below a prefix, or, if there can be no interest in it, of the nearest one above.
    pub(crate) fn watch(self: &Arc<Self>, after: Revision, prefix: &str) -> Result<Watch, StoreError> {
        let prefix = if is_prefix(prefix) { prefix } else { &prefix[..prefix.rfind('/').map_or(0, |at| at + 1)] };
        let past = self.past.read();
        if after < past.oldest {
            return Err(StoreError::Compacted { requested: after, oldest: past.oldest });
        }
        let interest = self.interests.of(prefix, self.newest.read().revision);
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
        let newest = self.newest.read().revision;
        let found: Vec<&Batch> = match interest.touched_after(after, WATCH_BATCHES_MAX) {
            // What was forgotten is no loss to a watcher whom it does not concern.
            Some(touched) => {
                let find = |last: Revision| past.find(last).ok_or(StoreError::Lagged);
                touched.into_iter().map(find).collect::<Result<_, _>>()?
            }
            None if after < past.oldest => return Err(StoreError::Lagged),
            None => {
                let from = past.batches.partition_point(|batch| batch.last <= after);
                let later = past.batches.range(from..).filter(|batch| interest.is_in(&batch.events));
                later.take(WATCH_BATCHES_MAX).collect()
            }
        };
        let reached = match found.last() {
            Some(batch) if found.len() >= WATCH_BATCHES_MAX => batch.last,
            _ => newest.max(after),
        };
        Ok((found.into_iter().map(|batch| batch.events.clone()).collect(), reached))
    }

    /// The revision up to which a watcher that has read up to `after` has missed nothing.
    pub(crate) fn reached(&self, after: Revision, interest: &Interest) -> Revision {
        let _past = self.past.read();
        if interest.is_quiet_since(after) { self.newest.read().revision.max(after) } else { after }
    }

    pub(crate) fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let newest = self.newest.read().revision;
        if revision > newest {
            return Err(StoreError::FutureRevision { requested: revision, newest });
        }
        let forgotten = self.past.write().forget(revision);
        self.rebuilt.lock().retain(|snapshot| snapshot.revision >= revision);
        drop(forgotten);
        Ok(())
    }
}

impl Past {
    fn find(&self, last: Revision) -> Option<&Batch> {
        let at = self.batches.partition_point(|batch| batch.last < last);
        self.batches.get(at).filter(|batch| batch.last == last)
    }

    fn push(&mut self, last: Revision, events: Vec<Event>) {
        let bytes = events.iter().map(kept_bytes).sum();
        self.events += events.len();
        self.bytes += bytes;
        self.batches.push_back(Batch { last, events: events.into(), bytes });
    }

    /// Forgets what is over the limits, but never the newest batch.
    fn bound(&mut self, limits: &HistoryLimits) -> Vec<Batch> {
        let mut forgotten = Vec::new();
        while self.batches.len() > 1 && (self.events > limits.events_max || self.bytes > limits.bytes_max) {
            forgotten.extend(self.pop());
        }
        self.drop_marks();
        forgotten
    }

    /// Forgets what happened up to and including `revision`.
    fn forget(&mut self, revision: Revision) -> Vec<Batch> {
        let mut forgotten = Vec::new();
        while self.batches.front().is_some_and(|batch| batch.last <= revision) {
            forgotten.extend(self.pop());
        }
        self.oldest = self.oldest.max(revision);
        self.drop_marks();
        forgotten
    }

    fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.events -= batch.events.len();
        self.bytes -= batch.bytes;
        self.oldest = self.oldest.max(batch.last);
        Some(batch)
    }

    fn drop_marks(&mut self) {
        while self.marks.front().is_some_and(|mark| mark.revision < self.oldest) {
            self.marks.pop_front();
        }
    }
}

/// What the history alone keeps alive for an event: the state before. The state after is in the newest map, or is
/// the state before of a later event.
fn kept_bytes(event: &Event) -> usize {
    let previous = match &event.kind {
        EventKind::Put { previous, .. } => previous.as_ref(),
        EventKind::Delete { previous } => Some(previous),
    };
    EVENT_OVERHEAD_BYTES + previous.map_or(0, |entry| entry.key().len() + entry.value().len())
}
