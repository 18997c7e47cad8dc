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
mod head;
mod log;
mod queue;
mod recovery;
mod renewal;
mod restore;
mod shared;
mod shelf;
mod size;
mod writer;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use self::checkpointer::{Checkpointer, Todo};
use self::directory::{Directory, corrupt};
use self::frame::{Base, FORMAT, HEAD_SINCE};
use self::head::{End, HeadFile};
use self::log::{Log, Spare};
use self::queue::Queue;
use self::recovery::Recovered;
use self::renewal::Renewal;
pub(crate) use self::restore::{BackupHeader, backup_frame, backup_header, find_store, read_backup, write_store};
use self::shared::{Dirty, Shared};
use self::writer::Writer;
use crate::files::{Disk, Files};
use crate::history::{History, HistoryLimits};
use crate::limits::{
    CHECKPOINT_AFTER_LOG_BYTES, CHECKPOINT_QUIET, EXPORT_AFTER_LOG_BYTES_MIN, MARK_BYTES_MAX, SEGMENT_BYTES,
    SEGMENT_BYTES_MIN, SEGMENT_DISK_SHARE,
};
use crate::sealing::{self, Sealing};
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
    /// Whether the directory was opened before: if it holds no store, it was lost, and an empty one must not take
    /// its place.
    pub must_exist: bool,
    /// What makes of values what is written, if that is not what they are.
    pub sealing: Option<Arc<dyn Sealing>>,
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
            must_exist: false,
            sealing: None,
            files: Arc::new(Disk),
        }
    }
}

/// A store on a disk. Dropping it does what [`Store::close`] does, and waits for it.
pub struct Durable {
    shared: Arc<Shared>,
    sealing: Option<Arc<dyn Sealing>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Durable {
    /// Opens a data directory: loads the checkpoint, replays the log and starts the threads. Blocks meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it, [`StoreError::NewerFormat`] if a newer version wrote it,
    /// [`StoreError::Corrupt`] if what is stored makes no whole, [`StoreError::Missing`] if there is nothing though there
    /// was, [`StoreError::Unreadable`] if a value cannot be opened with the keys there are, [`StoreError::Full`] and [`StoreError::Io`].
    pub fn open(config: DurableConfig) -> Result<Arc<Self>, StoreError> {
        let (directory, lock) = Directory::open(config.files.clone(), &config.directory)?;
        let format = directory.format()?;
        if config.must_exist && format.is_none() {
            return Err(StoreError::Missing { path: directory.path.display().to_string() });
        }
        directory.remove_remains()?;
        let head = match format {
            // What an older version went on with is not in the head that it left alone.
            Some(HEAD_SINCE..) => Some(head::read(&directory)?.ok_or_else(|| {
                corrupt(&directory.head_path(), "it is missing, so nothing tells whether the log is whole")
            })?),
            _ => None,
        };
        let spare = Arc::new(Spare::new(directory.clone(), segment_bytes(&directory, config.segment_bytes)));
        let unsynced = config.sync == SyncPolicy::Never;
        let mut recovered = recovery::recover(&directory, &spare, unsynced, format, head.as_ref())?;
        sealing::open(&mut recovered.snapshot, config.sealing.as_deref(), &directory.path)?;
        let end = End {
            sequence: recovered.position.sequence,
            state: Base::of(&recovered.snapshot),
            offset: recovered.position.offset,
        };
        let head = HeadFile::open(&directory, head, end)?;
        if format != Some(FORMAT) {
            directory.put_format()?;
        }
        Self::start(&config, directory, spare, lock, recovered, head)
    }

    fn start(
        config: &DurableConfig,
        directory: Directory,
        spare: Arc<Spare>,
        lock: File,
        recovered: Recovered,
        head: HeadFile,
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
        let mark = renewal::mark(&directory);
        let shared = Arc::new(Shared {
            history: History::new(snapshot, config.history),
            queue: Queue::new(),
            directory,
            spare: spare.clone(),
            segment_bytes: spare.bytes(),
            segments: Mutex::new(segments),
            log_file: Mutex::new(position.file.clone()),
            checkpoint_after_bytes: config.checkpoint_after_bytes,
            checkpoint_quiet: config.checkpoint_quiet,
            dirty: Mutex::new(Dirty { keys: dirty, bytes: replayed_bytes }),
            todo: Mutex::new(Todo {
                spare: true,
                checkpoint: checkpoint_due,
                checkpoint_when_quiet: replayed_bytes >= config.checkpoint_after_bytes,
                renew: false,
                stop: false,
            }),
            renewals: Mutex::default(),
            mark: Mutex::new(mark),
            work: Condvar::new(),
            stopping: AtomicBool::new(false),
            full: Mutex::new(None),
            failure: watch::Sender::new(None),
            finished: watch::Sender::new(None),
            lock: Mutex::new(Some(lock)),
        });
        let mut checkpointer = Checkpointer {
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
        let log = Log::new(unsynced, spare, position, head);
        let writer = Writer { shared: shared.clone(), log, checkpointer: Some(checkpointer) };
        let writer =
            std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run()).map_err(spawn)?;
        Ok(Arc::new(Self { shared, sealing: config.sealing.clone(), writer: Mutex::new(Some(writer)) }))
    }
}

/// The size of a file of the log: a small disk has small ones.
fn segment_bytes(directory: &Directory, wanted: u64) -> u64 {
    let room = directory.files.room(&directory.path).map_or(u64::MAX, |room| room.total);
    wanted.min((room / SEGMENT_DISK_SHARE).max(SEGMENT_BYTES_MIN))
}

impl Store for Durable {
    fn snapshot(&self) -> Snapshot {
        self.shared.history.snapshot()
    }

    fn snapshot_at(&self, revision: Revision, prefix: &str) -> Result<Snapshot, StoreError> {
        self.shared.history.snapshot_at(revision, prefix)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, Result<Committed, StoreError>> {
        let sealed = transaction.check_limits().and_then(|bytes| match &self.sealing {
            None => Ok((Vec::new(), bytes)),
            Some(sealing) => sealing::seal(&**sealing, &transaction).map(|(sealed, more)| (sealed, bytes + more)),
        });
        match sealed {
            Ok((sealed, bytes)) => self.shared.queue.submit(transaction, sealed, bytes),
            Err(error) => Box::pin(async { Err(error) }),
        }
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

    fn renew(&self, mark: String) -> BoxFuture<'static, Result<(), StoreError>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let (what, size, limit) = ("mark", mark.len(), MARK_BYTES_MAX);
            if size > limit {
                return Err(StoreError::TooLarge { what, size, limit });
            }
            let gone = |_| StoreError::Stopped("the store was closed".into());
            shared.queue.roll().await.map_err(gone)??;
            let (done, told) = tokio::sync::oneshot::channel();
            shared.renew(Renewal { mark, done });
            drop(shared);
            told.await.map_err(gone)?
        })
    }

    fn renewed(&self) -> Option<String> {
        self.shared.mark.lock().clone()
    }

    fn disk_bytes(&self) -> Option<u64> {
        size::allocated(&self.shared.directory.path).ok()
    }

    fn failure(&self) -> Option<StoreError> {
        self.shared.failure()
    }

    fn failed(&self) -> BoxFuture<'static, StoreError> {
        let mut failure = self.shared.failure.subscribe();
        Box::pin(async move {
            let failed = failure.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
            match failed {
                Some(error) => error,
                None => std::future::pending().await,
            }
        })
    }

    fn forget_old(&self) {
        self.shared.history.forget_old();
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
