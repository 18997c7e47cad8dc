//! One probe of one container instance, from its first try until the container ends.

use std::{sync::Arc, time::Duration};

use client::EventType;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};

use super::{
    Findings, Kind,
    check::{self, Outcome, Target},
    log::Probed,
};
use crate::{
    agent::Agent,
    pod,
    worker::{Wake, plan::Condemned},
};

/// One probe.
pub(super) struct Task {
    pub agent: Arc<Agent>,
    pub pod: Arc<Pod>,
    pub container: Container,
    pub id: String,
    pub started_at_nanoseconds: i64,
    pub kind: Kind,
    pub probe: Probe,
    pub findings: Findings,
    pub wake: Wake,
}

fn seconds(value: Option<i32>, default: i32) -> Duration {
    Duration::from_secs(u64::try_from(value.unwrap_or(default)).unwrap_or(0))
}

impl Task {
    /// Probes in its period until the task is dropped.
    pub(super) async fn run(self) {
        let clock = &self.agent.config.clock;
        let started = Timestamp::from_nanosecond(i128::from(self.started_at_nanoseconds)).unwrap_or(clock.now());
        let age = Duration::try_from(clock.now().duration_since(started)).unwrap_or_default();
        clock.sleep(seconds(self.probe.initial_delay_seconds, 0).saturating_sub(age)).await;
        if self.kind != Kind::Startup {
            let mut started = self.findings.started.subscribe();
            if started.wait_for(|started| *started).await.is_err() {
                return;
            }
        }
        let success_threshold = self.probe.success_threshold.unwrap_or(1).max(1);
        let failure_threshold = self.probe.failure_threshold.unwrap_or(3).max(1);
        let period = seconds(self.probe.period_seconds, 10).max(Duration::from_secs(1));
        let (mut successes, mut failures) = (0, 0);
        let log = self.agent.probe_log.begin(self.probed());
        loop {
            let began = clock.elapsed();
            let due = began.saturating_add(period);
            let outcome = self.check().await;
            let result = match &outcome {
                Outcome::Success | Outcome::Warning(_) => Some(true),
                Outcome::Failure(_) => Some(false),
                Outcome::Error(_) => None,
            };
            log.found(result, clock.elapsed().saturating_sub(began));
            match outcome {
                Outcome::Success => (successes, failures) = (successes + 1, 0),
                Outcome::Warning(message) => {
                    (successes, failures) = (successes + 1, 0);
                    self.tell("ProbeWarning", format!("probe warning: {message}"));
                }
                Outcome::Failure(message) => {
                    (successes, failures) = (0, failures + 1);
                    self.tell("Unhealthy", format!("probe failed: {message}"));
                }
                // It tells nothing of the container: the runtime may be starting again.
                Outcome::Error(message) => {
                    self.tell("Unhealthy", format!("probe errored and resulted in unknown state: {message}"));
                    clock.sleep_until(due).await;
                    continue;
                }
            }
            if successes >= success_threshold && self.succeeded() || failures >= failure_threshold && self.failed() {
                return;
            }
            clock.sleep_until(due).await;
        }
    }

    fn probed(&self) -> Probed {
        Probed {
            kind: self.kind.name(),
            namespace: pod::namespace(&self.pod).to_owned(),
            pod: pod::name(&self.pod).to_owned(),
            pod_uid: pod::uid(&self.pod).to_owned(),
            container: self.container.name.clone(),
        }
    }

    fn tell(&self, reason: &str, message: String) {
        let message = format!("{} {message}", self.kind.name());
        self.agent.container_event(&self.pod, &self.container, EventType::Warning, reason, message);
    }

    async fn check(&self) -> Outcome {
        let record = self.agent.directory.by_uid(pod::uid(&self.pod));
        let ip = record.and_then(|record| record.ips.first().map(ToString::to_string)).unwrap_or_default();
        let target = Target {
            agent: &self.agent,
            container: &self.container,
            id: &self.id,
            pod_ip: &ip,
            timeout: seconds(self.probe.timeout_seconds, 1).max(Duration::from_secs(1)),
        };
        check::run(&target, &self.probe).await
    }

    /// Notes a success; true if the probe has done its work.
    fn succeeded(&self) -> bool {
        let changed = match self.kind {
            Kind::Startup => self.findings.started.send_if_modified(|started| !std::mem::replace(started, true)),
            Kind::Readiness => self.findings.ready.send_if_modified(|ready| !std::mem::replace(ready, true)),
            Kind::Liveness => false,
        };
        if changed {
            self.wake.wake();
        }
        self.kind == Kind::Startup
    }

    /// Notes a failure; true if the container is to be replaced, so that nothing is left to probe.
    fn failed(&self) -> bool {
        if self.kind == Kind::Readiness {
            if self.findings.ready.send_if_modified(|ready| std::mem::replace(ready, false)) {
                self.wake.wake();
            }
            return false;
        }
        let kind = self.kind.name().to_lowercase();
        let message = format!("Container {} failed {kind} probe, will be restarted", self.container.name);
        *self.findings.condemned.lock() =
            Some(Condemned { message, grace_seconds: self.probe.termination_grace_period_seconds });
        self.wake.wake();
        true
    }
}
