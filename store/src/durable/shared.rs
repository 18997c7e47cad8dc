//! What the threads and the callers share.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::checkpointer::Todo;
use super::directory::Directory;
use super::log::Spare;
use super::queue::Queue;
use super::recovery::Segment;
use super::renewal::Renewal;
use super::writer::full_error;
use crate::files::DataFile;
use crate::history::History;
use crate::stage::Stage;
use crate::{Revision, Snapshot, StoreError};

/// How often a full disk is looked at again.
const FULL_RECHECK: Duration = Duration::from_secs(1);

/// What was written since the checkpoint.
pub(super) struct Dirty {
    pub(super) keys: HashSet<Arc<str>>,
    /// How much log that took.
    pub(super) bytes: u64,
}

/// What the threads and the callers share.
pub(crate) struct Shared {
    pub(super) history: Arc<History>,
    pub(super) queue: Arc<Queue>,
    pub(super) directory: Directory,
    pub(super) spare: Arc<Spare>,
    pub(super) segment_bytes: u64,
    pub(super) checkpoint_after_bytes: u64,
    pub(super) checkpoint_quiet: Duration,
    /// The files of the log, oldest first.
    pub(super) segments: Mutex<Vec<Segment>>,
    pub(super) log_file: Mutex<Arc<dyn DataFile>>,
    /// Locked while a stage is published, so that it and a snapshot fit together.
    pub(super) dirty: Mutex<Dirty>,
    pub(super) todo: Mutex<Todo>,
    pub(super) renewals: Mutex<Vec<Renewal>>,
    /// What the newest renewal was marked with.
    pub(super) mark: Mutex<Option<String>>,
    pub(super) work: Condvar,
    pub(super) stopping: AtomicBool,
    pub(super) full: Mutex<Option<StoreError>>,
    /// Why the store stopped without being told to.
    pub(super) failure: watch::Sender<Option<StoreError>>,
    pub(super) finished: watch::Sender<Option<Result<(), StoreError>>>,
    pub(super) lock: Mutex<Option<File>>,
}

impl Shared {
    pub(super) fn begin_close(&self) {
        self.queue.close(StoreError::Stopped("the store was closed".into()));
    }

    /// Makes a stage visible that is durable in so many bytes of log.
    pub(super) fn publish(&self, stage: Stage, bytes: u64) {
        let keys: Vec<Arc<str>> = stage.events.iter().map(crate::Event::key_shared).collect();
        let mut dirty = self.dirty.lock();
        dirty.keys.extend(keys);
        let before = dirty.bytes;
        dirty.bytes += bytes;
        let is_enough = before < self.checkpoint_after_bytes && dirty.bytes >= self.checkpoint_after_bytes;
        // What is written to a full disk are deletes, which may have made room.
        let is_due = is_enough || self.is_full();
        self.history.publish(stage);
        drop(dirty);
        if is_due {
            self.todo.lock().checkpoint_when_quiet = true;
            self.work.notify_one();
        }
    }

    /// The newest state and the keys that differ from the checkpoint there.
    pub(super) fn take_dirty(&self) -> (Snapshot, HashSet<Arc<str>>) {
        let mut dirty = self.dirty.lock();
        dirty.bytes = 0;
        (self.history.snapshot(), std::mem::take(&mut dirty.keys))
    }

    pub(super) fn put_back(&self, keys: HashSet<Arc<str>>) {
        self.dirty.lock().keys.extend(keys);
    }

    pub(super) fn rolled(&self, segment: Segment, file: Arc<dyn DataFile>) {
        self.segments.lock().push(segment);
        *self.log_file.lock() = file;
        let mut todo = self.todo.lock();
        todo.spare = true;
        todo.checkpoint = true;
        self.work.notify_one();
    }

    /// Stops the store after a failure, the first of which counts.
    pub(super) fn fail(&self, error: StoreError) {
        let is_first = self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| error.clone());
            is_first
        });
        if is_first {
            tracing::error!(%error, directory = %self.directory.path.display(), "the store stops");
        }
        self.queue.fail(self.failure().unwrap_or(error));
    }

    pub(super) fn failure(&self) -> Option<StoreError> {
        self.failure.borrow().clone()
    }

    pub(super) fn sync_log(&self) -> Result<(), StoreError> {
        let file = self.log_file.lock().clone();
        file.sync().map_err(|error| StoreError::Stopped(format!("the log cannot be synced: {error}")))
    }

    /// Waits until there is something to do. As long as a checkpoint waits for quiet, it looks whether that has come;
    /// as long as the disk is full, whether somebody else made room.
    pub(super) fn wait_for_work(&self) -> Todo {
        let mut todo = self.todo.lock();
        while !(todo.spare || todo.checkpoint || todo.renew || todo.stop) {
            if !todo.checkpoint_when_quiet {
                if !self.is_full() {
                    self.work.wait(&mut todo);
                } else if self.work.wait_for(&mut todo, FULL_RECHECK).timed_out() {
                    todo.spare = true;
                }
                continue;
            }
            let before = self.history.revision();
            let waited = self.work.wait_for(&mut todo, self.checkpoint_quiet);
            todo.checkpoint |= waited.timed_out() && self.history.revision() == before;
        }
        let rest = Todo { checkpoint_when_quiet: todo.checkpoint_when_quiet && !todo.checkpoint, ..Todo::default() };
        std::mem::replace(&mut *todo, rest)
    }

    /// Has everything written anew; told when that is done.
    pub(super) fn renew(&self, renewal: Renewal) {
        self.renewals.lock().push(renewal);
        self.todo.lock().renew = true;
        self.work.notify_one();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn stop_background(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.todo.lock().stop = true;
        self.work.notify_one();
    }

    /// About how many bytes were logged after `revision`: whole files of the log.
    pub(super) fn logged_since(&self, revision: Revision) -> u64 {
        let segments = self.segments.lock();
        segments.iter().filter(|segment| segment.base >= revision).count() as u64 * self.segment_bytes
    }

    /// Files of the log whose commits all are at or before `revision`.
    pub(super) fn superfluous(&self, revision: Revision) -> Vec<Segment> {
        let segments = self.segments.lock();
        segments.windows(2).take_while(|pair| pair[1].base <= revision).map(|pair| pair[0]).collect()
    }

    /// The oldest revision after which the log has everything.
    pub(super) fn oldest_logged(&self) -> Revision {
        self.segments.lock().first().map_or(0, |segment| segment.base)
    }

    pub(super) fn forget(&self, segment: Segment) {
        self.segments.lock().retain(|kept| kept.sequence != segment.sequence);
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.lock().is_some()
    }

    pub(super) fn full(&self) -> StoreError {
        self.full.lock().clone().unwrap_or_else(|| StoreError::Full("no room for the log".into()))
    }

    pub(super) fn set_full(&self, error: &std::io::Error) -> StoreError {
        let error = full_error(error);
        let was_full = self.full.lock().replace(error.clone()).is_some();
        if !was_full {
            self.todo.lock().checkpoint = true;
            self.work.notify_one();
        }
        error
    }

    pub(super) fn clear_full(&self) {
        *self.full.lock() = None;
    }

    /// Lets go of the directory and tells whoever waits for it.
    pub(super) fn finished(&self, result: Result<(), StoreError>) {
        if let Some(lock) = self.lock.lock().take() {
            // Explicitly: a process that is just being started by another thread may hold the file a moment longer.
            drop(lock.unlock());
        }
        self.finished.send_replace(Some(result));
    }
}
