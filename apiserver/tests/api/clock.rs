//! A clock that a test moves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use apiserver::clock::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};

/// The machine's clock, and so many seconds more.
#[derive(Default)]
pub(crate) struct MovedClock(AtomicI64);

impl MovedClock {
    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn instant(&self) -> Instant {
        let moved = u64::try_from(self.0.load(Ordering::Relaxed)).expect("only ever moved forward");
        SystemClock.instant() + Duration::from_secs(moved)
    }

    fn random(&self, bytes: &mut [u8]) {
        SystemClock.random(bytes);
    }
}
