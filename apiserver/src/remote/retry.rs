//! How often something elsewhere is asked again (`WithExponentialBackoff` in apiserver's `util/webhook`).

use std::time::Duration;

use crate::clock::Clock;
use crate::outgoing::{ClientError, Reply};

/// How often it is asked at most.
pub const ATTEMPTS_MAX: u32 = 5;
/// How long is waited before it is asked for the second time; each further wait is half as long again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const FACTOR: f64 = 1.5;
/// By how much a wait may be longer.
const JITTER: f64 = 0.2;

/// Waits, one after the other.
pub struct Waits {
    next: Duration,
    left: u32,
}

impl Default for Waits {
    fn default() -> Self {
        Self { next: FIRST_WAIT, left: ATTEMPTS_MAX - 1 }
    }
}

impl Waits {
    /// Waits before another attempt; false if there is none.
    pub async fn wait(&mut self, clock: &dyn Clock) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        let mut random = [0; 2];
        clock.random(&mut random);
        let jitter = 1.0 + JITTER * f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX);
        tokio::time::sleep(self.next.mul_f64(jitter)).await;
        (self.next, self.left) = (self.next.mul_f64(FACTOR), left);
        true
    }
}

/// Whether it may be otherwise the next time (`DefaultShouldRetry`).
pub fn may_pass(outcome: &Result<Reply, ClientError>) -> bool {
    match outcome {
        Ok(reply) => matches!(reply.status.as_u16(), 429 | 500 | 504) || reply.says_when_to_retry(),
        Err(error) => match error {
            ClientError::Unanswered(fault) => fault.is_reset,
            other => matches!(other, ClientError::Unread(_)),
        },
    }
}
