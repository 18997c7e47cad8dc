//! What the scheduler counts (`pkg/scheduler/metrics`).

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, families};

use crate::cycle::Stage;
use crate::queue::Tries;

/// Room for the results of one profile.
const RESULTS_MAX: usize = 64;
/// Room for drivers of devices, each of which has a few results.
const DRIVERS_MAX: usize = 256;
/// From so many attempts on they are not told apart (`getAttemptsLabel`).
const ATTEMPTS_MAX: u32 = 15;

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The pod is bound.
    Scheduled,
    /// No node takes it.
    Unschedulable,
    /// It could not be bound.
    Error,
}

impl Attempt {
    fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Unschedulable => "unschedulable",
            Self::Error => "error",
        }
    }
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::PreFilter => "PreFilter",
            Self::Filter => "Filter",
            Self::Score => "Score",
        }
    }
}

families! {
    /// The families of one scheduler.
    pub(crate) struct Families {
        attempts: Counter = "scheduler_schedule_attempts_total" ["profile", "result"] RESULTS_MAX;
        durations: Histogram = "scheduler_scheduling_attempt_duration_seconds" ["profile", "result"] RESULTS_MAX;
        algorithm: Histogram = "scheduler_scheduling_algorithm_duration_seconds" [] 1;
        until_scheduled: Histogram = "scheduler_pod_scheduling_attempts" [] 1;
        sli: Histogram = "scheduler_pod_scheduling_sli_duration_seconds" ["attempts"] RESULTS_MAX;
        after_flush: Counter = "scheduler_pod_scheduled_after_flush_total" [] 1;
        preemptions: Counter = "scheduler_preemption_attempts_total" [] 1;
        victims: Histogram = "scheduler_preemption_victims" [] 1;
        preempting: Histogram = "scheduler_preemption_goroutines_duration_seconds" ["result"] RESULTS_MAX;
        preempted: Counter = "scheduler_preemption_goroutines_execution_total" ["result"] RESULTS_MAX;
        points: Histogram =
            "scheduler_framework_extension_point_duration_seconds" ["extension_point", "status", "profile"] RESULTS_MAX;
        events: Histogram = "scheduler_event_handling_duration_seconds" ["event"] RESULTS_MAX;
        tasks: Gauge = "scheduler_goroutines" ["operation"] RESULTS_MAX;
        pub(crate) claims_made: Counter = "scheduler_resourceclaim_creates_total" ["status"] RESULTS_MAX;
        devices_bound: Counter =
            "scheduler_dra_bindingconditions_allocations_total" ["profile", "driver", "status"] DRIVERS_MAX;
        devices_waits: Histogram =
            "scheduler_dra_bindingconditions_wait_duration_seconds" ["profile", "driver", "status"] DRIVERS_MAX;
        pub(crate) volume_errors: Counter = "scheduler_volume_scheduling_stage_error_total" ["operation"] RESULTS_MAX;
    }
}

/// What one scheduler counts.
pub(crate) struct Figures {
    /// The name of its profile.
    pub(crate) profile: String,
    /// Its families.
    pub(crate) families: Families,
}

impl Figures {
    /// Those of a scheduler of this name.
    pub(crate) fn new(profile: &str) -> Self {
        Self { profile: profile.into(), families: Families::default() }
    }

    /// An attempt is over, after so long.
    pub(crate) fn attempted(&self, attempt: Attempt, took: Duration) {
        let labels = [&*self.profile, attempt.name()];
        self.families.attempts.with(labels, Counter::add_one);
        self.families.durations.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }

    /// A node was looked for so long.
    pub(crate) fn searched(&self, took: Duration) {
        self.families.algorithm.with([], |durations| durations.observe(took.as_secs_f64()));
    }

    /// A part of the search for a node took so long.
    pub(crate) fn looked(&self, stage: Stage, found: bool, took: Duration) {
        self.point(stage.name(), if found { "Success" } else { "Unschedulable" }, took);
    }

    /// Something else of an attempt took so long, by the name of the extension point that does it in the reference.
    pub(crate) fn point(&self, point: &str, status: &str, took: Duration) {
        let labels = [point, status, &self.profile];
        self.families.points.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }

    /// An event, by the reference's label for it, was taken in.
    pub(crate) fn heard(&self, event: &str, took: Duration) {
        self.families.events.with([event], |durations| durations.observe(took.as_secs_f64()));
    }

    /// A pod is scheduled, after these attempts.
    pub(crate) fn scheduled(&self, tries: Tries, now: Duration) {
        let attempts = match tries.attempts {
            attempts if attempts < ATTEMPTS_MAX => attempts.to_string(),
            _ => format!("{ATTEMPTS_MAX}+"),
        };
        let took = now.saturating_sub(tries.since).as_secs_f64();
        self.families.until_scheduled.with([], |counts| counts.observe(f64::from(tries.attempts)));
        self.families.sli.with([&attempts], |durations| durations.observe(took));
        if tries.timed_out {
            self.families.after_flush.with([], Counter::add_one);
        }
    }

    /// Room was looked for by preemption, so long; so many pods have to go, if that helps.
    pub(crate) fn preempted(&self, victims: Option<usize>, took: Duration) {
        self.families.preemptions.with([], Counter::add_one);
        self.point("PostFilter", if victims.is_some() { "Success" } else { "Unschedulable" }, took);
        if let Some(victims) = victims {
            self.families.victims.with([], |counts| counts.observe(victims as f64));
        }
    }

    /// The pods that have to go were told to, or could not be.
    pub(crate) fn told(&self, ok: bool, took: Duration) {
        let labels = [if ok { "success" } else { "error" }];
        self.families.preempted.with(labels, Counter::add_one);
        self.families.preempting.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }

    /// A device of a driver that had to get ready was waited for, so long.
    pub(crate) fn bound_device(&self, driver: &str, outcome: &str, took: Duration) {
        let labels = [&*self.profile, driver, outcome];
        self.families.devices_bound.with(labels, Counter::add_one);
        self.families.devices_waits.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }

    /// So many more, or fewer, pods are being bound.
    pub(crate) fn binding(&self, change: f64) {
        self.families.tasks.with(["binding"], |tasks| tasks.add(change));
    }
}

#[cfg(test)]
mod tests {
    use metrics::{Collect, Text};

    use super::*;

    #[test]
    fn attempts_are_told_apart_by_their_result() {
        let figures = Figures::new("default-scheduler");
        let second = Duration::from_secs(1);
        figures.attempted(Attempt::Scheduled, Duration::from_millis(1));
        figures.attempted(Attempt::Unschedulable, Duration::from_millis(1));
        figures.scheduled(Tries { attempts: 2, since: second, timed_out: true }, second * 4);
        figures.scheduled(Tries { attempts: 16, since: second, timed_out: false }, second * 2);
        figures.preempted(Some(3), second);
        figures.told(false, second);
        let mut text = Text::default();
        figures.families.collect(&mut text);
        let text = text.finish();
        for line in [
            "schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"} 1",
            "schedule_attempts_total{profile=\"default-scheduler\",result=\"unschedulable\"} 1",
            "pod_scheduling_attempts_sum 18",
            "pod_scheduling_sli_duration_seconds_sum{attempts=\"2\"} 3",
            "pod_scheduling_sli_duration_seconds_count{attempts=\"15+\"} 1",
            "pod_scheduled_after_flush_total 1",
            "preemption_victims_sum 3",
            "preemption_goroutines_execution_total{result=\"error\"} 1",
        ] {
            let line = format!("scheduler_{line}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}
