//! The loop of a controller: `sync(key)`, called for each key that the handlers enqueue.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use metrics::Metrics;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::WorkQueue;
use crate::caught::{Panicked, caught};
use crate::queue_metrics::Named;

/// When to look at a key again after a successful `sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// When something changes.
    Done,
    /// When something changes, and after this time in any case.
    RequeueAfter(Duration),
    /// After the key's back-off.
    Retry,
}

impl Action {
    /// Looks again after `delay`, if there is one.
    pub fn after(delay: Option<Duration>) -> Self {
        delay.map_or(Self::Done, Self::RequeueAfter)
    }
}

/// A work queue and the function that works on its keys.
pub struct Controller<T> {
    name: &'static str,
    queue: WorkQueue<T>,
    workers: usize,
}

impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Controller<T> {
    /// A controller of `queue`; at most `workers` keys are worked on at a time.
    pub fn new(name: &'static str, queue: WorkQueue<T>, workers: usize) -> Self {
        Self { name, queue, workers: workers.max(1) }
    }

    /// The same, with the figures of its queue under `name` among `metrics`.
    pub fn counted(self, name: &'static str, metrics: &Metrics) -> Self {
        metrics.register(Arc::new(Named::new(name, self.queue.clone())));
        self
    }

    /// Calls `sync` for each key until `token` is cancelled; what is under way then is dropped.
    ///
    /// A key that fails or panics comes again after its back-off. While there is nothing to do, nothing runs.
    pub async fn run<F, Fut, E>(self, token: CancellationToken, sync: F)
    where
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Action, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let sync = Arc::new(sync);
        // Also when this future is dropped: nobody works on the queue any more, so it takes nothing up.
        let _closed = ShutDown(self.queue.clone());
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            if running.len() >= self.workers {
                tokio::select! {
                    () = token.cancelled() => break,
                    _ = running.join_next() => continue,
                }
            }
            let item = tokio::select! {
                () = token.cancelled() => break,
                item = self.queue.get() => item,
            };
            let Some(item) = item else { break };
            let (sync, queue, name) = (sync.clone(), self.queue.clone(), self.name);
            running.spawn(async move {
                let outcome = caught(async { sync(item.clone()).await }).await;
                settle(name, &queue, item, outcome);
            });
        }
        running.shutdown().await;
    }
}

/// Shuts a queue down when it is dropped.
struct ShutDown<T: Clone + Eq + Hash>(WorkQueue<T>);

impl<T: Clone + Eq + Hash> Drop for ShutDown<T> {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

fn settle<T, E>(name: &str, queue: &WorkQueue<T>, item: T, outcome: Result<Result<Action, E>, Panicked>)
where
    T: Clone + Eq + Hash + Debug,
    E: Display,
{
    match outcome {
        Ok(Ok(Action::Done)) => queue.forget(&item),
        Ok(Ok(Action::RequeueAfter(delay))) => {
            queue.forget(&item);
            queue.add_after(item.clone(), delay);
        }
        Ok(Ok(Action::Retry)) => queue.add_rate_limited(item.clone()),
        Ok(Err(error)) => {
            tracing::debug!(controller = name, key = ?item, %error, "sync failed, trying again");
            queue.add_rate_limited(item.clone());
        }
        Err(panic) => {
            let panics = queue.panics().note();
            tracing::error!(controller = name, key = ?item, %panic, panics, "sync panicked, trying again");
            queue.add_rate_limited(item.clone());
        }
    }
    queue.done(&item);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::Clock;

    #[tokio::test]
    async fn a_key_whose_sync_panics_comes_again_and_holds_up_no_other() {
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let queue = WorkQueue::new(clock.clone());
        let (token, tries) = (CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
        let count = tries.clone();
        let run = Controller::new("test", queue.clone(), 1).run(token.clone(), move |key: &'static str| {
            let (count, done) = (count.clone(), done.clone());
            async move {
                assert!(key != "bad" || count.fetch_add(1, Ordering::Relaxed) >= 3, "not yet");
                done.send(key).expect("somebody listens");
                Ok::<_, std::convert::Infallible>(Action::Done)
            }
        });
        let running = tokio::spawn(run);
        queue.add("bad");
        queue.add("good");
        assert_eq!(finished.recv().await, Some("good"));
        while tries.load(Ordering::Relaxed) < 4 {
            clock.advance(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
        assert_eq!(finished.recv().await, Some("bad"));
        assert_eq!((queue.panics().count(), queue.failures(&"bad")), (3, 0));
        token.cancel();
        running.await.expect("no panic");
        queue.add("late");
        assert!(queue.is_empty(), "a queue without a worker takes nothing");
    }
}
