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
    ///
    /// # Panics
    /// If the data file has other labels, which a test of whatever counts in the family finds.
    pub fn new(name: &'static str, labels: [&'static str; N], room: usize) -> Self {
        let description = describe(name);
        assert!(description.is_labelled(&labels), "{name} has other labels than {labels:?}");
        let family = Self { name, bounds: description.bounds, labels, table: Table::new(room) };
        // The only series of a family without labels is there from the start.
        if N == 0 {
            family.with([""; N], |_| ());
        }
        family
    }

    /// Every series with the values of its labels, in no order.
    pub fn iter(&self) -> impl Iterator<Item = ([&str; N], &V)> {
        self.table.iter()
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

/// Declares a struct of families with its `Default` and [`Collect`]: in each line the field, what its series are, the
/// family's name, its labels in the order in which they are given, and for how many series there is room.
///
/// ```
/// metrics::families! {
///     /// What a loop counts.
///     pub struct Loop {
///         /// Its rounds.
///         pub rounds: metrics::Counter = "workqueue_adds_total" ["name"] 4;
///     }
/// }
/// Loop::default().rounds.with(["a"], metrics::Counter::add_one);
/// ```
#[macro_export]
macro_rules! families {
    ($(#[$of_struct:meta])* $visible:vis struct $struct:ident {
        $($(#[$of_field:meta])* $shown:vis $field:ident: $value:ty = $name:literal [$($label:literal),*] $room:expr;)*
    }) => {
        $(#[$of_struct])*
        $visible struct $struct {
            $($(#[$of_field])* $shown $field: $crate::Family<$value, { <[&str]>::len(&[$($label),*]) }>,)*
        }

        impl Default for $struct {
            fn default() -> Self {
                Self { $($field: $crate::Family::new($name, [$($label),*], $room),)* }
            }
        }

        impl $crate::Collect for $struct {
            fn collect(&self, text: &mut $crate::Text) {
                $($crate::Collect::collect(&self.$field, text);)*
            }
        }
    };
}
