//! Counting the calls of the runtime.

use std::sync::Arc;
use std::time::Duration;

use client::Clock;
use tonic::Status;

use crate::figures;

/// Where calls are counted.
#[derive(Clone)]
pub(super) struct Watched {
    runtime: Arc<figures::Runtime>,
    clock: Clock,
}

impl Watched {
    pub(super) fn new(runtime: Arc<figures::Runtime>, clock: Clock) -> Self {
        Self { runtime, clock }
    }

    /// Waits for the answer of a call, and has it counted: whether there was one, and how long that took.
    pub(super) async fn timed<T>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
        count: impl FnOnce(&figures::Runtime, bool, Duration),
    ) -> Result<T, Status> {
        let started = self.clock.elapsed();
        let answer = call.await;
        count(&self.runtime, answer.is_ok(), self.clock.elapsed().saturating_sub(started));
        answer
    }
}
