//! The loop: events in, decisions out.

use std::sync::Arc;
use std::time::Duration;

use client::caught::{Panicked, Panics, caught, caught_call};
use client::{Change, Clock, EventType, Informer, Informers, Note, SeriesRecorder};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::bind::Binder;
use crate::cache::{Cache, takes_room};
use crate::counted::Counted;
use crate::cycle::{Decision, Finder, FitError, Nominated};
use crate::figures::{Attempt, Figures};
use crate::labels;
use crate::lookup::Caches;
use crate::pod::{PodInfo, Sharing};
use crate::preemption::{self, Preemption};
use crate::queue::{ClusterEvent, Queue};

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

/// Schedules until `token` is cancelled. `client` speaks as `system:kube-scheduler`.
pub fn run(config: Config, client: Client, informers: Informers, token: CancellationToken) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let clock = informers.clock().clone();
        let caches = Arc::new(Caches::new(&informers));
        let (claims_tick, claims_changed) = watch::channel(0);
        let figures = Arc::new(Figures::new(&config.scheduler_name));
        let name: Arc<str> = config.scheduler_name.as_str().into();
        let binder = Binder {
            scheduler_name: name.clone(),
            client: client.clone(),
            clock: clock.clone(),
            caches: caches.clone(),
            claims_changed,
            figures: figures.clone(),
        };
        let scheduler = Scheduler {
            name,
            core: Arc::default(),
            wake: Arc::default(),
            events: SeriesRecorder::start(
                client,
                &config.scheduler_name,
                &config.host_name,
                clock.clone(),
                token.clone(),
            ),
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
    fn listen(&self, nodes: &Informer<Node>, pods: &Informer<Pod>, claims_tick: watch::Sender<u64>) {
        let this = self.clone();
        nodes.on_change(move |change| this.on_node(change));
        let this = self.clone();
        pods.on_change(move |change| this.on_pod(change));
        let this = self.clone();
        self.caches.claims.on_change(move |change| {
            claims_tick.send_modify(|tick| *tick += 1);
            this.on_event(ClusterEvent::Storage, labels::of(change, labels::CLAIM));
        });
        let this = self.clone();
        self.caches.volumes.on_change(move |change| {
            this.on_event(ClusterEvent::Storage, labels::of(change, labels::VOLUME));
        });
        let this = self.clone();
        self.caches.classes.on_change(move |change| {
            this.on_event(ClusterEvent::Storage, labels::of(change, labels::CLASS));
        });
        let this = self.clone();
        self.caches.namespaces.on_change(move |change| {
            this.on_event(ClusterEvent::Namespace, labels::of(change, labels::NAMESPACE));
        });
    }

    /// Takes in a change, and counts how long that took.
    fn heard(&self, label: &'static str, take_in: impl FnOnce()) {
        let started = self.clock.elapsed();
        take_in();
        self.figures.heard(label, self.clock.elapsed().saturating_sub(started));
    }

    fn on_event(&self, event: ClusterEvent, label: &'static str) {
        self.heard(label, || self.move_pods(event, label));
    }

    /// Wakes the pods that an event may help.
    fn move_pods(&self, event: ClusterEvent, label: &'static str) {
        let now = self.clock.elapsed();
        self.core.lock().queue.on_event(event, label, now);
        self.wake.notify_one();
    }

    fn on_node(&self, change: &Change<Node>) {
        let label = labels::of_node(change);
        self.heard(label, || self.take_in_node(change, label));
    }

    fn take_in_node(&self, change: &Change<Node>, label: &'static str) {
        let node = change.object();
        if change.is_delete() {
            self.core.lock().cache.remove_node(node.metadata.name.as_deref().unwrap_or(""));
            return;
        }
        let matters = change.old().is_none_or(|old| {
            let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
            old.spec != node.spec
                || old.metadata.labels != node.metadata.labels
                || allocatable(old) != allocatable(node)
        });
        self.core.lock().cache.set_node(node.clone());
        if matters {
            self.move_pods(ClusterEvent::Node, label);
        }
    }

    fn on_pod(&self, change: &Change<Pod>) {
        let label = labels::of_pod(change);
        self.heard(label, || self.take_in_pod(change, label));
    }

    fn take_in_pod(&self, change: &Change<Pod>, label: &'static str) {
        let pod = change.object();
        let uid = pod.metadata.uid.as_deref().unwrap_or("");
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("");
        let mut core = self.core.lock();
        if change.is_delete() || !takes_room(pod) {
            core.queue.remove(uid);
            core.nominated.remove(uid);
            if core.cache.remove_pod(uid).is_some() {
                drop(core);
                self.move_pods(ClusterEvent::PodGone, labels::POD_GONE);
            }
            return;
        }
        if !node.is_empty() {
            core.queue.remove(uid);
            core.nominated.remove(uid);
            let known = core.cache.has_pod(uid);
            let relabelled = change.old().is_some_and(|old| old.metadata.labels != pod.metadata.labels);
            let info = PodInfo::new(pod, &mut core.sharing);
            core.cache.set_pod(Arc::new(info), node);
            drop(core);
            if !known || relabelled {
                self.move_pods(ClusterEvent::PodPlaced, label);
            }
            return;
        }
        let mine = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()) == Some(&self.name);
        if pod.metadata.deletion_timestamp.is_some() {
            core.queue.remove(uid);
        } else if mine && !core.cache.has_pod(uid) {
            let now = self.clock.elapsed();
            let info = PodInfo::new(pod, &mut core.sharing);
            core.queue.set(Arc::new(info), now);
            drop(core);
            self.wake.notify_one();
        }
    }

    async fn cycles(&self) {
        loop {
            let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (next, deadline) = {
                let mut core = self.core.lock();
                (core.queue.pop(self.clock.elapsed()), core.queue.next_deadline())
            };
            match (next, deadline) {
                (Some(pod), _) => {
                    if let Err(panic) = caught_call(|| self.schedule(pod.clone(), permit)) {
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

    fn schedule(&self, pod: Arc<PodInfo>, permit: tokio::sync::OwnedSemaphorePermit) {
        let started = self.clock.elapsed();
        let mut random = || self.clock.random_bits();
        let mut core = self.core.lock();
        let Core { cache, finder, nominated, .. } = &mut *core;
        let mut last = started;
        let mut ended = |stage, found| {
            let now = self.clock.elapsed();
            self.figures.looked(stage, found, now.saturating_sub(last));
            last = now;
        };
        let found = finder.find(&pod, cache, &*self.caches, nominated, &mut random, &mut ended);
        self.figures.searched(self.clock.elapsed().saturating_sub(started));
        match found {
            Ok(decision) => {
                core.cache.assume(pod.clone(), &decision.node);
                let tries = core.queue.tries(&pod.uid);
                drop(core);
                let this = self.clone();
                tokio::spawn(async move {
                    this.figures.binding(1.0);
                    let bound = caught(this.bind(&pod, &decision, started)).await;
                    this.figures.binding(-1.0);
                    match bound {
                        Ok(true) => this.figures.scheduled(tries, this.clock.elapsed()),
                        Ok(false) => {}
                        Err(panic) => this.panicked(&pod, &panic),
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                let looks = self.clock.elapsed();
                let preemption = preemption::plan(&pod, &core.cache, &*self.caches, &error, &core.nominated);
                // Where there is no node at all, nobody could make room.
                if error.nodes > 0 {
                    let took = self.clock.elapsed().saturating_sub(looks);
                    self.figures.preempted(preemption.as_ref().ok().map(|preemption| preemption.victims.len()), took);
                }
                self.figures.attempted(Attempt::Unschedulable, self.clock.elapsed().saturating_sub(started));
                if let Ok(preemption) = &preemption {
                    core.nominated.insert(pod.uid.clone(), (pod.clone(), preemption.node.clone()));
                }
                core.queue.failed(&pod.uid, error.plugins(), self.clock.elapsed());
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
        let bound = self.binder.bind(pod, &decision.node, &decision.volumes).await;
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
                let message = format!("binding rejected: {error}");
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
        let message = error.message(preemption.as_ref().err().map(String::as_str));
        self.note(pod, EventType::Warning, "FailedScheduling", "Scheduling", message.clone());
        let nominated = preemption.as_ref().ok().map(|preemption| preemption.node.as_str());
        if let Err(error) = self.binder.mark_unschedulable(pod, "Unschedulable", &message, nominated).await {
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
