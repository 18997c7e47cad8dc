//! Work that is done again and again for each of some names: when something happened to one, when its time has come, and after a
//! failure a little later each time (the work queues of kube-aggregator's controllers).

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures::future::select_all;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{Future, FutureExt};

use crate::Registry;
use crate::registry::{Followed, News};

/// What became of one round of the work for a name.
pub(super) enum Outcome {
    /// It is done; again after some time, or when something happens.
    Done(Option<Duration>),
    /// It failed, and is to be tried again.
    Failed,
}

/// How the work is spread.
pub(super) struct Pace {
    /// For how many names it goes on at once.
    pub(super) workers: usize,
    /// How long after the first failure it is tried again; twice as long after each other one.
    pub(super) delay: Duration,
    /// The longest of these times.
    pub(super) delay_max: Duration,
}

/// The names and when each is due.
struct Queue {
    due: BTreeMap<String, Instant>,
    /// Under way, and whether it is due again at once.
    running: HashMap<String, bool>,
    failures: HashMap<String, u32>,
    pace: Pace,
}

impl Queue {
    fn new(pace: Pace) -> Self {
        Self { due: BTreeMap::new(), running: HashMap::new(), failures: HashMap::new(), pace }
    }

    fn add(&mut self, name: String, now: Instant) {
        match self.running.get_mut(&name) {
            Some(again) => *again = true,
            None => _ = self.due.insert(name, now),
        }
    }

    /// A name that is due, whose work begins.
    fn take(&mut self, now: Instant) -> Option<String> {
        if self.running.len() >= self.pace.workers {
            return None;
        }
        let (name, _) = self.due.iter().filter(|(_, due)| **due <= now).min_by_key(|(_, due)| **due)?;
        let name = name.clone();
        self.due.remove(&name);
        self.running.insert(name.clone(), false);
        Some(name)
    }

    /// When the next is due, if there is room for its work.
    fn next(&self) -> Option<Instant> {
        self.due.values().min().copied().filter(|_| self.running.len() < self.pace.workers)
    }

    fn finish(&mut self, name: String, outcome: Outcome, now: Instant) {
        let again = self.running.remove(&name) == Some(true);
        let wait = match outcome {
            Outcome::Done(wait) => {
                self.failures.remove(&name);
                wait
            }
            Outcome::Failed => {
                let failures = self.failures.entry(name.clone()).or_default();
                let wait = self.pace.delay.saturating_mul(2u32.saturating_pow(*failures)).min(self.pace.delay_max);
                *failures = failures.saturating_add(1);
                Some(wait)
            }
        };
        if again {
            self.due.insert(name, now);
        } else if let Some(wait) = wait {
            self.due.insert(name, now + wait);
        }
    }
}

/// Works until the store is closed: `names` tells for which names something happened by the news of one of `followed`, of which it
/// gets the place. All but the first are only listened to while `attends` says so.
pub(super) async fn run<W: Future<Output = Outcome>>(
    registry: &Registry,
    mut followed: Vec<Followed>,
    pace: Pace,
    attends: impl Fn() -> bool,
    mut names: impl FnMut(usize, News) -> Vec<String>,
    work: impl Fn(String) -> W,
) {
    let mut queue = Queue::new(pace);
    let mut running = FuturesUnordered::new();
    loop {
        let now = registry.clock().instant();
        while let Some(name) = queue.take(now) {
            let done = work(name.clone());
            running.push(async move { (name, done.await) });
        }
        let wait = queue.next().map(|due| due.saturating_duration_since(now));
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let heard = if attends() { followed.len() } else { 1 };
        let news = select_all(followed.iter_mut().take(heard).map(|followed| followed.next().boxed()));
        tokio::select! {
            (news, place, _) = news => {
                let Some(news) = news else { return };
                let now = registry.clock().instant();
                for name in names(place, news) {
                    queue.add(name, now);
                }
            }
            Some((name, outcome)) = running.next() => queue.finish(name, outcome, registry.clock().instant()),
            () = timer => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(workers: usize) -> Queue {
        Queue::new(Pace { workers, delay: Duration::from_millis(5), delay_max: Duration::from_millis(30) })
    }

    /// Some moment, from which others are counted.
    fn start() -> Instant {
        crate::clock::SystemClock::shared().instant()
    }

    #[test]
    fn each_name_is_worked_on_once_at_a_time() {
        let (mut queue, now) = (queue(2), start());
        for name in ["a", "b", "c", "a"] {
            queue.add(name.into(), now);
        }
        assert_eq!((queue.take(now).as_deref(), queue.take(now).as_deref()), (Some("a"), Some("b")));
        assert_eq!((queue.take(now), queue.next()), (None, None), "two at once");
        queue.add("a".into(), now);
        queue.finish("b".into(), Outcome::Done(None), now);
        assert_eq!((queue.take(now).as_deref(), queue.take(now)), (Some("c"), None), "a is under way");
        queue.finish("a".into(), Outcome::Done(None), now);
        assert_eq!(queue.take(now).as_deref(), Some("a"), "something happened meanwhile");
        queue.finish("a".into(), Outcome::Done(None), now);
        queue.finish("c".into(), Outcome::Done(None), now);
        assert_eq!((queue.take(now), queue.next()), (None, None));
    }

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let (mut queue, now) = (queue(1), start());
        queue.add("a".into(), now);
        for milliseconds in [5, 10, 20, 30, 30] {
            assert!(queue.take(now + Duration::from_secs(60)).is_some());
            queue.finish("a".into(), Outcome::Failed, now);
            assert_eq!(queue.next(), Some(now + Duration::from_millis(milliseconds)));
            assert_eq!(queue.take(now), None, "not before");
        }
        assert!(queue.take(now + Duration::from_secs(60)).is_some());
        queue.finish("a".into(), Outcome::Done(Some(Duration::from_secs(7))), now);
        assert_eq!(queue.next(), Some(now + Duration::from_secs(7)));
        queue.add("a".into(), now);
        assert!(queue.take(now).is_some(), "what happens goes before what was to come");
        queue.finish("a".into(), Outcome::Failed, now);
        assert_eq!(queue.next(), Some(now + Duration::from_millis(5)), "a good one ends the row");
    }
}
