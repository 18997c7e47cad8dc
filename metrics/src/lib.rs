//! Counters, gauges and histograms under the reference's names, in Prometheus' text format.
//!
//! A family is declared once, in `data/families.txt` (or `data/cadvisor.txt`): name, type, labels, bounds of buckets, help.
//! Whoever counts in it names it in [`families!`], or writes it when somebody asks with [`Text::value`]. The test `reference`
//! compares what is declared with all families of the reference, and knows why each other one is left out.
//!
//! Names, types and buckets are facts of the reference. They are why this is no crate
//! from elsewhere: `prometheus-client` writes OpenMetrics alone, gives every counter `_total` (of the reference's some
//! have none), and has no summaries; `prometheus` writes bucket bounds in another way than Go does and takes a lock for each
//! series that is looked up.
//!
//! Counting takes no lock and allocates nothing once a series exists. A family has room for a fixed number of series;
//! what comes beyond is not counted, so that nobody can fill the memory with labels.

mod family;
mod fixed;
mod number;
pub mod process;
mod stripe;
mod table;
mod text;
mod value;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

pub use family::Family;
pub use fixed::Fixed;
pub use number::go_float;
pub use table::Table;
pub use text::{Book, Description, Kind, Labels, Text, describe};
pub use value::{Counter, Gauge, Histogram, Tally, Value};

/// Something that can write what it counts.
pub trait Collect: Send + Sync {
    /// Adds its families, as they are now.
    fn collect(&self, text: &mut Text);
}

/// Everything that counts in one process. Clones share it; nothing is global.
#[derive(Clone, Default)]
pub struct Metrics(Arc<RwLock<Registered>>);

#[derive(Default)]
struct Registered {
    collectors: Vec<Arc<dyn Collect>>,
    /// Those of which there is one of a type.
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Metrics {
    /// From now on this is written too.
    pub fn register(&self, collector: Arc<dyn Collect>) {
        self.0.write().collectors.push(collector);
    }

    /// The families of a type, registered once: who starts again, or shares them with another, goes on counting.
    pub fn families<F: Collect + Default + 'static>(&self) -> Arc<F> {
        let mut registered = self.0.write();
        let known = registered.by_type.get(&TypeId::of::<F>()).cloned();
        if let Some(known) = known.and_then(|known| known.downcast().ok()) {
            return known;
        }
        let families = Arc::new(F::default());
        registered.by_type.insert(TypeId::of::<F>(), families.clone());
        registered.collectors.push(families.clone());
        families
    }
}

impl Collect for Metrics {
    fn collect(&self, text: &mut Text) {
        let collectors = self.0.read().collectors.clone();
        collectors.iter().for_each(|collector| collector.collect(text));
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.read().collectors.len()).finish()
    }
}
