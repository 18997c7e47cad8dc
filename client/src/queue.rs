//! A work queue with the contract of client-go's: an item is in the queue at most once, is never worked on by two
//! workers at a time, and comes again if it was added while it was worked on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Clock;
use crate::caught::Panics;
use crate::queue_metrics::Counts;

/// First delay of an item that failed.
const BACKOFF_MS_MIN: u64 = 5;
/// Longest delay of an item that fails again and again (`DefaultTypedControllerRateLimiter` in client-go).
const BACKOFF_MS_MAX: u64 = 1_000_000;
/// Doublings after which the longest delay is reached for sure.
const BACKOFF_DOUBLINGS_MAX: u32 = 30;

/// A deduplicating, delaying queue with back-off per item. Clones share it.
pub struct WorkQueue<T>(Arc<Inner<T>>);

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<T> {
    state: Mutex<State<T>>,
    wake: Notify,
    clock: Clock,
    backoff_min: Duration,
    backoff_max: Duration,
    panics: Panics,
    counts: Counts,
}

struct State<T> {
    queue: VecDeque<T>,
    /// What waits or has to come again, and since when.
    dirty: HashMap<T, Duration>,
    /// What is worked on, and since when.
    processing: HashMap<T, Duration>,
    failures: HashMap<T, u32>,
    /// Deadlines in order; an entry counts only if `waiting` still says the same of its item.
    delays: BinaryHeap<Reverse<(Duration, u64)>>,
    delayed: HashMap<u64, T>,
    waiting: HashMap<T, (Duration, u64)>,
    next_id: u64,
    closed: bool,
}

impl<T: Clone + Eq + Hash> WorkQueue<T> {
    /// An empty queue with the default back-off, from 5 ms to 1000 s.
    pub fn new(clock: Clock) -> Self {
        Self::with_backoff(clock, Duration::from_millis(BACKOFF_MS_MIN), Duration::from_millis(BACKOFF_MS_MAX))
    }

    /// An empty queue whose failed items wait `min`, then twice that and so on up to `max`.
    pub fn with_backoff(clock: Clock, backoff_min: Duration, backoff_max: Duration) -> Self {
        let state = State {
            queue: VecDeque::new(),
            dirty: HashMap::new(),
            processing: HashMap::new(),
            failures: HashMap::new(),
            delays: BinaryHeap::new(),
            delayed: HashMap::new(),
            waiting: HashMap::new(),
            next_id: 0,
            closed: false,
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            wake: Notify::new(),
            clock,
            backoff_min,
            backoff_max,
            panics: Panics::default(),
            counts: Counts::default(),
        }))
    }

    /// Adds an item, unless it waits already.
    pub fn add(&self, item: T) {
        let now = self.0.clock.elapsed();
        let Added { new, wakes } = self.0.state.lock().add(item, now);
        self.0.counts.adds.add(u64::from(new));
        if wakes {
            self.0.wake.notify_one();
        }
    }

    /// Adds an item after `delay`. Of several delays of one item the shortest counts.
    pub fn add_after(&self, item: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(item);
        }
        let deadline = self.0.clock.elapsed().saturating_add(delay);
        {
            let mut state = self.0.state.lock();
            if state.closed || state.waiting.get(&item).is_some_and(|(d, _)| *d <= deadline) {
                return;
            }
            let id = state.next_id;
            state.next_id += 1;
            if let Some((_, superseded)) = state.waiting.insert(item.clone(), (deadline, id)) {
                state.delayed.remove(&superseded);
            }
            state.delayed.insert(id, item);
            state.delays.push(Reverse((deadline, id)));
        }
        self.0.wake.notify_one();
    }

    /// Adds a failed item after its back-off, which doubles until [`WorkQueue::forget`].
    pub fn add_rate_limited(&self, item: T) {
        self.0.counts.retries.add_one();
        let failures = {
            let mut state = self.0.state.lock();
            let count = state.failures.entry(item.clone()).or_insert(0);
            *count += 1;
            *count - 1
        };
        let delay = self.0.backoff_min.saturating_mul(1 << failures.min(BACKOFF_DOUBLINGS_MAX));
        self.add_after(item, delay.min(self.0.backoff_max));
    }

    /// How often the item failed since it was last forgotten.
    pub fn failures(&self, item: &T) -> u32 {
        self.0.state.lock().failures.get(item).copied().unwrap_or(0)
    }

    /// Ends the back-off of an item.
    pub fn forget(&self, item: &T) {
        self.0.state.lock().failures.remove(item);
    }

    /// The next item, which is the caller's alone until [`WorkQueue::done`]. `None` once the queue is shut down.
    pub async fn get(&self) -> Option<T> {
        loop {
            let next = {
                let now = self.0.clock.elapsed();
                let mut state = self.0.state.lock();
                self.0.counts.adds.add(state.release_due(now));
                if state.closed {
                    return None;
                }
                if let Some(item) = state.queue.pop_front() {
                    let since = state.dirty.remove(&item).unwrap_or(now);
                    state.processing.insert(item.clone(), now);
                    self.0.counts.waited(now.saturating_sub(since));
                    if !state.queue.is_empty() {
                        self.0.wake.notify_one();
                    }
                    return Some(item);
                }
                state.next_deadline()
            };
            match next {
                None => self.0.wake.notified().await,
                Some(deadline) => tokio::select! {
                    () = self.0.wake.notified() => {}
                    () = self.0.clock.sleep_until(deadline) => {}
                },
            }
        }
    }

    /// Gives the item back; it comes again at once if it was added meanwhile.
    pub fn done(&self, item: &T) {
        let again = {
            let mut state = self.0.state.lock();
            if let Some(since) = state.processing.remove(item) {
                self.0.counts.worked(self.0.clock.elapsed().saturating_sub(since));
            }
            let again = state.dirty.contains_key(item);
            if again {
                state.queue.push_back(item.clone());
            }
            again
        };
        if again {
            self.0.wake.notify_one();
        }
    }

    /// Ends the queue: [`WorkQueue::get`] answers `None` from now on.
    pub fn shut_down(&self) {
        self.0.state.lock().closed = true;
        self.0.wake.notify_waiters();
        self.0.wake.notify_one();
    }

    /// How many items are ready.
    pub fn len(&self) -> usize {
        self.0.state.lock().queue.len()
    }

    /// Whether no item is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many panics the workers of this queue have outlived.
    pub fn panics(&self) -> &Panics {
        &self.0.panics
    }

    /// What the queue has counted.
    pub(crate) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// How long what is worked on has been so far: the sum of all, and the longest.
    pub(crate) fn under_way(&self) -> (Duration, Duration) {
        let now = self.0.clock.elapsed();
        let state = self.0.state.lock();
        let times = state.processing.values().map(|since| now.saturating_sub(*since));
        times.fold(Default::default(), |(sum, longest), time| (sum + time, longest.max(time)))
    }

    /// The clock of the queue.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }
}

/// What became of an item that was added.
struct Added {
    /// It was not waiting already.
    new: bool,
    /// A worker has something to do now.
    wakes: bool,
}

impl<T: Clone + Eq + Hash> State<T> {
    fn add(&mut self, item: T, now: Duration) -> Added {
        if self.closed || self.dirty.contains_key(&item) {
            return Added { new: false, wakes: false };
        }
        self.dirty.insert(item.clone(), now);
        let wakes = !self.processing.contains_key(&item);
        if wakes {
            self.queue.push_back(item);
        }
        Added { new: true, wakes }
    }

    /// Adds what has waited long enough. How many items were new.
    fn release_due(&mut self, now: Duration) -> u64 {
        let mut new = 0;
        while let Some(Reverse((deadline, id))) = self.delays.peek().copied() {
            if deadline > now && self.delayed.contains_key(&id) {
                return new;
            }
            self.delays.pop();
            if let Some(item) = self.delayed.remove(&id) {
                self.waiting.remove(&item);
                new += u64::from(self.add(item, now).new);
            }
        }
        new
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.delays.peek().map(|Reverse((deadline, _))| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn queue() -> (WorkQueue<u32>, Clock) {
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        (WorkQueue::new(clock.clone()), clock)
    }

    fn ready(queue: &WorkQueue<u32>) -> Option<u32> {
        queue.get().now_or_never().flatten()
    }

    #[tokio::test]
    async fn an_item_waits_once_and_has_one_worker() {
        let (q, _) = queue();
        q.add(1);
        q.add(1);
        assert_eq!(ready(&q), Some(1));
        q.add(1);
        assert_eq!(ready(&q), None, "it is being worked on");
        q.done(&1);
        assert_eq!(ready(&q), Some(1), "it was added meanwhile");
        q.done(&1);
        assert_eq!(ready(&q), None);
    }

    #[tokio::test]
    async fn the_shortest_delay_counts() {
        let (q, clock) = queue();
        q.add_after(1, Duration::from_secs(10));
        q.add_after(1, Duration::from_secs(2));
        q.add_after(1, Duration::from_secs(20));
        clock.advance(Duration::from_secs(1));
        assert_eq!(ready(&q), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(ready(&q), Some(1));
        q.done(&1);
        clock.advance(Duration::from_secs(60));
        assert_eq!(ready(&q), None, "the longer delays are void");
    }

    #[tokio::test]
    async fn back_off_doubles_until_forgotten() {
        let (q, clock) = queue();
        for wait_ms in [5, 10, 20] {
            q.add_rate_limited(1);
            clock.advance(Duration::from_millis(wait_ms - 1));
            assert_eq!(ready(&q), None);
            clock.advance(Duration::from_millis(1));
            assert_eq!(ready(&q), Some(1));
            q.done(&1);
        }
        q.forget(&1);
        q.add_rate_limited(1);
        clock.advance(Duration::from_millis(5));
        assert_eq!(ready(&q), Some(1));
    }

    #[tokio::test]
    async fn shut_down_wakes_every_worker() {
        let (q, _) = queue();
        let waiting = [q.clone(), q.clone()].map(|q| tokio::spawn(async move { q.get().await }));
        tokio::task::yield_now().await;
        q.shut_down();
        for worker in waiting {
            assert_eq!(worker.await.expect("no panic"), None);
        }
    }
}
