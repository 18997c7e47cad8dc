//! Writes to the store, and reads from it, which is the watch cache too. Each group has its counters in one place, so that
//! a request looks for them once.

use std::time::Duration;

use metrics::{Collect, Counter, Histogram, Labels, Table, Text, Value, describe, families};

use super::{OPERATIONS_MAX, RESOURCES_MAX};

const STORE_DURATION: &str = "etcd_request_duration_seconds";
/// Each write is one event of the store, which is its own watch cache.
const EVENTS: [&str; 3] = [
    "apiserver_storage_events_received_total",
    "apiserver_watch_cache_events_received_total",
    "apiserver_watch_cache_events_dispatched_total",
];

/// How the store answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It has written.
    Written,
    /// It has not, as a condition does not hold.
    Refused,
    /// It could not.
    Failed,
}

/// What one operation on one resource counts.
struct Operation {
    durations: Histogram,
    errors: Counter,
    written: Counter,
}

/// Writes by operation, group and resource.
pub(super) struct Operations(Table<Operation, 3>);

impl Default for Operations {
    fn default() -> Self {
        Self(Table::new(OPERATIONS_MAX))
    }
}

impl Operations {
    /// A write is over.
    pub(super) fn count(&self, labels: [&str; 3], outcome: Stored, took: Duration) {
        let make = || Operation {
            durations: Histogram::new(describe(STORE_DURATION).bounds),
            errors: Counter::default(),
            written: Counter::default(),
        };
        let Some(operation) = self.0.get(labels, make) else { return };
        operation.durations.observe(took.as_secs_f64());
        match outcome {
            Stored::Written => operation.written.add_one(),
            Stored::Refused => {}
            Stored::Failed => operation.errors.add_one(),
        }
    }
}

impl Collect for Operations {
    fn collect(&self, text: &mut Text) {
        let mut written = std::collections::BTreeMap::<[&str; 2], u64>::new();
        for (values, operation) in self.0.iter() {
            let labels = Labels::new(&["operation", "group", "resource"], &values);
            operation.durations.write(STORE_DURATION, &labels, text);
            text.sample("etcd_requests_total", &labels, operation.durations.count() as f64);
            if operation.errors.get() > 0 {
                operation.errors.write("etcd_request_errors_total", &labels, text);
            }
            let [_, group, resource] = values;
            *written.entry([group, resource]).or_default() += operation.written.get();
        }
        for (values, count) in written {
            let labels = Labels::new(&["group", "resource"], &values);
            EVENTS.into_iter().for_each(|name| text.sample(name, &labels, count as f64));
        }
    }
}

/// What the lists of one resource count.
#[derive(Default)]
struct Lists {
    lists: Counter,
    fetched: Counter,
    returned: Counter,
    newest: Counter,
}

families! {
    /// What only some reads count.
    pub struct Waits {
        read: Histogram = "apiserver_watch_cache_read_wait_seconds" ["group", "resource"] RESOURCES_MAX;
        watch_lists: Histogram =
            "apiserver_watch_list_duration_seconds" ["group", "version", "resource", "scope"] RESOURCES_MAX;
    }
}

/// Reads by group and resource.
pub struct Reads {
    lists: Table<Lists, 2>,
    waits: Waits,
}

impl Default for Reads {
    fn default() -> Self {
        Self { lists: Table::new(RESOURCES_MAX), waits: Waits::default() }
    }
}

impl Reads {
    /// A page was read: how many objects were looked at and how many it has, and whether it had to be of the newest state.
    pub fn listed(&self, labels: [&str; 2], seen: u64, returned: u64, newest: bool) {
        let Some(lists) = self.lists.get(labels, Lists::default) else { return };
        lists.lists.add_one();
        lists.fetched.add(seen);
        lists.returned.add(returned);
        if newest {
            lists.newest.add_one();
        }
    }

    /// A read waited so long for a state that had not happened yet.
    pub fn waited(&self, labels: [&str; 2], took: Duration) {
        self.waits.read.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }

    /// A watch has sent all that there was at its beginning: group, version, resource, scope.
    pub fn watch_listed(&self, labels: [&str; 4], took: Duration) {
        self.waits.watch_lists.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }
}

impl Collect for Reads {
    fn collect(&self, text: &mut Text) {
        for ([group, resource], lists) in self.lists.iter() {
            let of_index = Labels::new(&["group", "index", "resource"], &[group, "", resource]);
            lists.lists.write("apiserver_cache_list_total", &of_index, text);
            lists.fetched.write("apiserver_cache_list_fetched_objects_total", &of_index, text);
            let labels = Labels::new(&["group", "resource"], &[group, resource]);
            lists.returned.write("apiserver_cache_list_returned_objects_total", &labels, text);
            if lists.newest.get() > 0 {
                // The cache is never behind, so nothing falls back.
                let names = ["fallback", "group", "resource", "success"];
                let labels = Labels::new(&names, &["false", group, resource, "true"]);
                lists.newest.write("apiserver_watch_cache_consistent_read_total", &labels, text);
            }
        }
        self.waits.collect(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_an_event_if_it_was_one() {
        let operations = Operations::default();
        for outcome in [Stored::Written, Stored::Refused, Stored::Failed] {
            operations.count(["create", "", "pods"], outcome, Duration::from_millis(1));
        }
        operations.count(["delete", "", "pods"], Stored::Written, Duration::from_millis(1));
        let reads = Reads::default();
        reads.listed(["", "pods"], 7, 3, true);
        reads.listed(["", "pods"], 7, 3, false);
        let mut text = Text::default();
        operations.collect(&mut text);
        reads.collect(&mut text);
        let text = text.finish();
        for line in [
            "etcd_requests_total{group=\"\",operation=\"create\",resource=\"pods\"} 3",
            "etcd_request_errors_total{group=\"\",operation=\"create\",resource=\"pods\"} 1",
            "apiserver_storage_events_received_total{group=\"\",resource=\"pods\"} 2",
            "apiserver_watch_cache_events_dispatched_total{group=\"\",resource=\"pods\"} 2",
            "apiserver_cache_list_fetched_objects_total{group=\"\",index=\"\",resource=\"pods\"} 14",
            "apiserver_watch_cache_consistent_read_total{fallback=\"false\",group=\"\",resource=\"pods\",success=\"true\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
    }
}
