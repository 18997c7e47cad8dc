//! What is counted of an informer (`informer_…`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Collect, Histogram, Labels, Text, Value, describe};

const LATENCY: &str = "informer_processing_latency_seconds";
const VERSION: &str = "informer_store_resource_version";
/// So many of the last digits of a version a number of 64 bits holds for sure.
const DIGITS: u64 = 1_000_000_000_000_000;

/// What every informer counts of itself, whether somebody looks or not.
#[derive(Debug)]
pub(crate) struct Counts {
    latency: Histogram,
    version: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { latency: Histogram::new(describe(LATENCY).bounds), version: AtomicU64::new(0) }
    }
}

impl Counts {
    /// An event was taken in and told to the handlers.
    pub(crate) fn handled(&self, took: Duration) {
        self.latency.observe(took.as_secs_f64());
    }

    /// The cache holds an object of this version.
    pub(crate) fn holds(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            self.version.fetch_max(version, Ordering::Relaxed);
        }
    }
}

/// The counts of an informer under the names that its figures have.
pub(crate) struct Named {
    /// Whose informer it is, and the group, version and resource that it holds.
    pub(crate) labels: [String; 4],
    pub(crate) counts: Arc<Counts>,
}

impl Collect for Named {
    fn collect(&self, text: &mut Text) {
        let values = self.labels.each_ref().map(String::as_str);
        let labels = Labels::new(&["name", "group", "version", "resource"], &values);
        self.counts.latency.write(LATENCY, &labels, text);
        let version = self.counts.version.load(Ordering::Relaxed) % DIGITS;
        text.sample(VERSION, &labels, version as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_and_the_time_of_handlers_are_told() {
        let counts = Arc::new(Counts::default());
        counts.holds(Some("12"));
        counts.holds(Some("7"));
        counts.holds(Some("x"));
        counts.handled(Duration::from_millis(30));
        let labels = ["me", "apps", "v1", "deployments"].map(str::to_owned);
        let mut text = Text::default();
        Named { labels, counts }.collect(&mut text);
        let text = text.finish();
        let labels = "{group=\"apps\",name=\"me\",resource=\"deployments\",version=\"v1\"}";
        for line in [format!("{VERSION}{labels} 12\n"), format!("{LATENCY}_sum{labels} 0.03\n")] {
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}
