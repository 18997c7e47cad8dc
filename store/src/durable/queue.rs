//! Commits on their way to the writer, bounded by bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::limits::{GROUP_BYTES_MAX, QUEUE_BYTES_MAX, QUEUED_COMMIT_BYTES_MIN};
use crate::sealing::SealedValues;
use crate::{Committed, StoreError, Transaction};

/// One commit that waits.
pub(crate) struct Pending {
    pub(crate) transaction: Transaction,
    /// What is written for its values, where that is not what they are.
    pub(crate) sealed: SealedValues,
    /// What it takes in the log, at most.
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Committed, StoreError>>,
    /// Its share of the queue, given back when it is answered.
    _share: OwnedSemaphorePermit,
}

/// Told once what is committed from now on goes into a new file of the log.
pub(crate) type Roll = oneshot::Sender<Result<(), StoreError>>;

/// What the writer is to do next.
pub(crate) enum Work {
    /// Commit a group.
    Commit(Vec<Pending>),
    /// Go on in a new file of the log, whatever room there is in the old one.
    Roll(Vec<Roll>),
}

/// The queue between the callers and the one writer.
pub(crate) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pending>,
    /// Whoever waits for the log to go on in a new file.
    rolls: Vec<Roll>,
    closed: Option<StoreError>,
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Arc::new(Self { state: Mutex::default(), ready: Condvar::new(), room })
    }

    /// Queues a commit, at once if there is room, or else when the future is polled and there is.
    /// In the log it takes at most `bytes`, which are within the limits.
    pub(crate) fn submit(self: &Arc<Self>, transaction: Transaction, sealed: SealedValues, bytes: usize) -> Answer {
        let share = u32::try_from(bytes.max(QUEUED_COMMIT_BYTES_MIN)).expect("bounded by the limits of a transaction");
        if let Ok(share) = self.room.clone().try_acquire_many_owned(share) {
            let answer = self.push(transaction, sealed, bytes, share);
            return Box::pin(async { answer?.await.unwrap_or_else(|_| Err(stopped())) });
        }
        let queue = self.clone();
        Box::pin(async move {
            let Ok(share) = queue.room.clone().acquire_many_owned(share).await else {
                return Err(queue.closed().unwrap_or_else(stopped));
            };
            let answer = queue.push(transaction, sealed, bytes, share);
            drop(queue);
            answer?.await.unwrap_or_else(|_| Err(stopped()))
        })
    }

    fn push(
        &self,
        transaction: Transaction,
        sealed: SealedValues,
        bytes: usize,
        share: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Committed, StoreError>>, StoreError> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        state.waiting.push_back(Pending { transaction, sealed, bytes, answer, _share: share });
        drop(state);
        self.ready.notify_one();
        Ok(receiver)
    }

    /// Asks for a new file of the log after everything that is queued by now.
    pub(crate) fn roll(&self) -> oneshot::Receiver<Result<(), StoreError>> {
        let (told, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        match &state.closed {
            Some(error) => drop(told.send(Err(error.clone()))),
            None => state.rolls.push(told),
        }
        drop(state);
        self.ready.notify_one();
        receiver
    }

    /// Waits for commits and takes as many as fit a group; none once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            if !state.waiting.is_empty() {
                let mut bytes = 0;
                let mut fits = |pending: &Pending| {
                    bytes += pending.bytes;
                    bytes <= GROUP_BYTES_MAX
                };
                let count = state.waiting.iter().take_while(|pending| fits(pending)).count().max(1);
                return Some(Work::Commit(state.waiting.drain(..count).collect()));
            }
            if !state.rolls.is_empty() {
                return Some(Work::Roll(std::mem::take(&mut state.rolls)));
            }
            if state.closed.is_some() {
                return None;
            }
            self.ready.wait(&mut state);
        }
    }

    /// Accepts nothing further; what waits is still taken.
    pub(crate) fn close(&self, reason: StoreError) {
        self.state.lock().closed.get_or_insert(reason);
        self.room.close();
        self.ready.notify_all();
    }

    /// Accepts nothing further, and answers what waits with the reason; returns the first reason there was.
    pub(crate) fn fail(&self, reason: StoreError) -> StoreError {
        let (waiting, reason) = {
            let mut state = self.state.lock();
            let reason = state.closed.get_or_insert(reason).clone();
            for told in state.rolls.drain(..) {
                drop(told.send(Err(reason.clone())));
            }
            (std::mem::take(&mut state.waiting), reason)
        };
        self.ready.notify_all();
        self.room.close();
        for pending in waiting {
            drop(pending.answer.send(Err(reason.clone())));
        }
        reason
    }

    fn closed(&self) -> Option<StoreError> {
        self.state.lock().closed.clone()
    }
}

/// What a caller of commit waits for.
pub(crate) type Answer = BoxFuture<'static, Result<Committed, StoreError>>;

fn stopped() -> StoreError {
    StoreError::Stopped("the writer is gone".into())
}
