//! The one thread that writes the log.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::frame::Base;
use super::log::{Log, LogError};
use super::queue::{Pending, Work};
use super::recovery::Segment;
use super::shared::Shared;
use crate::stage::Stage;
use crate::{Committed, StoreError};

/// One so many-th of a file of the log is kept for deletes.
const RESERVE_SHARE: u64 = 4;

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    pub(crate) checkpointer: Option<JoinHandle<()>>,
}

impl Writer {
    /// Commits group after group until the queue is closed, then ends the other thread and lets go of the directory.
    pub(crate) fn run(mut self) {
        while let Some(work) = self.shared.queue.take() {
            let done = match work {
                Work::Commit(group) => self.commit(group),
                Work::Roll(waiting) => {
                    // A new file after a new one would be room for nothing, as often as somebody tries again.
                    let rolled = if self.log.is_fresh() { Ok(()) } else { self.roll(0) };
                    for told in waiting {
                        drop(told.send(rolled.clone()));
                    }
                    // A disk that is full takes nothing, and nothing is lost by that.
                    rolled.or_else(|error| if matches!(error, StoreError::Full(_)) { Ok(()) } else { Err(error) })
                }
            };
            if done.is_err() {
                break;
            }
        }
    }

    fn commit(&mut self, group: Vec<Pending>) -> Result<(), StoreError> {
        let group = self.make_room(group)?;
        let mut stage = Stage::on(self.shared.history.snapshot());
        // Kept until this returns: who waits for their end is told of everything that was sealed with them.
        let mut holds = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        for pending in group {
            let committed = stage.commit_sealed(pending.transaction, &pending.sealed);
            holds.push(pending.sealed);
            answers.push((committed, pending.answer));
        }
        if !stage.events.is_empty() {
            match self.log.append(&stage) {
                Ok(bytes) => self.shared.publish(stage, bytes),
                Err(LogError::Full(error)) => {
                    let full = self.shared.set_full(&error);
                    for (_, answer) in answers {
                        drop(answer.send(Err(full.clone())));
                    }
                    return Ok(());
                }
                Err(LogError::Failed(error)) => {
                    let stopped = self.failed("the log cannot be written", &error);
                    for (_, answer) in answers {
                        drop(answer.send(Err(stopped.clone())));
                    }
                    return Err(stopped);
                }
            }
        }
        for (result, answer) in answers {
            drop::<Result<(), Result<Committed, StoreError>>>(answer.send(result));
        }
        self.shared.history.wake();
        Ok(())
    }

    /// Returns what can be written now, in a file that has room for it; refuses the rest.
    fn make_room(&mut self, group: Vec<Pending>) -> Result<Vec<Pending>, StoreError> {
        let mut group = group;
        // The last part of a file is kept for deletes until there is another file.
        if self.shared.is_full() || self.log.room() < self.log.allocated() / RESERVE_SHARE {
            match self.shared.spare.prepare() {
                Ok(()) => self.shared.clear_full(),
                Err(error) => {
                    self.shared.set_full(&error);
                    group = self.refuse(group, u64::MAX);
                }
            }
        }
        let bytes = group_bytes(&group);
        if bytes <= self.log.room() || group.is_empty() {
            return Ok(group);
        }
        match self.roll(bytes) {
            Ok(()) => Ok(group),
            Err(StoreError::Full(_)) => Ok(self.refuse(group, self.log.room())),
            Err(stopped) => {
                for pending in group {
                    drop(pending.answer.send(Err(stopped.clone())));
                }
                Err(stopped)
            }
        }
    }

    /// Goes on in a new file that has room for so many bytes.
    fn roll(&mut self, bytes: u64) -> Result<(), StoreError> {
        let base = Base::of(&self.shared.history.snapshot());
        match self.log.roll(base, bytes) {
            Ok(()) => {
                let segment = Segment { sequence: self.log.sequence(), base: base.revision };
                self.shared.rolled(segment, self.log.file());
                Ok(())
            }
            Err(LogError::Full(error)) => Err(self.shared.set_full(&error)),
            Err(LogError::Failed(error)) => Err(self.failed("a file of the log cannot be created", &error)),
        }
    }

    /// Stops the store, so that whoever is told of the failure finds it stopped. The log is not touched any more.
    fn failed(&self, what: &str, error: &std::io::Error) -> StoreError {
        let stopped = StoreError::Stopped(format!("{what}: {error}"));
        self.shared.fail(stopped.clone());
        stopped
    }

    /// Keeps what may use the reserve, as long as it fits into `room`.
    fn refuse(&self, group: Vec<Pending>, room: u64) -> Vec<Pending> {
        let full = self.shared.full();
        let mut kept = Vec::new();
        let mut bytes = 0;
        for pending in group {
            let with = bytes + pending.bytes;
            if pending.transaction.may_use_reserve() && Log::group_bytes(kept.len() + 1, with) <= room {
                bytes = with;
                kept.push(pending);
            } else {
                drop(pending.answer.send(Err(full.clone())));
            }
        }
        kept
    }
}

impl Drop for Writer {
    /// Runs when the thread ends for whatever reason, a panic included.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail(StoreError::Stopped("the writer panicked".into()));
        }
        let failed = self.shared.failure();
        let reason = failed.clone().unwrap_or_else(|| StoreError::Stopped("the store was closed".into()));
        let reason = self.shared.queue.fail(reason);
        self.shared.stop_background();
        if let Some(checkpointer) = self.checkpointer.take() {
            drop(checkpointer.join());
        }
        // It may have failed while it ended.
        let result = match failed.or_else(|| self.shared.failure()) {
            Some(error) => Err(error),
            None => self
                .log
                .close(Base::of(&self.shared.history.snapshot()))
                .map_err(|error| StoreError::Io(format!("cannot sync the log: {error}"))),
        };
        self.shared.history.close(reason);
        self.shared.finished(result);
    }
}

fn group_bytes(group: &[Pending]) -> u64 {
    Log::group_bytes(group.len(), group.iter().map(|pending| pending.bytes).sum())
}

/// The error for a full disk.
pub(crate) fn full_error(error: &std::io::Error) -> StoreError {
    StoreError::Full(error.to_string())
}
