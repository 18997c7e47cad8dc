//! Counters, gauges and histograms under the reference's names, in Prometheus' text format.
//!
//! Names, types, buckets and help texts are facts of the reference, in `data/families.txt`. They are why this is no crate
//! from elsewhere: `prometheus-client` writes OpenMetrics alone, gives every counter `_total` (of the reference's some
//! have none), and has no summaries; `prometheus` writes bucket bounds in another way than Go does and takes a lock for each
//! series that is looked up.
//!
//! Counting takes no lock and allocates nothing once a series exists. A family has room for a fixed number of series;
//! what comes beyond is not counted, so that nobody can fill the memory with labels.

mod family;
mod number;
pub mod process;
mod stripe;
mod table;
mod text;
mod value;

use std::sync::Arc;

use parking_lot::RwLock;

pub use family::Family;
pub use number::go_float;
pub use table::Table;
pub use text::{Description, Kind, Labels, Text, describe};
pub use value::{Counter, Gauge, Histogram, Tally, Value};

/// Something that can write what it counts.
pub trait Collect: Send + Sync {
    /// Adds its families, as they are now.
    fn collect(&self, text: &mut Text);
}

/// Everything that counts in one process. Clones share it; nothing is global.
#[derive(Clone, Default)]
pub struct Metrics(Arc<RwLock<Vec<Arc<dyn Collect>>>>);

impl Metrics {
    /// From now on this is written too.
    pub fn register(&self, collector: Arc<dyn Collect>) {
        self.0.write().push(collector);
    }
}

impl Collect for Metrics {
    fn collect(&self, text: &mut Text) {
        let collectors = self.0.read().clone();
        collectors.iter().for_each(|collector| collector.collect(text));
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.read().len()).finish()
    }
}
