//! How much the slices of all services hold together (`metrics.Cache` of `k8s.io/endpointslice`).

use std::collections::HashMap;

use client::ObjectKey;
use metrics::{Family, Gauge};
use parking_lot::Mutex;

use super::plan::Held;

/// What is held for each service, and what its traffic distribution is.
#[derive(Default)]
pub(super) struct Tally(Mutex<HashMap<ObjectKey, (Held, &'static str)>>);

/// The gauges of endpoints, of slices, and of how few there could be.
pub(super) type Gauges<'a> = [&'a Family<Gauge, 0>; 3];

impl Tally {
    /// A service is held in this way from now on; nothing if it is gone.
    pub(super) fn note(
        &self,
        key: &ObjectKey,
        now: Option<(Held, &'static str)>,
        gauges: Gauges<'_>,
        by_distribution: Option<&Family<Gauge, 1>>,
    ) {
        let mut services = self.0.lock();
        let before = match now {
            Some(now) => services.insert(key.clone(), now),
            None => services.remove(key),
        };
        for (state, sign) in [(before, -1.0), (now, 1.0)] {
            let Some((held, distribution)) = state else { continue };
            for (gauge, count) in gauges.iter().zip([held.endpoints, held.slices, held.slices_least]) {
                gauge.with([], |gauge| gauge.add(sign * count as f64));
            }
            if let Some(by_distribution) = by_distribution.filter(|_| !distribution.is_empty()) {
                by_distribution.with([distribution], |gauge| gauge.add(sign));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::{Collect, Text};

    use super::*;
    use crate::figures::Slices;

    #[test]
    fn what_is_gone_counts_no_more() {
        let (tally, figures) = (Tally::default(), Slices::default());
        let gauges = [&figures.endpoints, &figures.slices, &figures.slices_wanted];
        let held = |endpoints, slices, slices_least| Held { endpoints, slices, slices_least };
        let note = |name: &str, now| {
            tally.note(&ObjectKey::new("a", name), now, gauges, Some(&figures.by_distribution));
        };
        note("x", Some((held(250, 4, 3), "PreferClose")));
        note("y", Some((held(1, 1, 1), "")));
        note("x", Some((held(150, 3, 2), "PreferSameNode")));
        let check = |lines: &[&str]| {
            let mut text = Text::default();
            figures.collect(&mut text);
            let text = text.finish();
            for line in lines {
                let line = format!("endpoint_slice_controller_{line}\n");
                assert!(text.contains(&line), "{line}{text}");
            }
        };
        check(&[
            "endpoints_desired 151",
            "num_endpoint_slices 4",
            "desired_endpoint_slices 3",
            "services_count_by_traffic_distribution{traffic_distribution=\"PreferClose\"} 0",
            "services_count_by_traffic_distribution{traffic_distribution=\"PreferSameNode\"} 1",
        ]);
        note("x", None);
        check(&["endpoints_desired 1", "num_endpoint_slices 1", "desired_endpoint_slices 1"]);
    }
}
