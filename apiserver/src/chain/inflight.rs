//! How many requests are served at once; long-running ones do not count.

use std::sync::Arc;

use api::Status;
use api::status::StatusDetails;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that change something (`--max-mutating-requests-inflight`).
pub const MUTATING_MAX: usize = 200;
/// Requests that change nothing (`--max-requests-inflight`).
pub const READING_MAX: usize = 400;

/// The limits of one server.
#[derive(Debug)]
pub struct Inflight {
    mutating: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

impl Default for Inflight {
    fn default() -> Self {
        Self { mutating: Arc::new(Semaphore::new(MUTATING_MAX)), reading: Arc::new(Semaphore::new(READING_MAX)) }
    }
}

impl Inflight {
    /// A place for a request; none is needed for a long-running one. Requests wait in the order in which they came,
    /// as they do with priority and fairness; the request's timeout bounds the wait.
    ///
    /// # Errors
    /// 429 if there is no place.
    pub async fn enter(&self, reads: bool, long_running: bool) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if long_running {
            return Ok(None);
        }
        let semaphore = if reads { &self.reading } else { &self.mutating };
        semaphore.clone().acquire_owned().await.map(Some).map_err(|_| too_many())
    }
}

/// `NewTooManyRequests`
fn too_many() -> Status {
    let details = StatusDetails { retry_after_seconds: 1, ..Default::default() };
    Status::failure(429, "TooManyRequests", "too many requests, please try again later").with_details(details)
}
