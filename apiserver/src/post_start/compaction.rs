//! How old a state may be that a list asks for, and giving back the room of what is over. The store keeps as much of the
//! past as has room, for watchers; a list that is read page by page must end some day, as it would where etcd is compacted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use store::Revision;

use crate::Registry;

/// How often the past is cut off, at where the newest state was the time before (`DefaultCompactInterval`).
const COMPACT_INTERVAL: Duration = Duration::from_secs(300);

/// How often it is looked at what has become too old for the room that it takes.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// How far the past is cut off.
#[derive(Debug, Default)]
pub struct Compaction {
    oldest: AtomicU64,
}

impl Compaction {
    /// Forgets what is older than `revision`.
    pub fn forget_before(&self, revision: Revision) {
        self.oldest.fetch_max(revision, Ordering::AcqRel);
    }

    /// The oldest state that lists may ask for.
    pub fn oldest(&self) -> Revision {
        self.oldest.load(Ordering::Acquire)
    }
}

/// Forgets states once they are between one and two intervals old, as long as it is polled.
pub(super) async fn run(registry: &Registry) {
    loop {
        let newest = registry.snapshot().revision();
        for _ in 0..COMPACT_INTERVAL.as_secs() / LOOK_INTERVAL.as_secs() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            // Packing what was written lately takes a while.
            let store = registry.store().clone();
            let _ = tokio::task::spawn_blocking(move || store.forget_old()).await;
            registry.frames().drop_unused();
        }
        registry.forget_before(newest);
    }
}
