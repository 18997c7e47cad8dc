//! Something computed from the store that is made anew only when keys it depends on have changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use parking_lot::{Mutex, RwLock};
use store::{Snapshot, Store, StoreError, Watch};

/// A value computed from a snapshot. Asking for it costs one comparison while nothing was written, and a look at the
/// keys written since otherwise.
pub(super) struct Follower<T> {
    value: RwLock<Option<Arc<T>>>,
    /// The value holds at this revision.
    seen: AtomicU64,
    watch: Mutex<Option<Watch>>,
    concerns: fn(&str) -> bool,
    compute: fn(&Snapshot) -> T,
}

impl<T> Follower<T> {
    /// A value made by `compute` that depends on those keys for which `concerns` is true.
    pub(super) fn new(concerns: fn(&str) -> bool, compute: fn(&Snapshot) -> T) -> Self {
        Self { value: RwLock::new(None), seen: AtomicU64::new(0), watch: Mutex::new(None), concerns, compute }
    }

    /// The value as of the newest state of the store.
    pub(super) fn get(&self, store: &dyn Store) -> Arc<T> {
        let snapshot = store.snapshot();
        let current = || self.value.read().clone();
        if self.seen.load(Ordering::Acquire) >= snapshot.revision()
            && let Some(value) = current()
        {
            return value;
        }
        let mut watch = self.watch.lock();
        let stale = match watch.as_mut() {
            Some(watch) => self.changed(watch),
            None => true,
        };
        match current() {
            Some(value) if !stale => {
                if let Some(watch) = watch.as_ref() {
                    self.seen.store(watch.revision(), Ordering::Release);
                }
                value
            }
            _ => self.renew(store, &mut watch),
        }
    }

    fn renew(&self, store: &dyn Store, watch: &mut Option<Watch>) -> Arc<T> {
        let snapshot = store.snapshot();
        let value = Arc::new((self.compute)(&snapshot));
        *watch = store.watch(snapshot.revision()).ok();
        *self.value.write() = Some(value.clone());
        // Without a watch (the store is closing) nothing is kept for longer than this revision.
        self.seen.store(snapshot.revision(), Ordering::Release);
        value
    }

    /// Takes what has happened since; true if it concerns the value, or may.
    fn changed(&self, watch: &mut Watch) -> bool {
        let mut changed = false;
        while let Some(batches) = watch.next().now_or_never() {
            match batches {
                Ok(batches) => {
                    changed |= batches.iter().any(|batch| batch.iter().any(|event| (self.concerns)(event.key())));
                }
                Err(StoreError::Lagged) | Err(_) => return true,
            }
        }
        changed
    }
}
