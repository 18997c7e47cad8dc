//! What is counted of a work queue (`workqueue_…`).

use std::hash::Hash;
use std::time::Duration;

use metrics::{Collect, Counter, Histogram, Labels, Text, Value, describe};

use crate::WorkQueue;

const QUEUE_DURATION: &str = "workqueue_queue_duration_seconds";
const WORK_DURATION: &str = "workqueue_work_duration_seconds";

/// What every queue counts of itself, whether somebody looks or not.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) adds: Counter,
    pub(crate) retries: Counter,
    waited: Histogram,
    worked: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        let histogram = |name| Histogram::new(describe(name).bounds);
        let (adds, retries) = (Counter::default(), Counter::default());
        Self { adds, retries, waited: histogram(QUEUE_DURATION), worked: histogram(WORK_DURATION) }
    }
}

impl Counts {
    /// An item was waiting so long for a worker.
    pub(crate) fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }

    /// An item was worked on so long.
    pub(crate) fn worked(&self, time: Duration) {
        self.worked.observe(time.as_secs_f64());
    }
}

/// A queue under the name that its figures have.
pub struct Named<T> {
    name: &'static str,
    queue: WorkQueue<T>,
}

impl<T> Named<T> {
    /// The figures of `queue`.
    pub fn new(name: &'static str, queue: WorkQueue<T>) -> Self {
        Self { name, queue }
    }
}

impl<T: Clone + Eq + Hash + Send + Sync> Collect for Named<T> {
    fn collect(&self, text: &mut Text) {
        let labels = Labels::new(&["name"], &[self.name]);
        let counts = self.queue.counts();
        counts.adds.write("workqueue_adds_total", &labels, text);
        counts.retries.write("workqueue_retries_total", &labels, text);
        counts.waited.write(QUEUE_DURATION, &labels, text);
        counts.worked.write(WORK_DURATION, &labels, text);
        text.sample("workqueue_depth", &labels, self.queue.len() as f64);
        let (sum, longest) = self.queue.under_way();
        text.sample("workqueue_unfinished_work_seconds", &labels, sum.as_secs_f64());
        text.sample("workqueue_longest_running_processor_seconds", &labels, longest.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::Clock;

    #[test]
    fn a_queue_tells_how_long_things_take() {
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let queue: WorkQueue<u8> = WorkQueue::new(clock.clone());
        for item in [1, 1, 2] {
            queue.add(item);
        }
        clock.advance(Duration::from_secs(2));
        assert_eq!(queue.get().now_or_never(), Some(Some(1)));
        clock.advance(Duration::from_secs(3));
        queue.add_rate_limited(1);
        let mut text = Text::default();
        Named::new("q", queue.clone()).collect(&mut text);
        let text = text.finish();
        for line in [
            "workqueue_adds_total{name=\"q\"} 2\n",
            "workqueue_retries_total{name=\"q\"} 1\n",
            "workqueue_depth{name=\"q\"} 1\n",
            "workqueue_queue_duration_seconds_sum{name=\"q\"} 2\n",
            "workqueue_work_duration_seconds_count{name=\"q\"} 0\n",
            "workqueue_unfinished_work_seconds{name=\"q\"} 3\n",
            "workqueue_longest_running_processor_seconds{name=\"q\"} 3\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        queue.done(&1);
        let mut text = Text::default();
        Named::new("q", queue).collect(&mut text);
        assert!(text.finish().contains("workqueue_work_duration_seconds_sum{name=\"q\"} 3\n"));
    }
}
