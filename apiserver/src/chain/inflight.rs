//! How many requests are served at once and how many may wait; long-running ones do not count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that change something (`--max-mutating-requests-inflight`).
pub const MUTATING_MAX: usize = 200;
/// Requests that change nothing (`--max-requests-inflight`).
pub const READING_MAX: usize = 400;
/// Requests of either sort that may wait for a place.
pub const WAITING_MAX: usize = 5_000;
/// How long a request waits for a place (a quarter of the request timeout, as with priority and fairness).
pub const WAIT_MAX: Duration = Duration::from_secs(15);

/// The limits of one server.
#[derive(Debug)]
pub struct Inflight {
    mutating: Lane,
    reading: Lane,
}

/// One sort of requests.
#[derive(Debug)]
struct Lane {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// There is no place for a request, and no place to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Default for Inflight {
    fn default() -> Self {
        Self::new(MUTATING_MAX, READING_MAX, WAITING_MAX)
    }
}

impl Inflight {
    /// So many places for requests that change something and for others, and so many of each that may wait.
    pub fn new(mutating: usize, reading: usize, waiting_max: usize) -> Self {
        let lane =
            |places| Lane { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0), waiting_max };
        Self { mutating: lane(mutating), reading: lane(reading) }
    }

    /// A place for a request; none is needed for a long-running one. Requests wait in the order in which they came.
    ///
    /// # Errors
    /// [`TooMany`], at once if too many wait already, else after [`WAIT_MAX`].
    pub async fn enter(&self, reads: bool, long_running: bool) -> Result<Option<OwnedSemaphorePermit>, TooMany> {
        if long_running {
            return Ok(None);
        }
        let lane = if reads { &self.reading } else { &self.mutating };
        if let Ok(place) = lane.places.clone().try_acquire_owned() {
            return Ok(Some(place));
        }
        let _waiting = lane.wait()?;
        match tokio::time::timeout(WAIT_MAX, lane.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            Ok(Err(_)) | Err(_) => Err(TooMany),
        }
    }
}

impl Lane {
    fn wait(&self) -> Result<Waiting<'_>, TooMany> {
        // Counted down again when it is dropped, also if it was one too many.
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        if before < self.waiting_max { Ok(waiting) } else { Err(TooMany) }
    }
}

struct Waiting<'a>(&'a Lane);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn some_wait_and_more_are_refused() {
        let limits = Inflight::new(1, 1, 2);
        let held = limits.enter(false, false).await.unwrap();
        assert!(limits.enter(true, false).await.is_ok(), "reads have places of their own");
        assert!(limits.enter(false, true).await.unwrap().is_none(), "what runs for long needs none");
        {
            let (first, second) = (limits.enter(false, false), limits.enter(false, false));
            tokio::pin!(first, second);
            assert!(futures::poll!(first.as_mut()).is_pending());
            assert!(futures::poll!(second.as_mut()).is_pending());
            assert_eq!(limits.enter(false, false).await.err(), Some(TooMany));
            drop(held);
            assert!(first.await.unwrap().is_some());
        }
        // Who gave up waiting leaves a place to wait.
        assert_eq!(limits.mutating.waiting.load(Ordering::Relaxed), 0);
    }
}
