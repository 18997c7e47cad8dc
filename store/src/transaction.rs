//! What is committed: conditions and operations under one revision.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Entry, Revision};

/// A condition on one key, checked against the newest state.
#[derive(Debug, Clone)]
pub enum Condition {
    /// The key does not exist.
    Absent(Arc<str>),
    /// The key exists and was last written at this revision.
    ModRevision(Arc<str>, Revision),
}

/// A write to one key.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Creates or replaces.
    Put(Arc<str>, Bytes),
    /// Removes; removing an absent key is no operation and makes no event.
    Delete(Arc<str>),
}

/// Conditions and operations that hold and happen together.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// All happen, each key at most once.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// Creates a key that must not exist.
    pub fn create(key: impl Into<Arc<str>>, value: Bytes) -> Self {
        let key = key.into();
        Self { conditions: vec![Condition::Absent(key.clone())], operations: vec![Operation::Put(key, value)] }
    }

    /// Replaces what was last written at `revision`.
    pub fn update(key: impl Into<Arc<str>>, revision: Revision, value: Bytes) -> Self {
        let key = key.into();
        Self {
            conditions: vec![Condition::ModRevision(key.clone(), revision)],
            operations: vec![Operation::Put(key, value)],
        }
    }

    /// Deletes what was last written at `revision`.
    pub fn delete(key: impl Into<Arc<str>>, revision: Revision) -> Self {
        let key = key.into();
        Self {
            conditions: vec![Condition::ModRevision(key.clone(), revision)],
            operations: vec![Operation::Delete(key)],
        }
    }

    /// Adds another transaction's conditions and operations.
    pub fn and(mut self, other: Transaction) -> Self {
        self.conditions.extend(other.conditions);
        self.operations.extend(other.operations);
        self
    }
}

/// A durable commit.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its revision.
    pub revision: Revision,
    /// One a `Put`, in the order of the operations.
    pub entries: Vec<Entry>,
}
