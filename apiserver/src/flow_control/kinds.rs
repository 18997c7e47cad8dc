//! How many requests that read, and that change something, wait and are served, over all levels: as parts of what could, over
//! time (`readWriteConcurrencyGaugeVec` in apiserver's `util/flowcontrol/metrics`), and the most at once in a second
//! (`requestWatermark` in its filters). Numbers that all threads write to, and no lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use metrics::{Labels, Text, describe};

use super::seat_seconds::Nanos;
use crate::metrics::Level;

const RATIOS: &str = "apiserver_flowcontrol_read_vs_write_current_requests";
const WAITING: &str = "apiserver_current_inqueue_requests";
const NANOS_OF_SECOND: Nanos = 1_000_000_000;

/// Where a request is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    Waiting,
    Executing,
}

/// The numbers, by phase and kind.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    numbers: [[Number; 2]; 2],
    waiting: [Level; 2],
}

/// A number over time.
#[derive(Debug)]
struct Number {
    now: AtomicUsize,
    of: AtomicUsize,
    since: AtomicU64,
    /// How long it was in each bucket, in nanoseconds.
    spans: Box<[AtomicU64]>,
    /// How long times how much, in nanoseconds.
    sum: AtomicU64,
}

impl Default for Number {
    fn default() -> Self {
        let spans = (0..=describe(RATIOS).bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self {
            now: AtomicUsize::new(0),
            of: AtomicUsize::new(1),
            since: AtomicU64::new(0),
            spans,
            sum: AtomicU64::new(0),
        }
    }
}

impl Number {
    /// Counts the time since the last call for what the number was then.
    fn pass(&self, was: usize, now: Nanos) {
        let span = now.saturating_sub(self.since.fetch_max(now, Ordering::Relaxed));
        if span > 0 {
            let ratio = was as f64 / self.of.load(Ordering::Relaxed) as f64;
            let bucket = describe(RATIOS).bounds.partition_point(|bound| *bound < ratio);
            self.spans[bucket].fetch_add(span, Ordering::Relaxed);
            self.sum.fetch_add((ratio * span as f64) as u64, Ordering::Relaxed);
        }
    }

    fn write(&self, labels: &Labels, text: &mut Text) {
        let counts: Vec<u64> = self.spans.iter().map(|span| span.load(Ordering::Relaxed)).collect();
        text.histogram(RATIOS, labels, describe(RATIOS).bounds, &counts, self.sum.load(Ordering::Relaxed) as f64);
    }
}

impl Kinds {
    /// So many can wait and be served.
    pub(super) fn measure_by(&self, waiting: usize, executing: usize) {
        for (numbers, of) in self.numbers.iter().zip([waiting, executing]) {
            numbers.iter().for_each(|number| number.of.store(of.max(1), Ordering::Relaxed));
        }
    }

    /// One more; `reads` says of which kind.
    pub(super) fn enter(&self, phase: Phase, reads: bool, now: Nanos) {
        let number = &self.numbers[phase as usize][usize::from(reads)];
        number.pass(number.now.fetch_add(1, Ordering::Relaxed), now);
        if matches!(phase, Phase::Waiting) {
            self.waiting[usize::from(reads)].enter(now / NANOS_OF_SECOND);
        }
    }

    /// One less.
    pub(super) fn leave(&self, phase: Phase, reads: bool, now: Nanos) {
        let number = &self.numbers[phase as usize][usize::from(reads)];
        number.pass(number.now.fetch_sub(1, Ordering::Relaxed), now);
        if matches!(phase, Phase::Waiting) {
            self.waiting[usize::from(reads)].leave();
        }
    }

    pub(super) fn write(&self, now: Nanos, text: &mut Text) {
        let phases = [(Phase::Waiting, "waiting"), (Phase::Executing, "executing")];
        for (kind, name) in ["mutating", "readOnly"].into_iter().enumerate() {
            for (phase, phase_name) in phases {
                let number = &self.numbers[phase as usize][kind];
                number.pass(number.now.load(Ordering::Relaxed), now);
                number.write(&Labels::new(&["phase", "request_kind"], &[phase_name, name]), text);
            }
            let most = self.waiting[kind].highest(now / NANOS_OF_SECOND);
            text.value(WAITING, &[("request_kind", name)], most as f64);
        }
    }
}
