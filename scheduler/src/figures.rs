//! What the scheduler counts (`pkg/scheduler/metrics`).

use std::time::Duration;

use metrics::{Collect, Counter, Family, Histogram, Text};

/// Room for the results of one profile.
const RESULTS_MAX: usize = 16;

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

/// The families of one scheduler.
pub(crate) struct Figures {
    profile: String,
    attempts: Family<Counter, 2>,
    durations: Family<Histogram, 2>,
    algorithm: Family<Histogram, 0>,
    until_scheduled: Family<Histogram, 0>,
    preemptions: Family<Counter, 0>,
    victims: Family<Histogram, 0>,
}

impl Figures {
    /// Those of a scheduler of this name.
    pub(crate) fn new(profile: &str) -> Self {
        let labels = ["profile", "result"];
        Self {
            profile: profile.into(),
            attempts: Family::new("scheduler_schedule_attempts_total", labels, RESULTS_MAX),
            durations: Family::new("scheduler_scheduling_attempt_duration_seconds", labels, RESULTS_MAX),
            algorithm: Family::new("scheduler_scheduling_algorithm_duration_seconds", [], 1),
            until_scheduled: Family::new("scheduler_pod_scheduling_attempts", [], 1),
            preemptions: Family::new("scheduler_preemption_attempts_total", [], 1),
            victims: Family::new("scheduler_preemption_victims", [], 1),
        }
    }

    /// An attempt is over, after so long.
    pub(crate) fn attempted(&self, attempt: Attempt, took: Duration) {
        let labels = [&*self.profile, attempt.name()];
        self.attempts.with(labels, Counter::add_one);
        self.durations.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }

    /// A node was looked for so long.
    pub(crate) fn searched(&self, took: Duration) {
        self.algorithm.with([], |durations| durations.observe(took.as_secs_f64()));
    }

    /// A pod is scheduled, at this attempt.
    pub(crate) fn scheduled(&self, attempts: u32) {
        self.until_scheduled.with([], |counts| counts.observe(f64::from(attempts)));
    }

    /// Room was looked for by preemption; so many pods have to go, if that helps.
    pub(crate) fn preempted(&self, victims: Option<usize>) {
        self.preemptions.with([], Counter::add_one);
        if let Some(victims) = victims {
            self.victims.with([], |counts| counts.observe(victims as f64));
        }
    }
}

impl Collect for Figures {
    fn collect(&self, text: &mut Text) {
        self.attempts.collect(text);
        self.durations.collect(text);
        self.algorithm.collect(text);
        self.until_scheduled.collect(text);
        self.preemptions.collect(text);
        self.victims.collect(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_told_apart_by_their_result() {
        let figures = Figures::new("default-scheduler");
        figures.attempted(Attempt::Scheduled, Duration::from_millis(1));
        figures.attempted(Attempt::Unschedulable, Duration::from_millis(1));
        figures.scheduled(2);
        figures.preempted(Some(3));
        let mut text = Text::default();
        figures.collect(&mut text);
        let text = text.finish();
        for line in [
            "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"} 1\n",
            "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"unschedulable\"} 1\n",
            "scheduler_pod_scheduling_attempts_sum 2\n",
            "scheduler_preemption_victims_sum 3\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
