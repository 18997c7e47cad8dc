//! The thread that works behind the writer: it reserves the next file of the log, brings the checkpoint up (when a
//! file is full, or some of it and nothing more is written), writes exports, and removes what they made superfluous. It sleeps until it is told of work.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::directory::is_full;
use super::export;
use super::recovery::FIRST_REVISION;
use super::shared::Shared;
use crate::{Revision, Snapshot, StoreError};

/// How often, and how long apart, an export is tried after the checkpoint was given up for it.
const FREED_ATTEMPTS: u32 = 20;
const FREED_RETRY: Duration = Duration::from_millis(50);

/// What is to be done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Todo {
    pub(crate) spare: bool,
    pub(crate) checkpoint: bool,
    pub(crate) checkpoint_when_quiet: bool,
    pub(crate) renew: bool,
    pub(crate) stop: bool,
}

pub(crate) struct Checkpointer {
    pub(crate) shared: Arc<Shared>,
    /// What the checkpoint covers; none if it has to be made anew.
    pub(crate) checkpoint: Option<Revision>,
    /// The checkpoint as opening left it.
    pub(crate) loaded: Option<Checkpoint>,
    pub(crate) export: Option<(Revision, u64)>,
    pub(crate) export_after_bytes: u64,
    pub(crate) unsynced: bool,
}

impl Drop for Checkpointer {
    /// Without this thread the log would grow for ever.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail(StoreError::Stopped("the thread that makes the checkpoint panicked".into()));
        }
    }
}

impl Checkpointer {
    pub(crate) fn run(&mut self) {
        drop(self.loaded.take());
        loop {
            let todo = self.shared.wait_for_work();
            if todo.stop {
                return;
            }
            if todo.spare {
                self.reserve();
            }
            if todo.checkpoint {
                match self.checkpoint_or_room() {
                    Ok(()) => {}
                    // What could not be synced may be lost, so nothing can be promised any more.
                    Err(error @ StoreError::Stopped(_)) => return self.shared.fail(error),
                    Err(error) => tracing::warn!(%error, "the checkpoint has to wait"),
                }
            }
            if todo.renew {
                match self.renew() {
                    Ok(()) => {}
                    Err(error @ StoreError::Stopped(_)) if !self.shared.is_stopping() => {
                        return self.shared.fail(error);
                    }
                    Err(_) if self.shared.is_stopping() => {}
                    Err(error) => tracing::warn!(%error, "what was replaced is still on the disk"),
                }
            }
        }
    }

    /// Reserves room for the next file of the log, and with what giving up the checkpoint frees, as much as an export of
    /// everything will take when that file is full. So deletes always make room: an export of what they leave fits.
    fn reserve(&self) {
        let directory = &self.shared.directory;
        let freed = directory.files.taken(&directory.checkpoint_path()).unwrap_or(0);
        let needed = export::bytes_max(&self.shared.history.snapshot()) + self.shared.spare.bytes();
        self.shared.spare.want_reserve(needed.saturating_sub(freed));
        match self.shared.spare.prepare() {
            Ok(()) => self.shared.clear_full(),
            Err(error) => {
                if is_full(&error) && !self.shared.is_full() {
                    tracing::warn!(%error, "the disk is full: only deletes are written");
                }
                self.shared.set_full(&error);
            }
        }
    }

    fn checkpoint_or_room(&mut self) -> Result<(), StoreError> {
        if !self.shared.is_full() {
            match self.work() {
                Err(error) if !matches!(error, StoreError::Stopped(_)) && self.has_little_room() => {
                    tracing::warn!(%error, "there is no room for the checkpoint");
                }
                result => return result,
            }
        }
        self.make_room()
    }

    fn has_little_room(&self) -> bool {
        let directory = &self.shared.directory;
        directory.files.room(&directory.path).is_ok_and(|room| room.free < self.shared.segment_bytes)
    }

    /// Puts an export of the newest state in the place of whatever else is kept, when the disk is full: it takes no more
    /// than the checkpoint does, which can be made again, and makes all older files of the log superfluous. At every
    /// moment, the older or the newer export and the log after it are whole.
    fn make_room(&mut self) -> Result<(), StoreError> {
        let (snapshot, dirty) = self.shared.take_dirty();
        if self.unsynced {
            self.shared.sync_log()?;
        }
        let shared = self.shared.clone();
        let directory = &shared.directory;
        shared.spare.release_reserve()?;
        let mut exported = self.export_newer(&snapshot);
        if matches!(exported, Err(StoreError::Full(_))) && directory.has_checkpoint()? {
            self.remove_checkpoint()?;
            exported = self.export_newer(&snapshot);
            let mut attempt = 0;
            while matches!(exported, Err(StoreError::Full(_))) && attempt < FREED_ATTEMPTS {
                // Until sled's threads let go of its file, its room is not free.
                std::thread::sleep(FREED_RETRY);
                exported = self.export_newer(&snapshot);
                attempt += 1;
            }
        }
        if self.checkpoint.is_some() {
            shared.put_back(dirty);
        }
        match exported {
            Ok(()) => {
                self.prune_to(snapshot.revision)?;
                if self.checkpoint.is_some_and(|revision| revision < shared.oldest_logged()) {
                    self.remove_checkpoint()?;
                }
            }
            Err(error @ StoreError::Full(_)) => tracing::warn!(%error, "the disk is full, and deletes do not help yet"),
            Err(error) => return Err(error),
        }
        self.reserve();
        Ok(())
    }

    pub(super) fn export_newer(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        if self.export.is_none_or(|(revision, _)| revision < snapshot.revision) {
            let bytes = export::write(&self.shared.directory, snapshot)?;
            self.export = Some((snapshot.revision, bytes));
        }
        Ok(())
    }

    pub(super) fn remove_checkpoint(&mut self) -> Result<(), StoreError> {
        let directory = &self.shared.directory;
        let path = directory.checkpoint_path();
        self.checkpoint = None;
        directory.files.remove_directory(&path).map_err(|error| directory.failed("remove", &path, &error))
    }

    pub(super) fn work(&mut self) -> Result<(), StoreError> {
        if self.export.is_none() && self.shared.oldest_logged() > FIRST_REVISION {
            // Without one the checkpoint is all there is, and filling it may break it off.
            let snapshot = self.shared.history.snapshot();
            self.export_newer(&snapshot)?;
        }
        let (snapshot, dirty) = self.shared.take_dirty();
        if self.unsynced {
            // The checkpoint must not be ahead of a log that is not on the disk.
            self.shared.sync_log()?;
        }
        match self.fill(&snapshot, &dirty) {
            Ok(true) => self.checkpoint = Some(snapshot.revision),
            Ok(false) => {
                self.shared.put_back(dirty);
                return Ok(());
            }
            Err(error) => {
                self.checkpoint = None;
                return Err(error);
            }
        }
        drop(dirty);
        self.export_if_due(&snapshot)?;
        self.prune()
    }

    /// False if told to stop.
    fn fill(&mut self, snapshot: &Snapshot, dirty: &HashSet<Arc<str>>) -> Result<bool, StoreError> {
        let directory = &self.shared.directory;
        let path = directory.checkpoint_path();
        let failed = |detail: String| StoreError::Io(format!("cannot fill {}: {detail}", path.display()));
        if self.checkpoint.is_none() {
            directory.files.remove_directory(&path).map_err(|error| directory.failed("remove", &path, &error))?;
        }
        let checkpoint = Checkpoint::open(&path).map_err(failed)?;
        let stop = &self.shared.stopping;
        let filled = if self.checkpoint.is_none() {
            let keys: Vec<Arc<str>> = snapshot.entries().map(crate::Entry::key_shared).collect();
            checkpoint.fill(snapshot, keys.iter(), stop)
        } else {
            // In order, so that neighbours are written together.
            let mut keys: Vec<&Arc<str>> = dirty.iter().collect();
            keys.sort_unstable();
            checkpoint.fill(snapshot, keys.into_iter(), stop)
        };
        let closed = checkpoint.close(directory);
        let filled = filled.map_err(failed)?;
        closed.map_err(|error| StoreError::Stopped(error.to_string()))?;
        Ok(filled)
    }

    fn export_if_due(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let (revision, bytes) = self.export.unwrap_or_default();
        let directory = &self.shared.directory;
        // On a small disk the log cannot be kept for long.
        let is_tight = directory.files.room(&directory.path).is_ok_and(|room| room.free / 2 < self.export_after_bytes);
        let after = if is_tight { self.shared.segment_bytes } else { self.export_after_bytes };
        if self.shared.logged_since(revision) < after.max(bytes) {
            return Ok(());
        }
        self.export_newer(snapshot)
    }

    /// Removes files of the log that neither the checkpoint nor a rebuild of it needs.
    fn prune(&self) -> Result<(), StoreError> {
        self.prune_to(self.checkpoint.unwrap_or(0).min(self.export.map_or(0, |(revision, _)| revision)))
    }

    fn prune_to(&self, kept: Revision) -> Result<(), StoreError> {
        let directory = &self.shared.directory;
        for segment in self.shared.superfluous(kept) {
            let path = directory.log_path(segment.sequence);
            directory.files.remove(&path).map_err(|error| directory.failed("remove", &path, &error))?;
            self.shared.forget(segment);
        }
        Ok(())
    }
}
