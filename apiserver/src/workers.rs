//! Threads for requests that take more than a moment, so that the few that serve all connections are never held up: one
//! large body must not delay a lease or `/readyz`.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;

use api::Status;
use api::status::StatusDetails;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::{Instrument, Span};

/// What has to be decoded, checked or converted and is longer than this in bytes takes more than a moment.
pub const EXPENSIVE_BYTES: usize = 64 * 1024;
/// How many such requests wait for a thread at most; more are refused.
const WAITING_MAX: usize = 256;

/// The threads of one server. There are as many as the machine has processors.
#[derive(Debug, Clone)]
pub struct Workers {
    /// Those that run.
    running: Arc<Semaphore>,
    /// Those that run or wait.
    admitted: Arc<Semaphore>,
}

impl Default for Workers {
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get), WAITING_MAX)
    }
}

impl Workers {
    fn new(threads: usize, waiting_max: usize) -> Self {
        Self { running: Arc::new(Semaphore::new(threads)), admitted: Arc::new(Semaphore::new(threads + waiting_max)) }
    }

    /// Does work on a thread of its own, when one is free. It goes on when nobody waits for it any more: until it ends,
    /// its thread counts.
    ///
    /// # Errors
    /// 429 if too much is waiting already, and what the work itself fails with.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| too_many())?;
        let running = self.running.clone().acquire_owned().await.map_err(|_| too_many())?;
        let (handle, span) = (Handle::current(), Span::current());
        let work = Box::pin(work.instrument(span));
        let done = tokio::task::spawn_blocking(move || {
            let _counted = (admitted, running);
            handle.block_on(work)
        });
        done.await.unwrap_or_else(|_| Err(Status::internal("the request could not be worked on")))
    }
}

/// `NewTooManyRequestsError`
fn too_many() -> Status {
    const RETRY_AFTER_SECONDS: u32 = 1;
    let message = "too many large requests are waiting to be worked on, please try again later";
    let details = StatusDetails { retry_after_seconds: RETRY_AFTER_SECONDS, ..Default::default() };
    Status::failure(429, "TooManyRequests", message).with_details(details)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread::{self, ThreadId};

    use super::*;

    #[tokio::test]
    async fn work_leaves_the_thread_that_serves() {
        let workers = Workers::new(1, 0);
        let here = thread::current().id();
        let there: ThreadId = workers.run(async { Ok(thread::current().id()) }).await.unwrap();
        assert_ne!(here, there);
        let error = workers.run(async { Err::<(), _>(Status::bad_request("no")) }).await.unwrap_err();
        assert_eq!(error.code, 400);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_the_rest_goes_on() {
        let workers = Workers::new(1, 1);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Mutex::new(released);
        // One holds the only thread without yielding, one waits for it, and the third is refused.
        let holding = tokio::spawn({
            let workers = workers.clone();
            async move {
                let work = async move {
                    released.lock().map_err(|_| too_many())?.recv().map_err(|_| too_many())?;
                    Ok(1)
                };
                workers.run(work).await
            }
        });
        while workers.running.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(async { Ok(2) }).await }
        });
        while workers.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let error = workers.run(async { Ok(3) }).await.unwrap_err();
        assert_eq!((error.code, error.details.map(|d| d.retry_after_seconds)), (429, Some(1)));
        release.send(()).unwrap();
        assert_eq!((holding.await.unwrap(), waiting.await.unwrap()), (Ok(1), Ok(2)));
        assert!(workers.run(async { Ok(()) }).await.is_ok(), "room is given back");
    }
}
