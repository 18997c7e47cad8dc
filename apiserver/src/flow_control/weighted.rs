//! Histograms that are kept under a lock that is held anyway: of observations, and of a number over time, as if it were
//! observed at the end of every nanosecond (`TimingHistogram` in component-base).

use metrics::{Labels, Text, describe};

/// One series.
#[derive(Debug)]
pub(super) struct Weighted {
    name: &'static str,
    bounds: &'static [f64],
    counts: Box<[u64]>,
    sum: f64,
}

impl Weighted {
    /// A series of the family of this name.
    pub(super) fn new(name: &'static str) -> Self {
        let bounds = describe(name).bounds;
        Self { name, bounds, counts: vec![0; bounds.len() + 1].into(), sum: 0.0 }
    }

    /// Counts one.
    pub(super) fn observe(&mut self, number: f64) {
        self.add(number, 1);
    }

    /// Counts so many.
    pub(super) fn add(&mut self, number: f64, weight: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < number);
        self.counts[bucket] += weight;
        self.sum += number * weight as f64;
    }

    /// Writes it, if it has counted anything.
    pub(super) fn write(&self, labels: &[(&str, &str)], text: &mut Text) {
        if self.counts.iter().any(|count| *count > 0) {
            let (names, values): (Vec<&str>, Vec<&str>) = labels.iter().copied().unzip();
            text.histogram(self.name, &Labels::new(&names, &values), self.bounds, &self.counts, self.sum);
        }
    }
}
