//! The thread that works behind the writer: it reserves the next file of the log, brings the checkpoint up (when a
//! file is full, or some of it and nothing more is written), writes exports, and removes what they made superfluous. It sleeps until it is told of work.

use std::collections::HashSet;
use std::sync::Arc;

use super::Shared;
use super::checkpoint::{Checkpoint, release_memory};
use super::directory::is_full;
use super::export;
use crate::{Revision, Snapshot, StoreError};

/// What is to be done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Todo {
    pub(crate) spare: bool,
    pub(crate) checkpoint: bool,
    pub(crate) checkpoint_when_quiet: bool,
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

impl Checkpointer {
    pub(crate) fn run(mut self) {
        drop(self.loaded.take());
        release_memory();
        loop {
            let todo = self.shared.wait_for_work();
            if todo.stop {
                return;
            }
            if todo.spare {
                self.reserve();
            }
            if todo.checkpoint {
                match self.work() {
                    Ok(()) => {}
                    // What could not be synced may be lost, so nothing can be promised any more.
                    Err(error @ StoreError::Stopped(_)) => {
                        tracing::error!(%error, "the store stops");
                        self.shared.fail(error);
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "the checkpoint has to wait"),
                }
            }
        }
    }

    fn reserve(&self) {
        if let Err(error) = self.shared.spare.prepare() {
            if is_full(&error) {
                tracing::warn!(%error, "the disk is full: only deletes are written");
            }
            self.shared.set_full(&error);
        }
    }

    fn work(&mut self) -> Result<(), StoreError> {
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
        if self.shared.logged_since(revision) < self.export_after_bytes.max(bytes) {
            return Ok(());
        }
        let bytes = export::write(&self.shared.directory, snapshot)?;
        self.export = Some((snapshot.revision, bytes));
        Ok(())
    }

    /// Removes files of the log that neither the checkpoint nor a rebuild of it needs.
    fn prune(&self) -> Result<(), StoreError> {
        let kept = self.checkpoint.unwrap_or(0).min(self.export.map_or(0, |(revision, _)| revision));
        let directory = &self.shared.directory;
        for segment in self.shared.superfluous(kept) {
            let path = directory.log_path(segment.sequence);
            directory.files.remove(&path).map_err(|error| directory.failed("remove", &path, &error))?;
            self.shared.forget(segment);
        }
        Ok(())
    }
}
