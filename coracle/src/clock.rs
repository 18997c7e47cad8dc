//! The one place of this crate that reads a clock.

use std::time::Instant;

/// The monotonic time.
pub(crate) fn now() -> Instant {
    Instant::now()
}
