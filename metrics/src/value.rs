//! What one series is: a counter, a gauge, or a histogram.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::stripe::{Striped, room};
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

/// A number that only grows, for what several threads count all the time: it takes more room than a [`Counter`] and is
/// slower to read.
#[derive(Debug, Default)]
pub struct Tally(Striped<[AtomicU64]>);

impl Tally {
    /// One more.
    pub fn add_one(&self) {
        self.0.own(|| numbers(1))[0].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.all().map(|stripe| stripe[0].load(Ordering::Relaxed)).sum()
    }
}

impl Value for Tally {
    fn new(_: &'static [f64]) -> Self {
        Self::default()
    }

    fn write(&self, name: &'static str, labels: &Labels, text: &mut Text) {
        text.sample(name, labels, self.get() as f64);
    }
}

/// How many observations were up to each bound.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// The sum, those in each bucket alone, and those above every bound.
    stripes: Striped<[AtomicU64]>,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, number: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < number);
        let stripe = self.stripes.own(|| numbers(self.bounds.len() + 2));
        stripe[1 + bucket].fetch_add(1, Ordering::Relaxed);
        add(&stripe[0], number);
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        let sums = self.stripes.all().map(|stripe| f64::from_bits(stripe[0].load(Ordering::Relaxed)));
        // An empty sum of floats would be a negative zero.
        sums.fold(0.0, |sum, more| sum + more)
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts().iter().sum()
    }

    fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.bounds.len() + 1];
        for stripe in self.stripes.all() {
            let buckets = counts.iter_mut().zip(&stripe[1..]);
            buckets.for_each(|(count, bucket)| *count += bucket.load(Ordering::Relaxed));
        }
        counts
    }
}

impl Value for Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, stripes: Striped::default() }
    }

    fn write(&self, name: &'static str, labels: &Labels, text: &mut Text) {
        text.histogram(name, labels, self.bounds, &self.counts(), self.sum());
    }
}

/// Zeros for one stripe.
fn numbers(count: usize) -> Box<[AtomicU64]> {
    (0..room(count)).map(|_| AtomicU64::new(0)).collect()
}

fn add(to: &AtomicU64, change: f64) {
    let more = |bits| Some((f64::from_bits(bits) + change).to_bits());
    // Always Some: the update is tried until it succeeds.
    let _ = to.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
}
