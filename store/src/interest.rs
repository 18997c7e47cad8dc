//! Who waits for which keys, so that a commit wakes those alone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::limits::INTEREST_REVISIONS_MAX;
use crate::{Event, Revision};

/// What watchers wait for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signal {
    pub(crate) revision: Revision,
    pub(crate) closed: bool,
}

/// All watchers of the keys below one prefix.
pub(crate) struct Interest {
    prefix: String,
    signal: watch::Sender<Signal>,
    /// The last batch that holds an event below the prefix, or one before it. Raised before a reader can see the batch.
    last: AtomicU64,
    touched: Mutex<Touched>,
}

/// The batches that hold an event below the prefix.
struct Touched {
    /// Every one after this revision is in the list.
    floor: Revision,
    /// By their last revisions, oldest first.
    batches: VecDeque<Revision>,
}

impl Interest {
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    pub(crate) fn is_in(&self, events: &[Event]) -> bool {
        events.iter().any(|event| event.key().starts_with(&self.prefix))
    }

    /// The last revisions of the batches after `after`, or none if not all are known.
    pub(crate) fn touched_after(&self, after: Revision, count_max: usize) -> Option<Vec<Revision>> {
        let touched = self.touched.lock();
        if after < touched.floor {
            return None;
        }
        let from = touched.batches.partition_point(|batch| *batch <= after);
        Some(touched.batches.range(from..).take(count_max).copied().collect())
    }

    /// Whether nothing below the prefix happened after `after`.
    pub(crate) fn is_quiet_since(&self, after: Revision) -> bool {
        self.last.load(Ordering::Acquire) <= after
    }

    /// Notes a batch; false if it was noted before.
    fn touch(&self, last: Revision) -> bool {
        let mut touched = self.touched.lock();
        if touched.batches.back() == Some(&last) {
            return false;
        }
        if touched.batches.len() >= INTEREST_REVISIONS_MAX
            && let Some(oldest) = touched.batches.pop_front()
        {
            touched.floor = oldest;
        }
        touched.batches.push_back(last);
        self.last.store(last, Ordering::Release);
        true
    }

    fn send(&self, revision: Revision) {
        self.signal.send_if_modified(|signal| {
            let newer = revision > signal.revision;
            signal.revision = signal.revision.max(revision);
            newer
        });
    }
}

/// The interests of one store.
#[derive(Default)]
pub(crate) struct Interests {
    by_prefix: RwLock<ByPrefix>,
    /// Those touched since the watchers were last woken.
    to_wake: Mutex<Vec<Arc<Interest>>>,
}

#[derive(Default)]
struct ByPrefix {
    interests: HashMap<String, Arc<Interest>>,
    closed: bool,
    /// Interests without a watcher are dropped when there are so many.
    sweep_at: usize,
}

impl Interests {
    /// The interest in a prefix; `newest` is the newest revision, and no batch may be published meanwhile.
    pub(crate) fn of(&self, prefix: &str, newest: Revision) -> Arc<Interest> {
        let mut by_prefix = self.by_prefix.write();
        if let Some(found) = by_prefix.interests.get(prefix) {
            return found.clone();
        }
        if by_prefix.interests.len() >= by_prefix.sweep_at {
            by_prefix.interests.retain(|_, interest| Arc::strong_count(interest) > 1);
            by_prefix.sweep_at = 2 * by_prefix.interests.len() + 1;
        }
        let interest = Arc::new(Interest {
            prefix: prefix.to_owned(),
            signal: watch::Sender::new(Signal { revision: newest, closed: by_prefix.closed }),
            last: AtomicU64::new(newest),
            touched: Mutex::new(Touched { floor: newest, batches: VecDeque::new() }),
        });
        by_prefix.interests.insert(prefix.to_owned(), interest.clone());
        interest
    }

    /// Notes a batch with every interest in it. A key is below the empty prefix and every prefix of it that ends
    /// with a slash, see [`is_prefix`].
    pub(crate) fn touch(&self, events: &[Event], last: Revision) {
        let by_prefix = self.by_prefix.read();
        let mut to_wake = Vec::new();
        for key in events.iter().map(Event::key) {
            let slashes = key.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at + 1);
            for end in std::iter::once(0).chain(slashes) {
                if let Some(interest) = by_prefix.interests.get(&key[..end])
                    && interest.touch(last)
                {
                    to_wake.push(interest.clone());
                }
            }
        }
        drop(by_prefix);
        if !to_wake.is_empty() {
            self.to_wake.lock().append(&mut to_wake);
        }
    }

    /// Wakes the watchers of what was touched.
    pub(crate) fn wake(&self, newest: Revision) {
        let to_wake = std::mem::take(&mut *self.to_wake.lock());
        for interest in to_wake {
            interest.send(newest);
        }
    }

    /// Tells every watcher that no event will follow.
    pub(crate) fn close(&self) {
        let mut by_prefix = self.by_prefix.write();
        by_prefix.closed = true;
        for interest in by_prefix.interests.values() {
            interest.signal.send_modify(|signal| signal.closed = true);
        }
    }
}

/// Whether there can be an interest in this prefix.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    prefix.is_empty() || prefix.ends_with('/')
}
