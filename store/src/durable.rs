//! The durable backend: a write-ahead log of our own, with a checkpoint in sled behind it.
//!
//! One thread, the writer, takes commits from a bounded queue in groups: it checks their conditions against the newest
//! map, numbers them, appends one checksummed frame to the log, waits for the disk once, publishes map and events, and
//! answers. A second thread prepares log files, fills the checkpoint when a log file is full, and removes older ones.
//! Neither does anything while nothing is committed.

mod checkpoint;
mod checkpointer;
mod directory;
mod export;
mod frame;
mod log;
mod queue;
mod recovery;
mod shelf;
mod writer;

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use self::checkpointer::{Checkpointer, Todo};
use self::directory::Directory;
use self::log::{Log, Spare};
use self::queue::Queue;
use self::recovery::{Recovered, Segment};
use self::writer::{Writer, full_error};
use crate::files::{DataFile, Disk, Files};
use crate::history::{History, HistoryLimits};
use crate::limits::{CHECKPOINT_AFTER_LOG_BYTES, CHECKPOINT_QUIET, EXPORT_AFTER_LOG_BYTES_MIN, SEGMENT_BYTES};
use crate::stage::Stage;
use crate::{Committed, Revision, Snapshot, Store, StoreError, Transaction, Watch};

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// Always: what was acknowledged survives a power failure.
    #[default]
    Always,
    /// Never: for throw-away clusters. A kill loses nothing, a power failure may lose much.
    Never,
}

/// How to open a [`Durable`].
#[derive(Clone)]
pub struct DurableConfig {
    /// The data directory; created if absent.
    pub directory: PathBuf,
    /// Whether commits wait for the disk.
    pub sync: SyncPolicy,
    /// How much history is kept for readers and watchers.
    pub history: HistoryLimits,
    /// The size of a file of the log; when one is full, a checkpoint is made.
    pub segment_bytes: u64,
    /// After how many bytes of log a checkpoint is made too, once nothing is written for a while: opening then has
    /// little to replay.
    pub checkpoint_after_bytes: u64,
    /// How long that while is.
    pub checkpoint_quiet: Duration,
    /// After how many bytes of log an export is made, at least.
    pub export_after_bytes: u64,
    /// The layer below.
    pub files: Arc<dyn Files>,
}

impl DurableConfig {
    /// The defaults, in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            sync: SyncPolicy::Always,
            history: HistoryLimits::default(),
            segment_bytes: SEGMENT_BYTES,
            checkpoint_after_bytes: CHECKPOINT_AFTER_LOG_BYTES,
            checkpoint_quiet: CHECKPOINT_QUIET,
            export_after_bytes: EXPORT_AFTER_LOG_BYTES_MIN,
            files: Arc::new(Disk),
        }
    }
}

/// A store on a disk. Dropping it does what [`Store::close`] does, and waits for it.
pub struct Durable {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Durable {
    /// Opens a data directory: loads the checkpoint, replays the log and starts the threads. Blocks meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it, [`StoreError::NewerFormat`] if a newer version wrote it,
    /// [`StoreError::Corrupt`] if what is stored makes no whole, [`StoreError::Full`] and [`StoreError::Io`].
    pub fn open(config: DurableConfig) -> Result<Arc<Self>, StoreError> {
        let (directory, lock) = Directory::open(config.files.clone(), &config.directory)?;
        let spare = Arc::new(Spare::new(directory.clone(), config.segment_bytes));
        let unsynced = config.sync == SyncPolicy::Never;
        let recovered = recovery::recover(&directory, &spare, unsynced)?;
        Self::start(&config, directory, spare, lock, recovered)
    }

    fn start(
        config: &DurableConfig,
        directory: Directory,
        spare: Arc<Spare>,
        lock: File,
        recovered: Recovered,
    ) -> Result<Arc<Self>, StoreError> {
        let Recovered {
            snapshot,
            position,
            segments,
            dirty,
            checkpoint,
            loaded,
            export,
            checkpoint_due,
            replayed_bytes,
        } = recovered;
        let unsynced = config.sync == SyncPolicy::Never;
        let shared = Arc::new(Shared {
            history: History::new(snapshot, config.history),
            queue: Queue::new(),
            directory,
            spare: spare.clone(),
            segment_bytes: config.segment_bytes,
            segments: Mutex::new(segments),
            log_file: Mutex::new(position.file.clone()),
            checkpoint_after_bytes: config.checkpoint_after_bytes,
            checkpoint_quiet: config.checkpoint_quiet,
            dirty: Mutex::new(Dirty { keys: dirty, bytes: replayed_bytes }),
            todo: Mutex::new(Todo {
                spare: true,
                checkpoint: checkpoint_due,
                checkpoint_when_quiet: replayed_bytes >= config.checkpoint_after_bytes,
                stop: false,
            }),
            work: Condvar::new(),
            stopping: AtomicBool::new(false),
            full: Mutex::new(None),
            failure: OnceLock::new(),
            finished: watch::Sender::new(None),
            lock: Mutex::new(Some(lock)),
        });
        let checkpointer = Checkpointer {
            shared: shared.clone(),
            checkpoint,
            loaded,
            export,
            export_after_bytes: config.export_after_bytes,
            unsynced,
        };
        let spawn = |error: std::io::Error| StoreError::Io(format!("cannot start a thread: {error}"));
        let checkpointer = std::thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || checkpointer.run())
            .map_err(spawn)?;
        let log = Log::new(unsynced, spare, position);
        let writer = Writer { shared: shared.clone(), log, checkpointer: Some(checkpointer), failed: None };
        let writer =
            std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run()).map_err(spawn)?;
        Ok(Arc::new(Self { shared, writer: Mutex::new(Some(writer)) }))
    }
}

impl Store for Durable {
    fn snapshot(&self) -> Snapshot {
        self.shared.history.snapshot()
    }

    fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, StoreError> {
        self.shared.history.snapshot_at(revision)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, Result<Committed, StoreError>> {
        self.shared.queue.submit(transaction)
    }

    fn watch(&self, after: Revision) -> Result<Watch, StoreError> {
        self.shared.history.watch(after, "")
    }

    fn watch_prefix(&self, after: Revision, prefix: &str) -> Result<Watch, StoreError> {
        self.shared.history.watch(after, prefix)
    }

    fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.shared.history.compact(revision)
    }

    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        self.shared.begin_close();
        let mut finished = self.shared.finished.subscribe();
        Box::pin(async move {
            match finished.wait_for(Option::is_some).await {
                Ok(result) => result.clone().expect("waited for"),
                Err(_) => Err(StoreError::Stopped("the writer is gone".into())),
            }
        })
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.shared.begin_close();
        if let Some(writer) = self.writer.lock().take() {
            drop(writer.join());
        }
    }
}

/// What was written since the checkpoint.
struct Dirty {
    keys: HashSet<Arc<str>>,
    /// How much log that took.
    bytes: u64,
}

/// What the threads and the callers share.
pub(crate) struct Shared {
    history: Arc<History>,
    queue: Arc<Queue>,
    directory: Directory,
    spare: Arc<Spare>,
    segment_bytes: u64,
    checkpoint_after_bytes: u64,
    checkpoint_quiet: Duration,
    /// The files of the log, oldest first.
    segments: Mutex<Vec<Segment>>,
    log_file: Mutex<Arc<dyn DataFile>>,
    /// Locked while a stage is published, so that it and a snapshot fit together.
    dirty: Mutex<Dirty>,
    todo: Mutex<Todo>,
    work: Condvar,
    stopping: AtomicBool,
    full: Mutex<Option<StoreError>>,
    /// Why the thread in the background gave up.
    failure: OnceLock<StoreError>,
    finished: watch::Sender<Option<Result<(), StoreError>>>,
    lock: Mutex<Option<File>>,
}

impl Shared {
    fn begin_close(&self) {
        self.queue.close(StoreError::Stopped("the store was closed".into()));
    }

    /// Makes a stage visible that is durable in so many bytes of log.
    fn publish(&self, stage: Stage, bytes: u64) {
        let keys: Vec<Arc<str>> = stage.events.iter().map(crate::Event::key_shared).collect();
        let mut dirty = self.dirty.lock();
        dirty.keys.extend(keys);
        let before = dirty.bytes;
        dirty.bytes += bytes;
        let is_due = before < self.checkpoint_after_bytes && dirty.bytes >= self.checkpoint_after_bytes;
        self.history.publish(stage);
        drop(dirty);
        if is_due {
            self.todo.lock().checkpoint_when_quiet = true;
            self.work.notify_one();
        }
    }

    /// The newest state and the keys that differ from the checkpoint there.
    fn take_dirty(&self) -> (Snapshot, HashSet<Arc<str>>) {
        let mut dirty = self.dirty.lock();
        dirty.bytes = 0;
        (self.history.snapshot(), std::mem::take(&mut dirty.keys))
    }

    fn put_back(&self, keys: HashSet<Arc<str>>) {
        self.dirty.lock().keys.extend(keys);
    }

    fn rolled(&self, segment: Segment, file: Arc<dyn DataFile>) {
        self.segments.lock().push(segment);
        *self.log_file.lock() = file;
        let mut todo = self.todo.lock();
        todo.spare = true;
        todo.checkpoint = true;
        self.work.notify_one();
    }

    /// Stops the store after a failure in the background.
    fn fail(&self, error: StoreError) {
        let error = self.failure.get_or_init(|| error).clone();
        self.queue.fail(error);
    }

    fn failure(&self) -> Option<StoreError> {
        self.failure.get().cloned()
    }

    fn sync_log(&self) -> Result<(), StoreError> {
        let file = self.log_file.lock().clone();
        file.sync().map_err(|error| StoreError::Stopped(format!("the log cannot be synced: {error}")))
    }

    /// Waits until there is something to do. As long as a checkpoint waits for quiet, it looks whether that has come.
    fn wait_for_work(&self) -> Todo {
        let mut todo = self.todo.lock();
        while !(todo.spare || todo.checkpoint || todo.stop) {
            if !todo.checkpoint_when_quiet {
                self.work.wait(&mut todo);
                continue;
            }
            let before = self.history.revision();
            let waited = self.work.wait_for(&mut todo, self.checkpoint_quiet);
            todo.checkpoint |= waited.timed_out() && self.history.revision() == before;
        }
        let rest = Todo { checkpoint_when_quiet: todo.checkpoint_when_quiet && !todo.checkpoint, ..Todo::default() };
        std::mem::replace(&mut *todo, rest)
    }

    fn stop_background(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.todo.lock().stop = true;
        self.work.notify_one();
    }

    /// About how many bytes were logged after `revision`.
    fn logged_since(&self, revision: Revision) -> u64 {
        let segments = self.segments.lock();
        segments.iter().filter(|segment| segment.base >= revision).count() as u64 * self.segment_bytes
    }

    /// Files of the log whose commits all are at or before `revision`.
    fn superfluous(&self, revision: Revision) -> Vec<Segment> {
        let segments = self.segments.lock();
        segments.windows(2).take_while(|pair| pair[1].base <= revision).map(|pair| pair[0]).collect()
    }

    fn forget(&self, segment: Segment) {
        self.segments.lock().retain(|kept| kept.sequence != segment.sequence);
    }

    fn is_full(&self) -> bool {
        self.full.lock().is_some()
    }

    fn full(&self) -> StoreError {
        self.full.lock().clone().unwrap_or_else(|| StoreError::Full("no room for the log".into()))
    }

    fn set_full(&self, error: &std::io::Error) -> StoreError {
        let error = full_error(error);
        *self.full.lock() = Some(error.clone());
        error
    }

    fn clear_full(&self) {
        *self.full.lock() = None;
    }

    /// Lets go of the directory and tells whoever waits for it.
    fn finished(&self, result: Result<(), StoreError>) {
        self.lock.lock().take();
        self.finished.send_replace(Some(result));
    }
}
