//! What values look like on the disk, where that is not what readers see.
//!
//! In memory every value is plain, so that readers are served without a copy; the log, the checkpoint, exports and backups
//! hold what a [`Sealing`] made of it. A value is sealed once, before its commit is queued, and its sealed form stays
//! beside it: what is written later (a checkpoint, an export) needs no key, and tells what a value was sealed with.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{SEALED_OVERHEAD_BYTES_MAX, SEALED_TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX};
use crate::{Entry, Operation, Snapshot, StoreError, Transaction};

/// Makes of values what is written to the disk, and the reverse. The key goes into it, so that a value that was put
/// under another key does not open.
pub trait Sealing: Send + Sync + 'static {
    /// What is to be written for a value; none if that is the value itself. Called for every value that is put, on the
    /// caller's thread: it must not block, and cost next to nothing for keys whose values are not sealed.
    ///
    /// # Errors
    /// Why it cannot be sealed now: nothing of the transaction is written.
    fn seal(&self, key: &str, value: &Bytes) -> Result<Option<Sealed>, String>;

    /// The value of what was written. Called when the store is opened; it may block.
    ///
    /// # Errors
    /// Why that cannot be had: the store does not open, unless [`Sealing::waits`].
    fn open(&self, key: &str, sealed: &Bytes) -> Result<Bytes, String>;

    /// Told of a value that could not be opened, and why. Whether the store opens without it: its entry
    /// [is unopened](Entry::is_unopened) until whoever said so here opens it.
    fn waits(&self, _key: &str, _why: &str) -> bool {
        false
    }

    /// Whether a value that was written as it is may be taken. Called for every one when the store is opened.
    ///
    /// # Errors
    /// Why not: the store does not open.
    fn accept_plain(&self, key: &str) -> Result<(), String>;
}

/// A sealed value on its way to the disk.
#[derive(Clone)]
pub struct Sealed {
    /// What is written.
    pub bytes: Bytes,
    /// Kept until the commit is answered: whoever waits for the end of this knows that no more commits are under way
    /// that were sealed with it.
    pub hold: Option<Arc<dyn Any + Send + Sync>>,
}

/// The sealed values of a transaction, one for each operation; empty if nothing of it is sealed.
pub(crate) type SealedValues = Vec<Option<Sealed>>;

/// Seals what has to be; returns it with the bytes that the log takes for it beyond the plain ones.
pub(crate) fn seal(sealing: &dyn Sealing, transaction: &Transaction) -> Result<(SealedValues, usize), StoreError> {
    let mut values = SealedValues::new();
    let (mut more, mut all) = (0, 0);
    for (at, operation) in transaction.operations.iter().enumerate() {
        let Operation::Put(key, value) = operation else { continue };
        let sealed = sealing.seal(key, value).map_err(|detail| StoreError::Sealing { key: key.to_string(), detail })?;
        let Some(sealed) = sealed else { continue };
        let size = sealed.bytes.len();
        limit("sealed value", size, VALUE_BYTES_MAX + SEALED_OVERHEAD_BYTES_MAX)?;
        more += size.saturating_sub(value.len());
        all += size;
        limit("transaction of sealed values", all, SEALED_TRANSACTION_BYTES_MAX)?;
        values.resize(transaction.operations.len(), None);
        values[at] = Some(sealed);
    }
    Ok((values, more))
}

fn limit(what: &'static str, size: usize, limit: usize) -> Result<(), StoreError> {
    if size > limit { Err(StoreError::TooLarge { what, size, limit }) } else { Ok(()) }
}

/// Opens every sealed value of a state that was read from the disk.
pub(crate) fn open(snapshot: &mut Snapshot, sealing: Option<&dyn Sealing>, path: &Path) -> Result<(), StoreError> {
    let refused = |entry: &Entry, detail: String| StoreError::Unreadable {
        path: path.display().to_string(),
        key: entry.key().to_owned(),
        detail,
    };
    let mut opened = Vec::new();
    for entry in snapshot.entries() {
        match (entry.sealed(), sealing) {
            (None, None) => {}
            (None, Some(sealing)) => sealing.accept_plain(entry.key()).map_err(|detail| refused(entry, detail))?,
            (Some(_), None) => return Err(refused(entry, "it is encrypted, and there is no key".into())),
            (Some(sealed), Some(sealing)) => {
                let value = match sealing.open(entry.key(), sealed) {
                    Ok(value) => value,
                    Err(why) if sealing.waits(entry.key(), &why) => continue,
                    Err(why) => return Err(refused(entry, why)),
                };
                let (created, modified) = (entry.create_revision(), entry.mod_revision());
                opened.push(Entry::with_sealed(entry.key_shared(), value, created, modified, sealed.clone()));
            }
        }
    }
    opened.into_iter().for_each(|entry| drop(snapshot.insert(entry)));
    Ok(())
}
