//! The backend without a disk, for tests and throw-away clusters.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::watch::Ring;
use crate::{Committed, Revision, Snapshot, Store, StoreError, Transaction, Watch};

/// How many events the history keeps.
const EVENTS_MAX: usize = 100_000;
/// How many old snapshots are kept.
const SNAPSHOTS_MAX: usize = 10_000;

/// A store that is gone when dropped.
pub struct Memory {
    state: Mutex<State>,
    ring: Arc<Ring>,
}

struct State {
    newest: Snapshot,
    older: VecDeque<Snapshot>,
}

impl Memory {
    /// An empty store at revision 1.
    pub fn new() -> Arc<Self> {
        let newest = Snapshot { revision: 1, ..Snapshot::default() };
        Arc::new(Self { ring: Ring::new(1, EVENTS_MAX), state: Mutex::new(State { newest, older: VecDeque::new() }) })
    }

    fn commit_now(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        let mut state = self.state.lock();
        state.newest.check(&transaction.conditions)?;
        let mut next = state.newest.clone();
        let (entries, events) = next.apply(transaction);
        let revision = next.revision;
        let before = std::mem::replace(&mut state.newest, next);
        state.older.push_back(before);
        if state.older.len() > SNAPSHOTS_MAX {
            state.older.pop_front();
        }
        self.ring.push(revision, events);
        Ok(Committed { revision, entries })
    }
}

impl Store for Memory {
    fn snapshot(&self) -> Snapshot {
        self.state.lock().newest.clone()
    }

    fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, StoreError> {
        let state = self.state.lock();
        let newest = state.newest.revision;
        if revision > newest {
            return Err(StoreError::FutureRevision { requested: revision, newest });
        }
        if revision == newest {
            return Ok(state.newest.clone());
        }
        let oldest = state.older.front().map_or(newest, |s| s.revision);
        let at = state.older.partition_point(|s| s.revision < revision);
        match state.older.get(at) {
            Some(snapshot) if snapshot.revision == revision => Ok(snapshot.clone()),
            _ => Err(StoreError::Compacted { requested: revision, oldest }),
        }
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, Result<Committed, StoreError>> {
        let result = self.commit_now(transaction);
        Box::pin(async move { result })
    }

    fn watch(&self, after: Revision) -> Result<Watch, StoreError> {
        self.ring.watch(after)
    }

    fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        let newest = state.newest.revision;
        if revision > newest {
            return Err(StoreError::FutureRevision { requested: revision, newest });
        }
        while state.older.front().is_some_and(|s| s.revision <= revision) {
            state.older.pop_front();
        }
        self.ring.compact(revision);
        Ok(())
    }

    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}
