//! Events and their reader.

use std::sync::Arc;

use tokio::sync::watch;

use crate::history::History;
use crate::interest::{Interest, Signal};
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

    /// The state after, if there is one.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match &self.kind {
            EventKind::Put { entry, .. } => Some(entry),
            EventKind::Delete { .. } => None,
        }
    }

    /// The key, shared.
    pub fn key_shared(&self) -> Arc<str> {
        match &self.kind {
            EventKind::Put { entry, .. } => entry.key_shared(),
            EventKind::Delete { previous } => previous.key_shared(),
        }
    }
}

/// Events of one or more revisions, in order, shared by all watchers.
pub type EventBatch = Arc<[Event]>;

/// A reader of events. It holds no buffer of its own: a slow reader that falls out of the history gets
/// [`StoreError::Lagged`] and costs the others nothing.
pub struct Watch {
    history: Arc<History>,
    interest: Arc<Interest>,
    signal: watch::Receiver<Signal>,
    after: Revision,
}

impl Watch {
    pub(crate) fn new(history: Arc<History>, interest: Arc<Interest>, after: Revision) -> Self {
        let signal = interest.subscribe();
        Self { history, interest, signal, after }
    }

    /// The next batches of events, in order; waits until there is one. A batch is whole: it may hold events of keys
    /// that were not asked for, and the first one may hold events at or before the revision that the watch began
    /// after. Dropping the future loses nothing. Whatever a snapshot taken before showed is returned without waiting.
    ///
    /// # Errors
    /// [`StoreError::Lagged`] when the reader was too slow, [`StoreError::Stopped`] when the store closed and
    /// everything was read.
    pub async fn next(&mut self) -> Result<Vec<EventBatch>, StoreError> {
        loop {
            // The history is asked whatever the signal says: what a snapshot shows is here before watchers are woken.
            let Signal { closed, .. } = *self.signal.borrow_and_update();
            let (batches, reached) = self.history.after(self.after, &self.interest)?;
            self.after = reached;
            if !batches.is_empty() {
                return Ok(batches);
            }
            if closed {
                return Err(self.history.closed());
            }
            self.signal.changed().await.map_err(|_| self.history.closed())?;
        }
    }

    /// Whether nothing happened below the watched prefix after a revision, which must not be before the watch began: what
    /// a snapshot of that revision or a later one shows there is still so. Costs one atomic load.
    pub fn is_quiet_since(&self, revision: Revision) -> bool {
        self.interest.is_quiet_since(revision)
    }

    /// Every event up to this revision has been returned by [`Watch::next`]; what happened to other keys counts
    /// as returned.
    pub fn revision(&self) -> Revision {
        self.history.reached(self.after, &self.interest)
    }
}
