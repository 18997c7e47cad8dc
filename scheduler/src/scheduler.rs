//! The loop: events in, decisions out.

mod listen;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use client::caught::{Panicked, Panics, caught, caught_call};
use client::{Clock, EventType, Informer, Informers, Note, SeriesRecorder};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::RuntimeFlavor;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::bind::{BindError, Binder};
use crate::bind_claims::Taken;
use crate::cache::Cache;
use crate::counted::Counted;
use crate::cycle::{Decision, Finder, FitError, Nominated};
use crate::figures::{Attempt, Figures};
use crate::held::Held;
use crate::lookup::Caches;
use crate::pod::{PodInfo, Sharing};
use crate::preemption::{self, Preemption};
use crate::queue::Queue;

/// How many bindings may be under way at once.
const BINDINGS_MAX: usize = 64;

/// What a scheduler is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Pods with this `spec.schedulerName` are its own.
    pub scheduler_name: String,
    /// The machine that it runs on, for its events.
    pub host_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { scheduler_name: "default-scheduler".into(), host_name: "localhost".into() }
    }
}

/// What events and cycles share.
#[derive(Default)]
pub(crate) struct Core {
    pub(crate) cache: Cache,
    pub(crate) queue: Queue,
    nominated: Nominated,
    sharing: Sharing,
    pub(crate) finder: Finder,
    /// Pods whose claims are not there yet.
    pub(crate) held: Held,
}

#[derive(Clone)]
struct Scheduler {
    name: Arc<str>,
    core: Arc<Mutex<Core>>,
    wake: Arc<Notify>,
    clock: Clock,
    caches: Arc<Caches>,
    binder: Binder,
    events: SeriesRecorder,
    permits: Arc<Semaphore>,
    panics: Panics,
    figures: Arc<Figures>,
}

/// What came of looking for a node, since when.
struct Outcome {
    started: Duration,
    found: Result<Decision, (FitError, Result<Preemption, String>)>,
}

/// Schedules until `token` is cancelled. `client` speaks as `system:kube-scheduler`.
pub fn run(config: Config, client: Client, informers: Informers, token: CancellationToken) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let clock = informers.clock().clone();
        let caches = Arc::new(Caches::new(&informers));
        let (claims_tick, claims_changed) = watch::channel(0);
        let (device_tick, device_claims_changed) = watch::channel(0);
        let figures = Arc::new(Figures::new(&config.scheduler_name));
        let name: Arc<str> = config.scheduler_name.as_str().into();
        let events = SeriesRecorder::start(
            client.clone(),
            &config.scheduler_name,
            &config.host_name,
            clock.clone(),
            token.clone(),
        );
        let binder = Binder {
            scheduler_name: name.clone(),
            client,
            clock: clock.clone(),
            caches: caches.clone(),
            claims_changed,
            device_claims_changed,
            events: events.clone(),
            figures: figures.clone(),
        };
        let scheduler = Scheduler {
            name,
            core: Arc::default(),
            wake: Arc::default(),
            events,
            clock,
            caches: caches.clone(),
            binder,
            permits: Arc::new(Semaphore::new(BINDINGS_MAX)),
            panics: Panics::default(),
            figures: figures.clone(),
        };
        informers.metrics().register(Arc::new(Counted { core: scheduler.core.clone(), figures }));
        let nodes: Informer<Node> = informers.of();
        let pods: Informer<Pod> = informers.of();
        scheduler.listen(&nodes, &pods, claims_tick);
        scheduler.listen_to_devices(device_tick);
        tokio::select! {
            () = token.cancelled() => return,
            () = async { nodes.wait_synced().await; pods.wait_synced().await; caches.wait_synced().await } => {}
        }
        tokio::select! {
            () = token.cancelled() => {}
            () = scheduler.cycles() => {}
        }
    })
}

impl Scheduler {
    async fn cycles(&self) {
        loop {
            let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (next, deadline) = {
                let mut core = self.core.lock();
                (core.queue.pop(self.clock.elapsed()), core.queue.next_deadline())
            };
            match (next, deadline) {
                (Some(pod), _) => {
                    if let Err(panic) = caught_call(|| self.attempt(pod.clone(), permit)) {
                        self.panicked(&pod, &panic);
                    }
                    tokio::task::yield_now().await;
                }
                (None, Some(deadline)) => {
                    drop(permit);
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = self.clock.sleep_until(deadline) => {}
                    }
                }
                (None, None) => {
                    drop(permit);
                    self.wake.notified().await;
                }
            }
        }
    }

    /// Looks for a node. Devices may be looked for long, so for them the cluster is looked at as it is now, while others go on
    /// and the thread serves nobody else.
    fn attempt(&self, pod: Arc<PodInfo>, permit: OwnedSemaphorePermit) {
        if pod.claims.is_empty() && pod.extended.is_none() {
            let mut core = self.core.lock();
            let Core { cache, finder, nominated, .. } = &mut *core;
            let outcome = self.look(&pod, cache, finder, nominated);
            return self.settle(core, pod, outcome, permit);
        }
        let search = || {
            let (cache, nominated, mut finder) = {
                let mut core = self.core.lock();
                (core.cache.clone(), core.nominated.clone(), std::mem::take(&mut core.finder))
            };
            let outcome = caught_call(|| self.look(&pod, &cache, &mut finder, &nominated));
            self.core.lock().finder = finder;
            outcome
        };
        let flavor = tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor());
        let outcome = match flavor {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(search),
            _ => search(),
        };
        match outcome {
            Ok(outcome) => self.settle(self.core.lock(), pod, outcome, permit),
            Err(panic) => self.panicked(&pod, &panic),
        }
    }

    /// Where the pod goes, or who would have to go for it.
    fn look(&self, pod: &PodInfo, cache: &Cache, finder: &mut Finder, nominated: &Nominated) -> Outcome {
        let started = self.clock.elapsed();
        let mut random = || self.clock.random_bits();
        let mut last = started;
        let mut ended = |stage, found| {
            let now = self.clock.elapsed();
            self.figures.looked(stage, found, now.saturating_sub(last));
            last = now;
        };
        let found = finder.find(pod, cache, &*self.caches, nominated, &mut random, &mut ended);
        self.figures.searched(self.clock.elapsed().saturating_sub(started));
        let found = found.map_err(|error| {
            if error.error.is_some() {
                return (error, Err(String::new()));
            }
            let looks = self.clock.elapsed();
            let preemption = preemption::plan(pod, cache, &*self.caches, &error, nominated);
            // Where there is no node at all, nobody could make room.
            if error.nodes > 0 {
                let took = self.clock.elapsed().saturating_sub(looks);
                self.figures.preempted(preemption.as_ref().ok().map(|preemption| preemption.victims.len()), took);
            }
            (error, preemption)
        });
        Outcome { started, found }
    }

    /// Does what was decided.
    fn settle(
        &self,
        mut core: MutexGuard<'_, Core>,
        pod: Arc<PodInfo>,
        outcome: Outcome,
        permit: OwnedSemaphorePermit,
    ) {
        let Outcome { started, found } = outcome;
        match found {
            Ok(decision) => {
                core.cache.assume(pod.clone(), &decision.node);
                let tries = core.queue.tries(&pod.uid);
                drop(core);
                let taken = Taken::new(&self.caches.devices, &pod, &decision.devices);
                let this = self.clone();
                tokio::spawn(async move {
                    this.figures.binding(1.0);
                    let bound = caught(this.bind(&pod, &decision, started)).await;
                    drop(taken);
                    this.figures.binding(-1.0);
                    match bound {
                        Ok(true) => this.figures.scheduled(tries, this.clock.elapsed()),
                        Ok(false) => {}
                        Err(panic) => this.panicked(&pod, &panic),
                    }
                    drop(permit);
                });
            }
            Err((error, preemption)) => {
                let attempt = if error.error.is_some() { Attempt::Error } else { Attempt::Unschedulable };
                self.figures.attempted(attempt, self.clock.elapsed().saturating_sub(started));
                if let Ok(preemption) = &preemption {
                    core.nominated.insert(pod.uid.clone(), (pod.clone(), preemption.node.clone()));
                }
                // What is an error is tried again after a pause.
                let rejected_by = if error.error.is_some() { HashSet::new() } else { error.plugins() };
                core.queue.failed(&pod.uid, rejected_by, self.clock.elapsed());
                drop(core);
                let this = self.clone();
                tokio::spawn(async move {
                    if let Err(panic) = caught(this.report(&pod, &error, preemption)).await {
                        this.panicked(&pod, &panic);
                    }
                    drop(permit);
                });
            }
        }
    }

    /// Takes back what an attempt has assumed, and tries again after a pause.
    fn panicked(&self, pod: &PodInfo, panic: &Panicked) {
        let (namespace, name, panics) = (pod.namespace(), pod.name(), self.panics.note());
        tracing::error!(namespace, name, %panic, panics, "scheduling a pod panicked, trying again");
        let mut core = self.core.lock();
        core.cache.forget(&pod.uid);
        core.queue.failed(&pod.uid, Default::default(), self.clock.elapsed());
        drop(core);
        self.wake.notify_one();
    }

    /// Binds the pod; its attempt began at `started`. Whether that succeeded.
    async fn bind(&self, pod: &PodInfo, decision: &Decision, started: Duration) -> bool {
        let bound = self.binder.bind(pod, decision).await;
        let is_bound = bound.is_ok();
        let attempt = if is_bound { Attempt::Scheduled } else { Attempt::Error };
        self.figures.attempted(attempt, self.clock.elapsed().saturating_sub(started));
        match bound {
            Ok(()) => {
                let (namespace, name, node) = (pod.namespace(), pod.name(), &decision.node);
                let message = format!("Successfully assigned {namespace}/{name} to {node}");
                self.note(pod, EventType::Normal, "Scheduled", "Binding", message);
                let mut core = self.core.lock();
                core.queue.remove(&pod.uid);
                core.nominated.remove(&pod.uid);
            }
            Err(error) => {
                tracing::debug!(pod = pod.name(), %error, "binding failed");
                let message = match &error {
                    BindError::Claims(why) => why.clone(),
                    other => format!("binding rejected: {other}"),
                };
                self.note(pod, EventType::Warning, "FailedScheduling", "Scheduling", message.clone());
                {
                    let mut core = self.core.lock();
                    core.cache.forget(&pod.uid);
                    core.queue.failed(&pod.uid, Default::default(), self.clock.elapsed());
                }
                self.wake.notify_one();
                if let Err(error) = self.binder.mark_unschedulable(pod, "SchedulerError", &message, None).await {
                    tracing::debug!(pod = pod.name(), %error, "status not written");
                }
            }
        }
        is_bound
    }

    async fn report(&self, pod: &PodInfo, error: &FitError, preemption: Result<Preemption, String>) {
        let (message, reason) = match &error.error {
            Some(error) => (error.clone(), "SchedulerError"),
            None => (error.message(preemption.as_ref().err().map(String::as_str)), "Unschedulable"),
        };
        self.note(pod, EventType::Warning, "FailedScheduling", "Scheduling", message.clone());
        if let Some(what) = &error.give_up
            && let Err(error) = self.binder.give_up(what).await
        {
            tracing::debug!(pod = pod.name(), %error, "devices stay with their claim");
        }
        let nominated = preemption.as_ref().ok().map(|preemption| preemption.node.as_str());
        if let Err(error) = self.binder.mark_unschedulable(pod, reason, &message, nominated).await {
            tracing::debug!(pod = pod.name(), %error, "status not written");
        }
        let Ok(preemption) = preemption else { return };
        let begun = self.clock.elapsed();
        let told = self.binder.preempt(&preemption).await;
        self.figures.told(told.is_ok(), self.clock.elapsed().saturating_sub(begun));
        match told {
            Ok(()) => preemption.victims.iter().for_each(|victim| self.tell_preempted(victim, pod, &preemption.node)),
            Err(error) => {
                tracing::warn!(pod = pod.name(), %error, "preemption failed");
                self.core.lock().nominated.remove(&pod.uid);
            }
        }
        self.wake.notify_one();
    }

    fn tell_preempted(&self, victim: &PodInfo, pod: &PodInfo, node: &str) {
        self.events.note(Note {
            regarding: victim.reference(),
            related: Some(pod.reference()),
            type_: EventType::Normal,
            reason: "Preempted",
            action: "Preempting",
            note: format!("Preempted by pod {} on node {node}", pod.uid),
        });
    }

    fn note(&self, pod: &PodInfo, type_: EventType, reason: &'static str, action: &'static str, note: String) {
        self.events.note(Note { regarding: pod.reference(), related: None, type_, reason, action, note });
    }
}
