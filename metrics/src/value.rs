//! What one series is: a counter, a gauge, or a histogram.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::text::{Labels, Text};

/// One series of a family.
pub trait Value: Send + Sync {
    /// One that has counted nothing; `bounds` are those of a histogram's buckets.
    fn new(bounds: &'static [f64]) -> Self;
    /// Writes itself under a name and labels.
    fn write(&self, name: &'static str, labels: &Labels, text: &mut Text);
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Value for Counter {
    fn new(_: &'static [f64]) -> Self {
        Self::default()
    }

    fn write(&self, name: &'static str, labels: &Labels, text: &mut Text) {
        text.sample(name, labels, self.get() as f64);
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is this now.
    pub fn set(&self, number: f64) {
        self.0.store(number.to_bits(), Ordering::Relaxed);
    }

    /// It changes by so much.
    pub fn add(&self, change: f64) {
        add(&self.0, change);
    }

    /// What it is.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Value for Gauge {
    fn new(_: &'static [f64]) -> Self {
        Self::default()
    }

    fn write(&self, name: &'static str, labels: &Labels, text: &mut Text) {
        text.sample(name, labels, self.get());
    }
}

/// How many observations were up to each bound.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// Those in each bucket alone; the last is above every bound.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, number: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < number);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        add(&self.sum, number);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Value for Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    fn write(&self, name: &'static str, labels: &Labels, text: &mut Text) {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        text.histogram(name, labels, self.bounds, &counts, f64::from_bits(self.sum.load(Ordering::Relaxed)));
    }
}

fn add(to: &AtomicU64, change: f64) {
    let more = |bits| Some((f64::from_bits(bits) + change).to_bits());
    // Always Some: the update is tried until it succeeds.
    let _ = to.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
}
