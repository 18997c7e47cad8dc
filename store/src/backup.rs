//! A copy of the state at one revision in one file, and a store made of it.
//!
//! It is laid out like an export: a header that says which state it is, then frames of whole entries, each with a
//! checksum. Sealed values stay sealed. The header also says when it was made: a store that is made of it goes on at a
//! revision that the first one cannot have come to meanwhile, so that no revision is ever used twice; watches from
//! before find theirs forgotten.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::durable::{self, BackupHeader};
use crate::files::Files;
use crate::limits::{BACKUP_AGE_SECONDS_MAX, GROUP_BYTES_MAX, REVISION_JUMP, REVISIONS_PER_SECOND_MAX};
use crate::sealing::{self, Sealing};
use crate::{Entry, Revision, Snapshot, StoreError};

/// The pieces of a backup of a state, made one after the other as they are asked for.
pub struct Pieces {
    snapshot: Snapshot,
    made_seconds: u64,
    /// The key after which the next piece begins; none before the header.
    after: Option<Arc<str>>,
    done: bool,
}

impl Pieces {
    /// Of a state; `now_seconds` is the time in seconds since 1970.
    pub fn new(snapshot: Snapshot, now_seconds: u64) -> Self {
        Self { snapshot, made_seconds: now_seconds, after: None, done: false }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let Some(after) = self.after.take() else {
            self.after = Some("".into());
            self.done = self.snapshot.is_empty();
            return Some(durable::backup_header(&self.snapshot, self.made_seconds).into());
        };
        let later = self.snapshot.list("", Some(&after)).filter(|entry| *entry.key() > *after);
        let mut bytes = 0;
        let group: Vec<Entry> = later
            .take_while(|entry| {
                let fits = bytes < GROUP_BYTES_MAX;
                bytes += entry.key().len() + entry.written().len();
                fits
            })
            .cloned()
            .collect();
        let last = group.last()?.key_shared();
        self.done = self.snapshot.list("", Some(&last)).nth(1).is_none();
        self.after = Some(last);
        Some(durable::backup_frame(group.iter(), &self.snapshot, self.made_seconds).into())
    }
}

/// A backup that was read, and found whole.
pub struct Backup {
    path: PathBuf,
    snapshot: Snapshot,
    made_seconds: u64,
}

/// What became of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The revision that the store goes on at.
    pub revision: Revision,
    /// Where the store is that was there before.
    pub replaced: Option<PathBuf>,
}

impl Backup {
    /// Reads a file.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is none, or not as it was made; [`StoreError::NewerFormat`] if a newer version made
    /// it; [`StoreError::Io`].
    pub fn read(path: &Path, files: &dyn Files) -> Result<Self, StoreError> {
        let content = files.read(path, u64::MAX);
        let content = content.map_err(|error| StoreError::Io(format!("cannot read {}: {error}", path.display())))?;
        let (BackupHeader { made_seconds }, snapshot) = durable::read_backup(path, &content)?;
        Ok(Self { path: path.to_owned(), snapshot, made_seconds })
    }

    /// The revision of the state.
    pub fn revision(&self) -> Revision {
        self.snapshot.revision
    }

    /// How many keys it has.
    pub fn keys(&self) -> usize {
        self.snapshot.len()
    }

    /// How many of its values are sealed.
    pub fn sealed(&self) -> usize {
        self.snapshot.entries().filter(|entry| entry.sealed().is_some()).count()
    }

    /// Whether every value can be read with these keys.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`]
    pub fn check(&self, sealing: &dyn Sealing) -> Result<(), StoreError> {
        sealing::open(&mut self.snapshot.clone(), Some(sealing), &self.path)
    }

    /// Makes a store of it in `directory`, which appears there as a whole or not at all. One that is there already stays
    /// beside it under another name, if `replace` says so.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one and it is not to be replaced, [`StoreError::Locked`] if somebody uses it,
    /// [`StoreError::Full`] and [`StoreError::Io`].
    pub fn restore(
        &self,
        directory: &Path,
        files: &Arc<dyn Files>,
        now_seconds: u64,
        replace: bool,
    ) -> Result<Restored, StoreError> {
        let there = durable::find_store(directory, files)?;
        if there.is_some() && !replace {
            return Err(StoreError::Exists { path: directory.display().to_string() });
        }
        let known = there.as_ref().map_or(0, |there| there.revision).max(self.snapshot.revision);
        let elapsed = now_seconds.saturating_sub(self.made_seconds).min(BACKUP_AGE_SECONDS_MAX);
        let jump = REVISION_JUMP.saturating_add(elapsed.saturating_mul(REVISIONS_PER_SECOND_MAX));
        let mut snapshot = self.snapshot.clone();
        snapshot.revision = known.saturating_add(jump);
        let replaced = durable::write_store(directory, files, &snapshot, there, now_seconds)?;
        Ok(Restored { revision: snapshot.revision, replaced })
    }
}
