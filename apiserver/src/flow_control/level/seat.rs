//! The seats of one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::{Level, hand_on};
use crate::flow_control::kinds::Phase;
use crate::flow_control::queue_set::Key;
use crate::flow_control::seat_seconds::Nanos;

/// Stands for no request.
const NONE: Key = Key::MAX;

/// What a request has at a level, until this is dropped.
pub(crate) struct Seat {
    level: Arc<Level>,
    /// Changed under the level's lock once the request is served.
    key: AtomicUsize,
    reads: bool,
    /// How far the answer is; zero until it begins to leave.
    steps: AtomicU32,
}

impl Seat {
    pub(super) fn new(level: Arc<Level>, reads: bool) -> Self {
        Self { level, key: AtomicUsize::new(NONE), reads, steps: AtomicU32::new(0) }
    }

    /// The seats are there.
    pub(super) fn take(&self, key: Key, now: Nanos) {
        self.key.store(key, Ordering::Release);
        self.level.common.kinds.enter(Phase::Executing, self.reads, now);
    }

    /// Something of the answer was made, or taken by the client: one that stands still gives way to those who wait.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn steps(&self) -> u32 {
        self.steps.load(Ordering::Relaxed)
    }

    pub(super) fn reads(&self) -> bool {
        self.reads
    }

    /// Under the level's lock: the request that has the seats, which are no longer this one's.
    pub(super) fn give(&self) -> Option<Key> {
        Some(self.key.swap(NONE, Ordering::AcqRel)).filter(|key| *key != NONE)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // One that was never taken has no request, and nobody else can take it any more.
        if *self.key.get_mut() == NONE {
            return;
        }
        let now = self.level.common.now();
        let mut state = self.level.lock();
        let Some(key) = self.give() else { return };
        self.level.end(&mut state, key, now);
        hand_on(&mut state);
        drop(state);
        self.level.common.kinds.leave(Phase::Executing, self.reads, now);
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("level", &self.level.name).finish_non_exhaustive()
    }
}
