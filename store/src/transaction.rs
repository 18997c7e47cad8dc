//! What is committed: conditions and operations under one revision.

use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{KEY_BYTES_MAX, OPERATIONS_MAX, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX};
use crate::{Entry, Revision, StoreError};

/// What an operation takes in the log besides its key and value, at most.
const OPERATION_OVERHEAD_BYTES: usize = 32;

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

impl Operation {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Operation::Put(key, _) | Operation::Delete(key) => key,
        }
    }
}

/// Conditions and operations that hold and happen together.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// All happen, each key at most once.
    pub operations: Vec<Operation>,
    /// Whether it may use the space that is kept back when the disk is full, because it leads to a deletion
    /// (an update that sets a deletion time, or removes a finalizer). One that only deletes always may.
    pub frees: bool,
}

impl Transaction {
    /// Creates a key that must not exist.
    pub fn create(key: impl Into<Arc<str>>, value: Bytes) -> Self {
        let key = key.into();
        Self {
            conditions: vec![Condition::Absent(key.clone())],
            operations: vec![Operation::Put(key, value)],
            frees: false,
        }
    }

    /// Replaces what was last written at `revision`.
    pub fn update(key: impl Into<Arc<str>>, revision: Revision, value: Bytes) -> Self {
        let key = key.into();
        Self {
            conditions: vec![Condition::ModRevision(key.clone(), revision)],
            operations: vec![Operation::Put(key, value)],
            frees: false,
        }
    }

    /// Deletes what was last written at `revision`.
    pub fn delete(key: impl Into<Arc<str>>, revision: Revision) -> Self {
        let key = key.into();
        Self {
            conditions: vec![Condition::ModRevision(key.clone(), revision)],
            operations: vec![Operation::Delete(key)],
            frees: true,
        }
    }

    /// Adds another transaction's conditions and operations.
    pub fn and(mut self, other: Transaction) -> Self {
        self.conditions.extend(other.conditions);
        self.operations.extend(other.operations);
        self.frees = self.frees && other.frees;
        self
    }

    /// Marks a write that leads to a deletion, see [`Transaction::frees`].
    pub fn freeing(mut self) -> Self {
        self.frees = true;
        self
    }

    /// Whether it may be written when the disk is full.
    pub(crate) fn may_use_reserve(&self) -> bool {
        self.frees || self.operations.iter().all(|operation| matches!(operation, Operation::Delete(_)))
    }

    /// Checks the limits; returns what it takes in the log, at most.
    pub(crate) fn check_limits(&self) -> Result<usize, StoreError> {
        limit("transaction operations", self.operations.len(), OPERATIONS_MAX)?;
        let mut bytes = 0;
        for operation in &self.operations {
            let (key, value_bytes) = match operation {
                Operation::Put(key, value) => (key, value.len()),
                Operation::Delete(key) => (key, 0),
            };
            if key.is_empty() || key.as_bytes().contains(&0) {
                return Err(StoreError::Invalid(format!("the key {key:?} is empty or has a zero byte")));
            }
            limit("key", key.len(), KEY_BYTES_MAX)?;
            limit("value", value_bytes, VALUE_BYTES_MAX)?;
            bytes += key.len() + value_bytes + OPERATION_OVERHEAD_BYTES;
        }
        limit("transaction", bytes, TRANSACTION_BYTES_MAX)?;
        self.check_distinct()?;
        Ok(bytes)
    }

    fn check_distinct(&self) -> Result<(), StoreError> {
        if self.operations.len() < 2 {
            return Ok(());
        }
        let mut keys: Vec<&str> = self.operations.iter().map(Operation::key).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(StoreError::Invalid(format!("the key {:?} is written twice", pair[0]))),
            None => Ok(()),
        }
    }
}

fn limit(what: &'static str, size: usize, limit: usize) -> Result<(), StoreError> {
    if size > limit {
        return Err(StoreError::TooLarge { what, size, limit });
    }
    Ok(())
}

/// A durable commit. One that changes nothing (it only deletes absent keys) has the revision of the newest state.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its revision.
    pub revision: Revision,
    /// One a `Put`, in the order of the operations.
    pub entries: Vec<Entry>,
}
