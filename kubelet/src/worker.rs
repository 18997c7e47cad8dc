//! One worker a pod: brings the runtime to what the pod's specification says, woken by changes of the pod, by events of
//! the runtime and by probes; nothing is polled.

mod end;
mod handle;
mod hooks;
pub mod plan;
mod publish;
pub mod resize;
mod start;
mod status_patch;
mod step;
mod termination_message;
mod writer;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use client::{EventType, caught::caught};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::{
    agent::Agent,
    cri, eviction,
    observe::{Ended, Life, Observed},
    pod,
    probes::Probes,
    restart::{self, StartsByName},
    status::Verdict,
    volumes::Volumes,
};
pub use handle::{Handle, Input, Wake};
use plan::Plan;
use resize::Resizing;
use writer::StatusWriter;

/// Steps that one wake-up may take; a pod that still is not settled is looked at again a moment later.
const STEPS_MAX: usize = 32;
/// The first pause after a failed step.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// The longest pause after failed steps.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How often, and how far apart, the runtime is asked again when it still shows what an event said has ended.
const SETTLE_PAUSES_MS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

struct Worker {
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    uid: String,
    input: watch::Receiver<Input>,
    wake: Wake,
    writer: StatusWriter,
    published: Option<PodStatus>,
    starts: StartsByName,
    ended: Ended,
    messages: HashMap<String, String>,
    verdict: Option<Verdict>,
    admitted: bool,
    resizing: Resizing,
    probes: Probes,
    volumes: Volumes,
    /// Containers that the runtime is making and starting; these calls are never broken off.
    launches: TaskTracker,
    retry: Duration,
    /// When the agent saw the pod first.
    seen: Duration,
    /// Whether it was told that the pod runs, or found it running.
    ran: bool,
    /// Instances whose end was counted.
    counted: HashSet<String>,
}

/// Starts the worker of a pod; `ended` is called when nothing of the pod is left.
pub fn spawn(
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    ended: impl FnOnce() + Send + 'static,
) -> (Handle, impl Future<Output = ()>) {
    let (sender, mut input) = watch::channel(Input { pod: pod.clone(), gone: false });
    input.mark_changed();
    let wake = Wake::default();
    let (writer, shown) = StatusWriter::start(&agent, &pod);
    let seen = agent.config.clock.elapsed();
    let ran = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
    let size = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    agent.figures.containers_per_pod.with([], |counts| counts.observe(size as f64));
    let worker = Worker {
        uid: pod::uid(&pod).to_owned(),
        writer,
        probes: Probes::new(agent.clone(), &pod, wake.clone()),
        volumes: Volumes::new(agent.clone(), &pod),
        agent,
        pod,
        input,
        wake: wake.clone(),
        published: None,
        starts: StartsByName::new(),
        ended: Ended::new(),
        messages: HashMap::new(),
        verdict: None,
        admitted: false,
        resizing: Resizing::default(),
        launches: TaskTracker::new(),
        retry: RETRY_MIN,
        seen,
        ran,
        counted: HashSet::new(),
    };
    let future = async move {
        worker.run().await;
        ended();
    };
    (Handle { input: sender, shown, wake }, future)
}

impl Worker {
    async fn run(mut self) {
        let agent = self.agent.clone();
        let now = || agent.config.clock.elapsed();
        agent.figures.began(now().saturating_sub(self.seen));
        for (name, count) in start::logged_counts(&self.agent.config, &self.pod).await {
            self.starts.entry(name).or_default().logged = Some(count);
        }
        let mut operation = "create";
        loop {
            let started = now();
            let input = self.input.borrow_and_update().clone();
            self.pod = self.allocate(input.pod.clone());
            if input.is_ending() {
                self.end().await;
                agent.figures.worked("terminated", now().saturating_sub(started));
                return;
            }
            let mut ending = self.input.clone();
            let step = tokio::select! {
                _ = ending.wait_for(Input::is_ending) => continue,
                step = caught(self.sync()) => step.unwrap_or_else(|panic| Err(panic.to_string())),
            };
            agent.figures.worked(operation, now().saturating_sub(started));
            operation = "sync";
            let due = match step {
                Ok(due) => {
                    self.retry = RETRY_MIN;
                    due
                }
                Err(error) => {
                    tracing::warn!(pod = pod::name(&self.pod), namespace = pod::namespace(&self.pod), %error, "pod sync failed");
                    let pause = self.retry;
                    self.retry = (self.retry * 2).min(RETRY_MAX);
                    self.agent.config.clock.now().checked_add(pause).ok()
                }
            };
            let unsettled = !self.wake.exited.lock().is_empty();
            let resize = self.resizing.due(self.agent.config.clock.now());
            let soon = self.agent.config.clock.now().checked_add(RETRY_MIN).ok().filter(|_| unsettled);
            if !self.pause([due, soon, resize].into_iter().flatten().min()).await {
                return;
            }
        }
    }

    /// Waits for news or until `due`; false when the agent goes away.
    async fn pause(&mut self, due: Option<Timestamp>) -> bool {
        let clock = self.agent.config.clock.clone();
        let sleep = async {
            match due {
                Some(due) => {
                    let left = due.duration_since(clock.now()).max(SignedDuration::from_millis(1));
                    clock.sleep(Duration::try_from(left).unwrap_or(RETRY_MIN)).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.input.changed() => changed.is_ok(),
            () = self.wake.notify.notified() => true,
            () = sleep => true,
        }
    }

    /// Asks the runtime, until it agrees with the exits that events have told of.
    async fn observe(&mut self) -> Result<Observed, cri::Error> {
        let mut pauses = SETTLE_PAUSES_MS.iter();
        loop {
            let mut observed = Observed::of(&self.agent.cri, &self.uid, &mut self.ended).await?;
            observed.restarted_by = restart::restarted_by(&self.pod, &observed);
            let mut exited = self.wake.exited.lock().clone();
            let shows = |id: &String, lives: &[Life]| {
                let sandbox = observed.ready_sandbox().is_some_and(|sandbox| sandbox.id == *id);
                sandbox || observed.instances.iter().any(|i| i.id == *id && lives.contains(&i.life))
            };
            exited.retain(|id| shows(id, &[Life::Running]));
            let pause = if exited.is_empty() { None } else { pauses.next() };
            let Some(pause) = pause else {
                // A container whose start is still under way may be shown as created although it has ended.
                self.wake.exited.lock().retain(|id| shows(id, &[Life::Running, Life::Created]));
                termination_message::read_all(&self.agent.config, &self.pod, &observed, &mut self.messages).await;
                return Ok(observed);
            };
            tokio::time::sleep(Duration::from_millis(*pause)).await;
        }
    }

    /// Takes steps until nothing is left to do; answers when to look again.
    async fn sync(&mut self) -> Result<Option<Timestamp>, String> {
        if !self.admitted {
            self.admit().await?;
        }
        for _ in 0..STEPS_MAX {
            let observed = self.observe().await.map_err(|error| error.to_string())?;
            self.probes.sync(&self.pod, &observed);
            let deadline = self.check_deadline();
            self.check_eviction();
            self.resize(&observed).await;
            let plan = self.plan(&observed);
            let over = plan.ended || self.verdict.is_some();
            if over && !observed.anything_runs() {
                Box::pin(self.agent.devices.unprepare(&self.pod)).await?;
            }
            if !self.resizing.is_replacing(&observed) {
                self.publish(&observed, over && !observed.anything_runs());
            }
            // The runtime may have forgotten what ended the pod.
            let over = over || self.is_terminal();
            if over {
                if observed.anything_runs() || observed.ready_sandbox().is_some() {
                    let evicted = self.verdict.as_ref().is_some_and(|verdict| verdict.reason == eviction::REASON);
                    self.stop(&observed, evicted.then_some(eviction::GRACE_SECONDS)).await;
                    continue;
                }
                self.volumes.tear_down().await?;
                return Ok(None);
            }
            if plan.sandbox.is_none() && plan.kill.is_empty() && plan.start.is_empty() {
                let refresh = self.set_up_volumes(&observed).await?;
                self.remove_superfluous(&observed).await;
                return Ok([plan.wake, deadline, refresh].into_iter().flatten().min());
            }
            self.carry_out(plan, observed).await?;
        }
        Ok(self.agent.config.clock.now().checked_add(RETRY_MIN).ok())
    }

    /// Asks once whether the node takes the pod; one that it refuses has failed.
    async fn admit(&mut self) -> Result<(), String> {
        if let Err(refusal) = self.agent.admission.judge(&self.agent, &self.pod).await? {
            let (reason, message) = (refusal.reason, refusal.message);
            self.agent.figures.rejected(&reason);
            self.agent.pod_event(&self.pod, EventType::Warning, &reason, message.clone());
            self.verdict = Some(Verdict { reason, message: format!("Pod was rejected: {message}") });
        }
        self.admitted = true;
        Ok(())
    }

    fn plan(&mut self, observed: &Observed) -> Plan {
        let inputs = plan::Inputs {
            pod: &self.pod,
            terminal: self.is_terminal(),
            observed,
            health: &self.probes.health(observed),
            condemned: &self.probes.condemned(),
            resized: self.resizing.restarting(),
            now: self.agent.config.clock.now(),
        };
        let plan = plan::make(&inputs, &mut self.starts);
        for (name, waiting) in &plan.waiting {
            if self.starts.get(name).and_then(|starts| starts.waiting.as_ref()) != Some(waiting)
                && let Some((_, container)) = pod::containers(&self.pod).into_iter().find(|(_, c)| c.name == *name)
            {
                let (pod, namespace) = (pod::name(&self.pod), pod::namespace(&self.pod));
                let message =
                    format!("Back-off restarting failed container {name} in pod {pod}_{namespace}({})", self.uid);
                self.agent.container_event(&self.pod, &container, EventType::Warning, "BackOff", message);
            }
        }
        let now = self.agent.config.clock.now();
        for starts in self.starts.values_mut().filter(|starts| starts.held_until(now).is_none()) {
            starts.waiting = None;
        }
        for (name, waiting) in &plan.waiting {
            self.starts.entry(name.clone()).or_default().waiting = Some(waiting.clone());
        }
        plan
    }

    /// Whether the pod has ended for good: by what this agent has told of it, or else as it found it.
    fn is_terminal(&self) -> bool {
        let phase = self.published.as_ref().and_then(|status| status.phase.as_deref());
        phase.map_or_else(|| pod::is_terminal(&self.pod), pod::is_terminal_phase)
    }

    /// Notes that the pod uses too much, unless it has ended anyway.
    fn check_eviction(&mut self) {
        let excess = self.wake.evicted.lock().take();
        if let Some(excess) = excess.filter(|_| self.verdict.is_none() && !self.is_terminal()) {
            self.agent.figures.evicted(excess.signal);
            self.agent.pod_event(&self.pod, EventType::Warning, eviction::REASON, excess.message.clone());
            self.verdict = Some(Verdict { reason: eviction::REASON.to_owned(), message: excess.message });
        }
    }

    /// Notes a passed deadline; answers when it will pass.
    fn check_deadline(&mut self) -> Option<Timestamp> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let known = self.published.as_ref().or(self.pod.status.as_ref())?;
        let due = known.start_time.as_ref()?.0.saturating_add(SignedDuration::from_secs(seconds)).ok()?;
        if due > self.agent.config.clock.now() {
            return Some(due);
        }
        if self.verdict.is_none() && !self.is_terminal() {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.agent.pod_event(&self.pod, EventType::Normal, "DeadlineExceeded", message.clone());
            self.verdict = Some(Verdict { reason: "DeadlineExceeded".to_owned(), message });
        }
        None
    }

    async fn set_up_volumes(&mut self, observed: &Observed) -> Result<Option<Timestamp>, String> {
        let pod = self.pod.clone();
        match self.volumes.set_up(&pod, observed.ips()).await {
            Ok(refresh) => Ok(refresh),
            Err(error) => {
                self.agent.pod_event(&pod, EventType::Warning, "FailedMount", error.clone());
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Worker;

    /// How much memory the future of an async function takes.
    fn future_bytes<A, F>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// It is moved over a thread's stack when it is made, and there is one for each pod.
    #[test]
    fn the_future_of_a_worker_is_small() {
        const BYTES_MAX: usize = 48 << 10;
        let bytes = future_bytes(Worker::run);
        assert!(bytes <= BYTES_MAX, "{bytes}");
    }
}
