//! News for a worker: of its pod in the API, and of its containers in the runtime.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::writer::Shown;
use crate::{eviction, status::OWN_CONDITIONS};

/// News of a worker's pod.
#[derive(Debug, Clone)]
pub struct Input {
    /// The pod as the API shows it.
    pub pod: Arc<Pod>,
    /// Whether it is gone from the API.
    pub gone: bool,
}

impl Input {
    pub(super) fn is_ending(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }
}

/// Wakes a worker.
#[derive(Clone, Default)]
pub struct Wake {
    pub(super) notify: Arc<Notify>,
    pub(super) exited: Arc<Mutex<HashSet<String>>>,
    pub(super) evicted: Arc<Mutex<Option<eviction::Excess>>>,
}

impl Wake {
    /// Lets the worker look again.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// Ends the pod because of what it uses.
    pub fn evict(&self, excess: eviction::Excess) {
        *self.evicted.lock() = Some(excess);
        self.wake();
    }

    /// Tells that a container or sandbox has ended.
    pub fn exited(&self, id: &str) {
        self.exited.lock().insert(id.to_owned());
        self.wake();
    }
}

/// A running worker.
pub struct Handle {
    pub(super) input: watch::Sender<Input>,
    pub(super) shown: Shown,
    pub(super) wake: Wake,
}

impl Handle {
    /// Tells of a change of the pod.
    pub fn update(&self, pod: Arc<Pod>) {
        self.shown.send_replace(pod.clone());
        self.input.send_if_modified(|input| {
            let changed = input.pod.metadata.resource_version != pod.metadata.resource_version;
            // The status is our own, and the writer puts it right; only what others may change is news.
            let news = input.pod.spec != pod.spec
                || input.pod.metadata.deletion_timestamp != pod.metadata.deletion_timestamp
                || input.pod.metadata.deletion_grace_period_seconds != pod.metadata.deletion_grace_period_seconds
                || input.pod.metadata.labels != pod.metadata.labels
                || input.pod.metadata.annotations != pod.metadata.annotations
                || claims(&input.pod) != claims(&pod)
                || foreign_conditions(&input.pod) != foreign_conditions(&pod);
            if changed {
                input.pod = pod;
            }
            news
        });
    }

    /// Tells that the pod is gone from the API.
    pub fn gone(&self) {
        self.input.send_modify(|input| input.gone = true);
    }

    /// The means to wake the worker.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }
}

/// The names of the pod's claims of devices, which come when they are made.
fn claims(pod: &Pod) -> Vec<&str> {
    client::resource_claims::names(pod)
}

fn foreign_conditions(pod: &Pod) -> Vec<(&str, &str)> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .filter(|condition| !OWN_CONDITIONS.contains(&condition.type_.as_str()))
        .map(|condition| (condition.type_.as_str(), condition.status.as_str()))
        .collect()
}
