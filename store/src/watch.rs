//! Events and their history.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{Entry, Revision, StoreError};

/// What happened to one key.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub revision: Revision,
    /// What.
    pub kind: EventKind,
}

/// The kinds of event.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// A key was created (`previous` is none) or replaced.
    Put {
        /// The state after.
        entry: Entry,
        /// The state before.
        previous: Option<Entry>,
    },
    /// A key was deleted.
    Delete {
        /// The state before.
        previous: Entry,
    },
}

impl Event {
    /// The key.
    pub fn key(&self) -> &str {
        match &self.kind {
            EventKind::Put { entry, .. } => entry.key(),
            EventKind::Delete { previous } => previous.key(),
        }
    }
}

/// Events of one or more revisions, in order, shared by all watchers.
pub type EventBatch = Arc<[Event]>;

/// The bounded history of events that every watcher reads from.
pub(crate) struct Ring {
    state: Mutex<RingState>,
    newest: watch::Sender<Revision>,
    events_max: usize,
}

struct RingState {
    /// Events after this revision are kept.
    oldest: Revision,
    batches: VecDeque<(Revision, EventBatch)>,
    events: usize,
}

impl Ring {
    pub(crate) fn new(revision: Revision, events_max: usize) -> Arc<Self> {
        let state = RingState { oldest: revision, batches: VecDeque::new(), events: 0 };
        Arc::new(Self { state: Mutex::new(state), newest: watch::Sender::new(revision), events_max })
    }

    /// Adds the events of the commits up to and including `revision`, and wakes the watchers.
    pub(crate) fn push(&self, revision: Revision, events: Vec<Event>) {
        let mut state = self.state.lock();
        state.events += events.len();
        state.batches.push_back((revision, events.into()));
        while state.events > self.events_max && state.batches.len() > 1 {
            let (last, dropped) = state.batches.pop_front().expect("not empty");
            state.events -= dropped.len();
            state.oldest = last;
        }
        drop(state);
        self.newest.send_replace(revision);
    }

    pub(crate) fn compact(&self, revision: Revision) {
        let mut state = self.state.lock();
        while state.batches.front().is_some_and(|(last, _)| *last <= revision) {
            let (_, dropped) = state.batches.pop_front().expect("not empty");
            state.events -= dropped.len();
        }
        state.oldest = state.oldest.max(revision);
    }

    pub(crate) fn watch(self: &Arc<Self>, after: Revision) -> Result<Watch, StoreError> {
        let oldest = self.state.lock().oldest;
        if after < oldest {
            return Err(StoreError::Compacted { requested: after, oldest });
        }
        Ok(Watch { ring: self.clone(), newest: self.newest.subscribe(), after })
    }

    fn after(&self, after: Revision) -> Result<Vec<(Revision, EventBatch)>, StoreError> {
        let state = self.state.lock();
        if after < state.oldest {
            return Err(StoreError::Lagged);
        }
        let from = state.batches.partition_point(|(last, _)| *last <= after);
        Ok(state.batches.range(from..).cloned().collect())
    }
}

/// A reader of events. It holds no buffer of its own: a slow reader that falls out of the history gets
/// [`StoreError::Lagged`] and costs the others nothing.
pub struct Watch {
    ring: Arc<Ring>,
    newest: watch::Receiver<Revision>,
    after: Revision,
}

impl Watch {
    /// The next batches of events, in order; waits until there is one. May hold events at or before the
    /// revision the watch began after only in its first batch: skip those with `event.revision <= after`.
    ///
    /// # Errors
    /// [`StoreError::Lagged`] when the reader was too slow, [`StoreError::Stopped`] when the store closed.
    pub async fn next(&mut self) -> Result<Vec<EventBatch>, StoreError> {
        loop {
            let newest = *self.newest.borrow_and_update();
            if newest > self.after {
                let batches = self.ring.after(self.after)?;
                if let Some((last, _)) = batches.last() {
                    self.after = *last;
                    return Ok(batches.into_iter().map(|(_, batch)| batch).collect());
                }
            }
            self.newest.changed().await.map_err(|_| StoreError::Stopped("closed".into()))?;
        }
    }

    /// Everything up to this revision has been returned by [`Watch::next`].
    pub fn revision(&self) -> Revision {
        self.after
    }
}
