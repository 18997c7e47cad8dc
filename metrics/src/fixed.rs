//! A family whose series are all known beforehand.

use crate::text::{Labels, Text, describe};
use crate::{Collect, Value};

/// Series of one name by the `K` values that its only label has, found by their place and not by name: for what happens
/// at every request.
#[derive(Debug)]
pub struct Fixed<V, const K: usize> {
    name: &'static str,
    label: &'static str,
    values: [&'static str; K],
    series: [V; K],
}

impl<V: Value, const K: usize> Fixed<V, K> {
    /// The family of this name, which must be in the data file.
    ///
    /// # Panics
    /// If the data file has other labels, which a test of whatever counts in the family finds.
    pub fn new(name: &'static str, label: &'static str, values: [&'static str; K]) -> Self {
        let description = describe(name);
        assert!(description.is_labelled(&[label]), "{name} has other labels than {label:?}");
        Self { name, label, values, series: std::array::from_fn(|_| V::new(description.bounds)) }
    }

    /// The series of a value, by its place among them.
    pub fn at(&self, place: usize) -> &V {
        &self.series[place]
    }
}

impl<V: Value, const K: usize> Collect for Fixed<V, K> {
    fn collect(&self, text: &mut Text) {
        for (value, series) in self.values.iter().zip(&self.series) {
            series.write(self.name, &Labels::new(&[self.label], &[value]), text);
        }
    }
}
