//! What happens in the cluster: nodes, pods and claims come, change and go, and wake the pods that may fit now.

use std::sync::Arc;
use std::time::Duration;

use client::{Change, Informer, ObjectKey};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::resource::v1::ResourceClaim;
use tokio::sync::watch;

use super::{Core, Scheduler};
use crate::cache::takes_room;
use crate::labels;
use crate::pod::PodInfo;
use crate::pod_devices::PodClaim;
use crate::queue::ClusterEvent;

impl Scheduler {
    pub(super) fn listen(&self, nodes: &Informer<Node>, pods: &Informer<Pod>, claims_tick: watch::Sender<u64>) {
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
                || labels::declared(old) != labels::declared(node)
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
            core.held.remove(uid);
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
            // One that was made smaller leaves room as one that has gone does.
            let smaller = core.cache.requests_of(uid).is_some_and(|had| info.requests.exact.is_less_of_any(had));
            core.cache.set_pod(Arc::new(info), node);
            drop(core);
            if smaller {
                self.move_pods(ClusterEvent::PodGone, labels::POD_SMALLER);
            }
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
            let info = Arc::new(PodInfo::new(pod, &mut core.sharing));
            self.enqueue(&mut core, info, now);
            drop(core);
            self.wake.notify_one();
        }
    }

    /// Hears of claims of devices, their classes and what drivers offer.
    pub(super) fn listen_to_devices(&self, tick: watch::Sender<u64>) {
        let this = self.clone();
        self.caches.devices.claims.on_change(move |change| {
            tick.send_modify(|tick| *tick += 1);
            let label = labels::of(change, labels::DEVICE_CLAIM);
            this.heard(label, || this.take_in_claim(change, label));
        });
        let this = self.clone();
        self.caches.devices.classes.on_change(move |change| {
            if !change.is_delete() {
                this.on_event(ClusterEvent::Devices, labels::of(change, labels::DEVICE_CLASS));
            }
        });
        let this = self.clone();
        self.caches.devices.slices.on_change(move |change| {
            if !change.is_delete() {
                this.on_event(ClusterEvent::Devices, labels::of(change, labels::SLICE));
            }
        });
    }

    /// Puts a pod into the queue, held if its claims are not there yet.
    fn enqueue(&self, core: &mut Core, pod: Arc<PodInfo>, now: Duration) {
        let held = !pod.claims.is_empty() && self.caches.devices.of_pod(&pod).is_err();
        match held {
            true => core.held.add(&pod),
            false => core.held.remove(&pod.uid),
        }
        core.queue.set(pod, held, now);
    }

    /// Lets go the pods that were held for a claim, and wakes those that may fit now: all, if devices are free again
    /// (`isSchedulableAfterClaimChange`).
    fn take_in_claim(&self, change: &Change<ResourceClaim>, label: &'static str) {
        let claim = change.object();
        let has_devices = |claim: &Arc<ResourceClaim>| claim.status.as_ref().is_some_and(|s| s.allocation.is_some());
        let is_free = match change.old() {
            Some(old) => has_devices(old) && !has_devices(claim),
            None => change.is_delete() && has_devices(claim),
        };
        let now = self.clock.elapsed();
        let mut core = self.core.lock();
        for uid in core.held.waiting_for(&ObjectKey::of(&**claim)) {
            if let Some(pod) = core.queue.pod(&uid).cloned() {
                self.enqueue(&mut core, pod, now);
            }
        }
        let (namespace, name) = (claim.metadata.namespace.as_deref(), claim.metadata.name.as_deref());
        let uses = |pod: &PodInfo| {
            let is_it = |of: &PodClaim| matches!(of, PodClaim::Named { name: of, .. } if Some(of.as_str()) == name);
            Some(pod.namespace()) == namespace && pod.claims.iter().any(is_it)
        };
        if is_free {
            core.queue.on_event(ClusterEvent::Devices, label, now);
        } else if !change.is_delete() && change.old().is_none_or(|old| old.status != claim.status) {
            core.queue.on_event_for(ClusterEvent::Devices, label, now, &uses);
        }
        drop(core);
        self.wake.notify_one();
    }
}
