//! What can go wrong in a store.

use crate::{Entry, Revision};

/// Why the store refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A condition did not hold; nothing was written.
    #[error("condition on {key} failed")]
    ConditionFailed {
        /// The key whose condition failed first.
        key: String,
        /// What is stored there now.
        current: Option<Entry>,
    },
    /// The revision is older than what is kept.
    #[error("revision {requested} is compacted; the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest revision that can be read.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {requested} is in the future; the newest is {newest}")]
    FutureRevision {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// A key or value is over its limit.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Key, value or transaction.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A value cannot be made what it has to be on the disk; nothing was written.
    #[error("{detail}")]
    Sealing {
        /// The key whose value it is.
        key: String,
        /// Why.
        detail: String,
    },
    /// A value on the disk cannot be read, or must not be trusted: with another key it might.
    #[error("{path} holds a value of {key} that cannot be read: {detail}")]
    Unreadable {
        /// The data directory.
        path: String,
        /// The key whose value it is.
        key: String,
        /// Why.
        detail: String,
    },
    /// The transaction makes no sense.
    #[error("invalid transaction: {0}")]
    Invalid(String),
    /// The disk is full: reads, watches and deletes go on.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The store has stopped for good.
    #[error("the store has stopped: {0}")]
    Stopped(String),
    /// A watcher fell behind what is kept, and was closed.
    #[error("the watcher fell behind")]
    Lagged,
    /// The data directory belongs to another process.
    #[error("{path} is locked by another process")]
    Locked {
        /// The data directory.
        path: String,
    },
    /// There is no store where there was one.
    #[error("{path} holds no store, though one was made there")]
    Missing {
        /// The data directory.
        path: String,
    },
    /// There is a store already.
    #[error("{path} holds a store already")]
    Exists {
        /// The data directory.
        path: String,
    },
    /// The data is in a format this version does not know.
    #[error("{path} has format {found}; this version reads up to {known}")]
    NewerFormat {
        /// The data directory.
        path: String,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// Stored bytes fail their checksum or make no sense.
    #[error("corrupt data in {path}: {detail}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// Input or output failed.
    #[error("{0}")]
    Io(String),
}
