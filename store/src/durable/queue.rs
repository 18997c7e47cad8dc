//! Commits on their way to the writer, bounded by bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::limits::{GROUP_BYTES_MAX, QUEUE_BYTES_MAX, QUEUED_COMMIT_BYTES_MIN};
use crate::{Committed, StoreError, Transaction};

/// One commit that waits.
pub(crate) struct Pending {
    pub(crate) transaction: Transaction,
    /// What it takes in the log, at most.
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Committed, StoreError>>,
    /// Its share of the queue, given back when it is answered.
    _share: OwnedSemaphorePermit,
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
    closed: Option<StoreError>,
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Arc::new(Self { state: Mutex::default(), ready: Condvar::new(), room })
    }

    /// Queues a commit, at once if there is room, or else when the future is polled and there is.
    pub(crate) fn submit(self: &Arc<Self>, transaction: Transaction) -> Answer {
        let bytes = match transaction.check_limits() {
            Ok(bytes) => bytes,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        let share = u32::try_from(bytes.max(QUEUED_COMMIT_BYTES_MIN)).expect("bounded by TRANSACTION_BYTES_MAX");
        if let Ok(share) = self.room.clone().try_acquire_many_owned(share) {
            let answer = self.push(transaction, bytes, share);
            return Box::pin(async { answer?.await.unwrap_or_else(|_| Err(stopped())) });
        }
        let queue = self.clone();
        Box::pin(async move {
            let Ok(share) = queue.room.clone().acquire_many_owned(share).await else {
                return Err(queue.closed().unwrap_or_else(stopped));
            };
            let answer = queue.push(transaction, bytes, share);
            drop(queue);
            answer?.await.unwrap_or_else(|_| Err(stopped()))
        })
    }

    fn push(
        &self,
        transaction: Transaction,
        bytes: usize,
        share: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Committed, StoreError>>, StoreError> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        state.waiting.push_back(Pending { transaction, bytes, answer, _share: share });
        drop(state);
        self.ready.notify_one();
        Ok(receiver)
    }

    /// Waits for commits and takes as many as fit a group; none once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Vec<Pending>> {
        let mut state = self.state.lock();
        loop {
            if !state.waiting.is_empty() {
                let mut bytes = 0;
                let mut fits = |pending: &Pending| {
                    bytes += pending.bytes;
                    bytes <= GROUP_BYTES_MAX
                };
                let count = state.waiting.iter().take_while(|pending| fits(pending)).count().max(1);
                return Some(state.waiting.drain(..count).collect());
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
