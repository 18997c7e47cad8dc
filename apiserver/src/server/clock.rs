//! The clock of connections.

use tokio::time::Instant;

/// Now, on the clock that timers run by.
pub(super) fn now() -> Instant {
    Instant::now()
}
