//! What is counted of a level and of each of its flow schemas, under the lock of the level.

use metrics::Text;

use super::Sums;
use crate::flow_control::seat_seconds::Nanos;
use crate::flow_control::weighted::Weighted;

/// The number of a flow schema within its level.
pub(crate) type FlowId = usize;

/// How many schemas of a level are counted apart; those beyond are not counted.
const FLOWS_MAX: usize = 256;
const NANOS_OF_SECOND: f64 = 1e9;

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Its queue was full.
    QueueFull,
    /// No seat was free and there are no queues.
    ConcurrencyLimit,
    /// It waited too long, or its client did not wait.
    Timeout,
}

impl Rejection {
    const ALL: [Self; 3] = [Self::QueueFull, Self::ConcurrencyLimit, Self::Timeout];

    fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::Timeout => "time-out",
        }
    }
}

/// The counts of every schema that has or had requests at the level.
#[derive(Debug, Default)]
pub(crate) struct Flows(Vec<Flow>);

/// The counts of one.
#[derive(Debug)]
struct Flow {
    schema: String,
    waiting: usize,
    seats_waiting: usize,
    executing: usize,
    seats_in_use: usize,
    dispatched: u64,
    rejected: [u64; Rejection::ALL.len()],
    not_accommodated: u64,
    /// Of those that were refused at once, and of all others.
    waits: [Weighted; 2],
    /// Of watches, until their state is sent, and of all others.
    executions: [Weighted; 2],
    lengths: Weighted,
    widths: Weighted,
    watchers: Weighted,
}

impl Flow {
    fn new(schema: &str) -> Self {
        let waits = || Weighted::new("apiserver_flowcontrol_request_wait_duration_seconds");
        let executions = || Weighted::new("apiserver_flowcontrol_request_execution_seconds");
        Self {
            schema: schema.into(),
            waiting: 0,
            seats_waiting: 0,
            executing: 0,
            seats_in_use: 0,
            dispatched: 0,
            rejected: Default::default(),
            not_accommodated: 0,
            waits: [waits(), waits()],
            executions: [executions(), executions()],
            lengths: Weighted::new("apiserver_flowcontrol_request_queue_length_after_enqueue"),
            widths: Weighted::new("apiserver_flowcontrol_work_estimated_seats"),
            watchers: Weighted::new("apiserver_flowcontrol_watch_count_samples"),
        }
    }
}

impl Flows {
    /// The number of a schema, which it keeps.
    pub(in super::super) fn id(&mut self, schema: &str) -> FlowId {
        if let Some(known) = self.0.iter().position(|flow| flow.schema == schema) {
            return known;
        }
        if self.0.len() < FLOWS_MAX {
            self.0.push(Flow::new(schema));
            return self.0.len() - 1;
        }
        FLOWS_MAX
    }

    /// The name of a schema.
    pub(in super::super) fn schema(&self, id: FlowId) -> &str {
        self.0.get(id).map_or("", |flow| &flow.schema)
    }

    fn with(&mut self, id: FlowId, change: impl FnOnce(&mut Flow)) {
        if let Some(flow) = self.0.get_mut(id) {
            change(flow);
        }
    }

    pub(super) fn queued(&mut self, id: FlowId, seats: usize, length: usize) {
        self.with(id, |flow| {
            flow.waiting += 1;
            flow.seats_waiting += seats;
            flow.lengths.observe(length as f64);
        });
    }

    pub(super) fn unqueued(&mut self, id: FlowId, seats: usize) {
        self.with(id, |flow| {
            flow.waiting -= 1;
            flow.seats_waiting -= seats;
        });
    }

    pub(super) fn began(&mut self, id: FlowId, seats: usize) {
        self.with(id, |flow| {
            flow.dispatched += 1;
            flow.executing += 1;
            flow.seats_in_use += seats;
        });
    }

    pub(super) fn ended(&mut self, id: FlowId) {
        self.with(id, |flow| flow.executing -= 1);
    }

    pub(super) fn released(&mut self, id: FlowId, seats: usize) {
        self.with(id, |flow| flow.seats_in_use -= seats);
    }

    pub(super) fn rejected(&mut self, id: FlowId, why: Rejection) {
        self.with(id, |flow| flow.rejected[why as usize] += 1);
    }

    pub(super) fn not_accommodated(&mut self, id: FlowId) {
        self.with(id, |flow| flow.not_accommodated += 1);
    }

    /// A request of so many seats has come, of a kind that so many watch, where that matters.
    pub(in super::super) fn estimated(&mut self, id: FlowId, seats: usize, watchers: Option<usize>) {
        self.with(id, |flow| {
            flow.widths.observe(seats as f64);
            if let Some(watchers) = watchers {
                flow.watchers.observe(watchers as f64);
            }
        });
    }

    /// A request has waited for so long; one that was refused at once never stood in a queue.
    pub(in super::super) fn waited(&mut self, id: FlowId, span: Nanos, refused_at_once: bool) {
        self.with(id, |flow| flow.waits[usize::from(!refused_at_once)].observe(span as f64 / NANOS_OF_SECOND));
    }

    /// A request was served for so long.
    pub(in super::super) fn executed(&mut self, id: FlowId, span: Nanos, is_watch: bool) {
        self.with(id, |flow| flow.executions[usize::from(!is_watch)].observe(span as f64 / NANOS_OF_SECOND));
    }

    /// Writes the counts of a level.
    pub(in super::super) fn write(&self, level: &str, text: &mut Text) {
        for flow in &self.0 {
            let of = [("flow_schema", flow.schema.as_str()), ("priority_level", level)];
            let and = |name: &'static str, value: &'static str| [of[0], of[1], (name, value)];
            let gauges = [
                ("apiserver_flowcontrol_current_inqueue_requests", flow.waiting),
                ("apiserver_flowcontrol_current_inqueue_seats", flow.seats_waiting),
                ("apiserver_flowcontrol_current_executing_requests", flow.executing),
                ("apiserver_flowcontrol_current_executing_seats", flow.seats_in_use),
            ];
            gauges.into_iter().for_each(|(name, number)| text.value(name, &of, number as f64));
            text.value("apiserver_flowcontrol_dispatched_requests_total", &of, flow.dispatched as f64);
            if flow.not_accommodated > 0 {
                let name = "apiserver_flowcontrol_request_dispatch_no_accommodation_total";
                text.value(name, &of, flow.not_accommodated as f64);
            }
            for (why, count) in Rejection::ALL.into_iter().zip(flow.rejected).filter(|(_, count)| *count > 0) {
                let name = "apiserver_flowcontrol_rejected_requests_total";
                text.value(name, &and("reason", why.name()), count as f64);
            }
            flow.waits[0].write(&and("execute", "false"), text);
            flow.waits[1].write(&and("execute", "true"), text);
            flow.executions[0].write(&and("type", "watch"), text);
            flow.executions[1].write(&and("type", "regular"), text);
            [&flow.lengths, &flow.widths, &flow.watchers].into_iter().for_each(|counts| counts.write(&of, text));
        }
    }
}

/// How much of a level was used, over time.
#[derive(Debug)]
pub(crate) struct Utilization {
    /// What is divided by: seats, and places in queues.
    denominators: [f64; 2],
    waiting: Weighted,
    executing: Weighted,
    seats: Weighted,
    demand: Weighted,
}

impl Default for Utilization {
    fn default() -> Self {
        Self {
            denominators: [1.0; 2],
            waiting: Weighted::new(REQUESTS),
            executing: Weighted::new(REQUESTS),
            seats: Weighted::new("apiserver_flowcontrol_priority_level_seat_utilization"),
            demand: Weighted::new("apiserver_flowcontrol_demand_seats"),
        }
    }
}

const REQUESTS: &str = "apiserver_flowcontrol_priority_level_request_utilization";

impl Utilization {
    /// So many seats and places in queues are there from now on.
    pub(super) fn measure_by(&mut self, seats: usize, places: usize) {
        self.denominators = [seats, places].map(|number| number.max(1) as f64);
    }

    /// There were so many for so long.
    pub(super) fn pass(&mut self, sums: &Sums, span: Nanos) {
        let [seats, places] = self.denominators;
        self.waiting.add(sums.waiting as f64 / places, span);
        self.executing.add(sums.executing as f64 / seats, span);
        self.seats.add(sums.seats_in_use as f64 / seats, span);
        self.demand.add((sums.seats_in_use + sums.seats_waiting) as f64 / seats, span);
    }

    pub(in super::super) fn write(&self, level: &str, text: &mut Text) {
        let phase = |phase: &'static str| [("phase", phase), ("priority_level", level)];
        self.waiting.write(&phase("waiting"), text);
        self.executing.write(&phase("executing"), text);
        self.seats.write(&phase("executing"), text);
        self.demand.write(&[("priority_level", level)], text);
    }
}
