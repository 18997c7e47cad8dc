//! The backend without a disk, for tests and throw-away clusters.

use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::history::{History, HistoryLimits};
use crate::stage::Stage;
use crate::{Committed, Revision, Snapshot, Store, StoreError, Transaction, Watch};

/// A store that is gone when dropped.
pub struct Memory {
    history: Arc<History>,
    /// Held by the one that commits; true once closed.
    closed: Mutex<bool>,
}

impl Memory {
    /// An empty store at revision 1.
    pub fn new() -> Arc<Self> {
        Self::with_limits(HistoryLimits::default())
    }

    /// An empty store at revision 1 that keeps so much history.
    pub fn with_limits(limits: HistoryLimits) -> Arc<Self> {
        Self::from_snapshot(Snapshot::empty(1), limits)
    }

    /// A store that begins with the state of another and goes its own way from there. Nothing is copied.
    pub fn fork(snapshot: Snapshot) -> Arc<Self> {
        Self::from_snapshot(snapshot, HistoryLimits::default())
    }

    fn from_snapshot(snapshot: Snapshot, limits: HistoryLimits) -> Arc<Self> {
        Arc::new(Self { history: History::new(snapshot, limits), closed: Mutex::new(false) })
    }

    fn commit_now(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        transaction.check_limits()?;
        let guard = self.closed.lock();
        if *guard {
            return Err(closed());
        }
        let mut stage = Stage::on(self.history.snapshot());
        let committed = stage.commit(transaction)?;
        self.history.publish(stage);
        drop(guard);
        self.history.wake();
        Ok(committed)
    }
}

impl Store for Memory {
    fn snapshot(&self) -> Snapshot {
        self.history.snapshot()
    }

    fn snapshot_at(&self, revision: Revision, prefix: &str) -> Result<Snapshot, StoreError> {
        self.history.snapshot_at(revision, prefix)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, Result<Committed, StoreError>> {
        let result = self.commit_now(transaction);
        Box::pin(async move { result })
    }

    fn watch(&self, after: Revision) -> Result<Watch, StoreError> {
        self.history.watch(after, "")
    }

    fn watch_prefix(&self, after: Revision, prefix: &str) -> Result<Watch, StoreError> {
        self.history.watch(after, prefix)
    }

    fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.history.compact(revision)
    }

    /// Memory does not fail.
    fn failure(&self) -> Option<StoreError> {
        None
    }

    fn failed(&self) -> BoxFuture<'static, StoreError> {
        Box::pin(std::future::pending())
    }

    fn forget_old(&self) {
        self.history.forget_old();
    }

    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        *self.closed.lock() = true;
        self.history.close(closed());
        Box::pin(async { Ok(()) })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.history.close(closed());
    }
}

fn closed() -> StoreError {
    StoreError::Stopped("the store was closed".into())
}
