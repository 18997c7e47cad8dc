//! The loop of a controller: `sync(key)`, called for each key that the handlers enqueue.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::WorkQueue;

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
                let outcome = AssertUnwindSafe(async { sync(item.clone()).await }).catch_unwind().await;
                settle(name, &queue, item, outcome);
            });
        }
        self.queue.shut_down();
        running.shutdown().await;
    }
}

fn settle<T, E>(
    name: &str,
    queue: &WorkQueue<T>,
    item: T,
    outcome: Result<Result<Action, E>, Box<dyn std::any::Any + Send>>,
) where
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
            let said = panic.downcast_ref::<&str>().map(|s| s.to_string());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            tracing::error!(controller = name, key = ?item, panic = said, "sync panicked, trying again");
            queue.add_rate_limited(item.clone());
        }
    }
    queue.done(&item);
}
