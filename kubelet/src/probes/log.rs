//! Counts of probes (`prober_…`): of those that there are, so that what is gone is told of no more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Collect, Counter, Histogram, Labels, Text, Value, describe};
use parking_lot::Mutex;

const TOTAL: &str = "prober_probe_total";
const DURATION: &str = "prober_probe_duration_seconds";
/// The findings that a probe may have.
const RESULTS: [&str; 3] = ["successful", "failed", "unknown"];

/// Whose probe it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) pod_uid: String,
    pub(crate) container: String,
}

#[derive(Debug)]
struct Entry {
    probed: Probed,
    results: [Counter; RESULTS.len()],
    durations: Histogram,
}

/// The probes of a node that are under way.
#[derive(Debug, Default)]
pub struct ProbeLog {
    entries: Mutex<HashMap<u64, Arc<Entry>>>,
    next: AtomicU64,
}

/// One probe's counts, which go with it.
#[derive(Debug)]
pub(crate) struct Logged {
    log: Arc<ProbeLog>,
    number: u64,
    entry: Arc<Entry>,
}

impl ProbeLog {
    /// A probe begins.
    pub(crate) fn begin(self: &Arc<Self>, probed: Probed) -> Logged {
        let entry = Entry {
            probed,
            results: std::array::from_fn(|_| Counter::default()),
            durations: Histogram::new(describe(DURATION).bounds),
        };
        let (entry, number) = (Arc::new(entry), self.next.fetch_add(1, Ordering::Relaxed));
        self.entries.lock().insert(number, entry.clone());
        Logged { log: self.clone(), number, entry }
    }
}

impl Logged {
    /// A check is over: it succeeded or failed, or nothing was learnt.
    pub(crate) fn found(&self, result: Option<bool>, took: Duration) {
        let place = match result {
            Some(true) => 0,
            Some(false) => 1,
            None => 2,
        };
        self.entry.results[place].add_one();
        self.entry.durations.observe(took.as_secs_f64());
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.log.entries.lock().remove(&self.number);
    }
}

impl Collect for ProbeLog {
    fn collect(&self, text: &mut Text) {
        let entries: Vec<Arc<Entry>> = self.entries.lock().values().cloned().collect();
        for entry in entries {
            let Probed { kind, namespace, pod, pod_uid, container } = &entry.probed;
            let names = ["probe_type", "container", "namespace", "pod", "pod_uid", "result"];
            for (result, counter) in RESULTS.into_iter().zip(&entry.results).filter(|(_, counter)| counter.get() > 0) {
                let labels = Labels::new(&names, &[kind, container, namespace, pod, pod_uid, result]);
                counter.write(TOTAL, &labels, text);
            }
            let labels = Labels::new(&names[..4], &[kind, container, namespace, pod]);
            entry.durations.write(DURATION, &labels, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_told_of_while_it_lasts() {
        let log = Arc::new(ProbeLog::default());
        let probed = Probed {
            kind: "Readiness",
            namespace: "n".into(),
            pod: "p".into(),
            pod_uid: "u".into(),
            container: "c".into(),
        };
        let text = |log: &ProbeLog| {
            let mut text = Text::default();
            log.collect(&mut text);
            text.finish()
        };
        let logged = log.begin(probed);
        logged.found(Some(true), Duration::from_millis(3));
        logged.found(None, Duration::from_millis(3));
        let shown = text(&log);
        let labels = "container=\"c\",namespace=\"n\",pod=\"p\"";
        for line in [
            format!("{TOTAL}{{{labels},pod_uid=\"u\",probe_type=\"Readiness\",result=\"successful\"}} 1\n"),
            format!("{TOTAL}{{{labels},pod_uid=\"u\",probe_type=\"Readiness\",result=\"unknown\"}} 1\n"),
            format!("{DURATION}_count{{{labels},probe_type=\"Readiness\"}} 2\n"),
        ] {
            assert!(shown.contains(&line), "{line}{shown}");
        }
        drop(logged);
        assert_eq!(text(&log), "");
    }
}
