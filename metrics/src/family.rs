//! A family of series that differ in their labels.

use crate::text::{Labels, Text, describe};
use crate::{Collect, Table, Value};

/// Series of one name by the values of `N` labels.
#[derive(Debug)]
pub struct Family<V, const N: usize> {
    name: &'static str,
    bounds: &'static [f64],
    labels: [&'static str; N],
    table: Table<V, N>,
}

impl<V: Value, const N: usize> Family<V, N> {
    /// The family of this name, which must be in the data file, with room for so many series.
    pub fn new(name: &'static str, labels: [&'static str; N], room: usize) -> Self {
        let family = Self { name, bounds: describe(name).bounds, labels, table: Table::new(room) };
        // The only series of a family without labels is there from the start.
        if N == 0 {
            family.with([""; N], |_| ());
        }
        family
    }

    /// Does something to the series of these values, in the order of the labels' names.
    pub fn with(&self, values: [&str; N], act: impl FnOnce(&V)) {
        if let Some(series) = self.table.get(values, || V::new(self.bounds)) {
            act(series);
        }
    }
}

impl<V: Value, const N: usize> Collect for Family<V, N> {
    fn collect(&self, text: &mut Text) {
        for (values, series) in self.table.iter() {
            series.write(self.name, &Labels::new(&self.labels, &values), text);
        }
    }
}
