//! The figures of levels, as they are when somebody asks.

use metrics::Text;
use store::Store;

use super::FlowControl;
use super::level::State;

impl FlowControl {
    /// Writes the figures of every level.
    pub(crate) fn collect(&self, store: &dyn Store, text: &mut Text) {
        self.table(store);
        let now = self.0.common.now();
        self.adjust(now);
        let levels = self.0.levels.lock();
        text.value("apiserver_flowcontrol_seat_fair_frac", &[], levels.fraction);
        for (name, level) in &levels.by_name {
            let mut state = level.lock();
            state.set.advance(now);
            write(name, &state, text);
        }
        self.0.common.kinds.write(now, text);
    }
}

fn write(name: &str, state: &State, text: &mut Text) {
    let (set, limits, demand) = (&state.set, state.limits, state.demand);
    let level = ("priority_level", name);
    let gauges = [
        ("apiserver_flowcontrol_nominal_limit_seats", limits.nominal as f64),
        ("apiserver_flowcontrol_lower_limit_seats", limits.min as f64),
        ("apiserver_flowcontrol_upper_limit_seats", limits.max as f64),
        ("apiserver_flowcontrol_current_limit_seats", set.limit() as f64),
        ("apiserver_flowcontrol_demand_seats_average", demand.average),
        ("apiserver_flowcontrol_demand_seats_high_watermark", demand.high as f64),
        ("apiserver_flowcontrol_demand_seats_smoothed", demand.smoothed),
        ("apiserver_flowcontrol_demand_seats_stdev", demand.deviation),
        ("apiserver_flowcontrol_target_seats", state.target),
        ("apiserver_flowcontrol_current_r", set.meter.as_seconds()),
    ];
    gauges.into_iter().for_each(|(family, number)| text.value(family, &[level], number));
    if set.sums.epochs > 0 {
        let labels = [level, ("success", "true")];
        text.value("apiserver_flowcontrol_epoch_advance_total", &labels, set.sums.epochs as f64);
    }
    if let Some(readings) = &set.readings {
        text.value("apiserver_flowcontrol_dispatch_r", &[level], readings.dispatch.as_seconds());
        text.value("apiserver_flowcontrol_latest_s", &[level], readings.start.as_seconds());
        for (at, bound) in ["min", "max"].into_iter().enumerate() {
            let labels = [("bound", bound), level];
            text.value("apiserver_flowcontrol_next_s_bounds", &labels, readings.starts[at].as_seconds());
            let discounted = readings.discounted[at].as_seconds();
            text.value("apiserver_flowcontrol_next_discounted_s_bounds", &labels, discounted);
        }
    }
    set.flows.write(name, text);
    set.utilization.write(name, text);
}
