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

    /// Waits for the answer of a call, and counts it.
    pub(super) async fn count<T>(
        &self,
        operation: &str,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let (answer, took) = self.timed(call).await;
        self.runtime.called(operation, answer.is_ok(), took);
        answer
    }

    /// Waits for a sandbox, and counts it by its handler.
    pub(super) async fn count_sandbox<T>(
        &self,
        handler: &str,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let (answer, took) = self.timed(call).await;
        self.runtime.ran_sandbox(handler, answer.is_ok(), took);
        answer
    }

    async fn timed<T>(&self, call: impl Future<Output = T>) -> (T, Duration) {
        let started = self.clock.elapsed();
        let answer = call.await;
        (answer, self.clock.elapsed().saturating_sub(started))
    }
}
