//! A revisioned, ordered map of keys and bytes: get, list, commit, watch, compact.
//!
//! The whole map is one immutable persistent tree. A commit makes the next tree; a reader holds a
//! [`Snapshot`] and never takes a lock. Nothing is visible to a reader or a watcher, and no
//! commit is answered, before it is durable in the backend.
//!
//! This crate knows neither JSON nor Kubernetes. What a reader derives from a value (labels, say)
//! it may keep in the entry's [`Entry::memo`], which is computed at most once and dies with the entry.

mod backup;
mod clock;
mod difference;
mod durable;
mod entry;
mod error;
pub mod files;
mod history;
mod interest;
pub mod limits;
mod memory;
mod past;
mod sealing;
mod stage;
mod transaction;
mod tree;
mod watch;

pub use backup::{Backup, Pieces, Restored};
pub use durable::{Durable, DurableConfig, SyncPolicy};
pub use entry::{Entry, Revision};
pub use error::StoreError;
pub use history::HistoryLimits;
pub use memory::Memory;
pub use sealing::{Sealed, Sealing};
pub use transaction::{Committed, Condition, Operation, Transaction};
pub use tree::Snapshot;
pub use watch::{Event, EventBatch, EventKind, Watch};

use futures::future::BoxFuture;

/// A revisioned map. Every backend (sled, memory, later etcd) has these semantics.
pub trait Store: Send + Sync + 'static {
    /// The newest durable state. Costs one atomic load and no I/O.
    fn snapshot(&self) -> Snapshot;

    /// The state as of `revision`, which is right for the keys below `prefix`: what happened to others may be forgotten.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if the revision is no longer kept, [`StoreError::FutureRevision`]
    /// if it has not happened yet.
    fn snapshot_at(&self, revision: Revision, prefix: &str) -> Result<Snapshot, StoreError>;

    /// Checks every condition against the newest state and, if all hold, applies every operation under one
    /// new revision. Resolves when the result is durable and visible.
    ///
    /// # Errors
    /// [`StoreError::ConditionFailed`] with what is stored under the key; [`StoreError::Full`] when the disk refuses
    /// writes; [`StoreError::Stopped`] after a failed fsync or a shutdown.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, Result<Committed, StoreError>>;

    /// Every event after revision `after`, in order, without a gap. Prefix filtering is the reader's.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if events after that revision are no longer kept.
    fn watch(&self, after: Revision) -> Result<Watch, StoreError>;

    /// Like [`Store::watch`], for a reader that needs the keys below `prefix` alone: it is woken for them only, and
    /// whatever else happens does not make it lag. Batches are whole, so it still has to filter.
    ///
    /// # Errors
    /// As [`Store::watch`].
    fn watch_prefix(&self, after: Revision, prefix: &str) -> Result<Watch, StoreError>;

    /// Forgets what was before `revision`: the state as of it can still be read, and events after it.
    ///
    /// # Errors
    /// [`StoreError::FutureRevision`] if it has not happened yet.
    fn compact(&self, revision: Revision) -> Result<(), StoreError>;

    /// Gives back the room of what happened long ago. To be called every few seconds; costs nothing if there is nothing.
    fn forget_old(&self);

    /// Writes all of the newest state anew, after which nothing that was replaced, deleted or sealed otherwise before this
    /// call is in any file; then notes `mark`, which [`Store::renewed`] tells, also after a restart.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`] and [`StoreError::Stopped`]: the mark is as it was.
    fn renew(&self, mark: String) -> BoxFuture<'static, Result<(), StoreError>> {
        drop(mark);
        Box::pin(async { Ok(()) })
    }

    /// The mark of the newest [`Store::renew`]; none if there was none, or nothing is on a disk.
    fn renewed(&self) -> Option<String> {
        None
    }

    /// How many bytes of a disk it takes; none if it is on none. Looks at every file: not for a worker of the runtime.
    fn disk_bytes(&self) -> Option<u64> {
        None
    }

    /// Why the store has stopped for good without being told to: no commit will be accepted. None while it is well,
    /// and after [`Store::close`].
    fn failure(&self) -> Option<StoreError>;

    /// Resolves when [`Store::failure`] says something; not before, and never for a store that ends well.
    fn failed(&self) -> BoxFuture<'static, StoreError>;

    /// Stops accepting commits, makes what was accepted durable, and releases files and locks.
    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>>;
}
