//! Expressions that select devices, compiled once for many pods.

use std::collections::HashMap;
use std::sync::Arc;

use api::device_selector::DeviceSelector;
use parking_lot::Mutex;

/// How many expressions are kept; there are few in a cluster, mostly those of its classes.
const KEPT_MAX: usize = 256;

type Compiled = Arc<Result<DeviceSelector, String>>;

/// The expressions used last.
#[derive(Debug, Default)]
pub(crate) struct Selectors(Mutex<HashMap<String, Compiled>>);

impl Selectors {
    /// An expression, compiled.
    pub(crate) fn get(&self, source: &str) -> Compiled {
        let mut kept = self.0.lock();
        if let Some(found) = kept.get(source) {
            return found.clone();
        }
        let made = Arc::new(DeviceSelector::new(source));
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(source.to_owned(), made.clone());
        made
    }
}
