//! What the scheduler tells of itself when somebody asks, beside what is counted as it happens.

use std::sync::Arc;

use metrics::{Collect, Text};
use parking_lot::Mutex;

use crate::figures::Figures;
use crate::plugins::{Plugin, SCORERS};
use crate::scheduler::Core;

/// One scheduler.
pub(crate) struct Counted {
    pub(crate) core: Arc<Mutex<Core>>,
    pub(crate) figures: Arc<Figures>,
}

impl Collect for Counted {
    fn collect(&self, text: &mut Text) {
        self.figures.families.collect(text);
        let profile = ("profile", &*self.figures.profile);
        let core = self.core.lock();
        for (queue, count) in core.queue.pending() {
            text.value("scheduler_pending_pods", &[("queue", queue)], count as f64);
        }
        for (queue, event, count) in core.queue.incoming() {
            text.value("scheduler_queue_incoming_pods_total", &[("queue", queue), ("event", event)], count as f64);
        }
        for (plugin, count) in core.queue.rejected() {
            text.value("scheduler_unschedulable_pods", &[("plugin", plugin.name()), profile], count as f64);
        }
        let (pods, assumed) = core.cache.pod_counts();
        for (kind, count) in [("nodes", core.cache.node_count()), ("pods", pods), ("assumed_pods", assumed)] {
            text.value("scheduler_cache_size", &[("type", kind)], count as f64);
        }
        let evaluated = core.finder.evaluated();
        let filters = Plugin::ALL.iter().zip(evaluated.filters).map(|(plugin, count)| (plugin.name(), "Filter", count));
        let scorers = SCORERS.into_iter().map(|plugin| (plugin, "Score", evaluated.scores));
        for (plugin, point, count) in filters.chain(scorers) {
            let labels = [("plugin", plugin), ("extension_point", point), profile];
            text.value("scheduler_plugin_evaluation_total", &labels, count as f64);
        }
    }
}
