//! Pods that wait: ready ones by priority, those that back off, those that nothing can help until something changes,
//! and those held by gates.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::plugins::Plugin;
use crate::pod::PodInfo;

/// The first pause after a failed attempt (`DefaultPodInitialBackoffDuration`).
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause (`DefaultPodMaxBackoffDuration`).
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// After this a pod is tried again though nothing changed (`DefaultPodMaxInUnschedulablePodsDuration`).
const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(300);

/// What may make room for a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterEvent {
    /// A node came, or its labels, taints, room or cordon changed.
    Node,
    /// A pod on a node came, or its labels changed.
    PodPlaced,
    /// A pod left its node.
    PodGone,
    /// A claim, volume or class changed.
    Storage,
    /// A namespace's labels changed.
    Namespace,
    /// Devices, their classes, or claims on them changed.
    Devices,
}

impl ClusterEvent {
    /// Whether the event may change the mind of `plugin` (its `EventsToRegister`).
    fn helps(self, plugin: Plugin) -> bool {
        use Plugin as P;
        match self {
            Self::Node => true,
            Self::PodPlaced => matches!(plugin, P::InterPodAffinity | P::PodTopologySpread),
            Self::PodGone => matches!(
                plugin,
                P::NodeResourcesFit | P::NodePorts | P::InterPodAffinity | P::PodTopologySpread | P::VolumeBinding
            ),
            Self::Storage => plugin == P::VolumeBinding,
            Self::Namespace => plugin == P::InterPodAffinity,
            Self::Devices => matches!(plugin, P::DynamicResources | P::NodeResourcesFit),
        }
    }
}

/// What put a pod into a queue, by the reference's label for it.
type Why = &'static str;

/// A pod came.
const POD_ADDED: Why = "UnscheduledPodAdd";
/// A pod that waits changed.
const POD_UPDATED: Why = "UnscheduledPodUpdate";
/// No node took it.
const FAILED: Why = "ScheduleAttemptFailure";
/// Its pause is over.
const PAUSED: Why = "BackoffComplete";
/// It has waited long enough though nothing changed.
const TIMED_OUT: Why = "UnschedulableTimeout";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Active,
    Backoff(Duration),
    Unschedulable(Duration),
    Gated,
    /// Taken by [`Queue::pop`]; with the number of moves at that time.
    InFlight(u64),
}

struct Waiting {
    pod: Arc<PodInfo>,
    place: Place,
    attempts: u32,
    /// When it was tried first.
    tried: Option<Duration>,
    /// Whether it was woken last because it had waited long enough.
    timed_out: bool,
    since: (Duration, u64),
    rejected_by: HashSet<Plugin>,
}

type ActiveKey = (Reverse<i32>, Duration, u64, String);

/// How a pod was tried.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tries {
    /// How often.
    pub attempts: u32,
    /// Since when.
    pub since: Duration,
    /// Whether the last try came because it had waited long enough.
    pub timed_out: bool,
}

/// The pods that wait. Times are those of one monotonic clock.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: HashMap<String, Waiting>,
    active: BTreeSet<ActiveKey>,
    backoff: BTreeSet<(Duration, String)>,
    unschedulable: BTreeSet<(Duration, String)>,
    moves: u64,
    sequence: u64,
    /// How many pods came into each queue, and why.
    incoming: BTreeMap<(&'static str, Why), u64>,
}

impl Queue {
    /// Adds a pod, or takes over its newer state. It is held, whatever its gates say, until it is set again and is not.
    pub(crate) fn set(&mut self, pod: Arc<PodInfo>, held: bool, now: Duration) {
        let gated = pod.gated || held;
        let uid = pod.uid.clone();
        let Some(known) = self.waiting.get_mut(&uid) else {
            self.sequence += 1;
            let place = if gated { Place::Gated } else { Place::Active };
            let since = (now, self.sequence);
            let waiting = Waiting {
                pod,
                place: Place::Gated,
                attempts: 0,
                tried: None,
                timed_out: false,
                since,
                rejected_by: HashSet::new(),
            };
            self.waiting.insert(uid.clone(), waiting);
            self.enter(&uid, place, POD_ADDED);
            return;
        };
        let changed = spec_changed(&known.pod, &pod);
        let place = known.place;
        if place == Place::Active {
            // Its key holds its priority: take it out under the old one.
            self.put(&uid, Place::Gated);
        }
        if let Some(known) = self.waiting.get_mut(&uid) {
            known.pod = pod;
        }
        match place {
            Place::Active => self.put(&uid, Place::Active),
            Place::Gated if !gated => self.enter(&uid, Place::Active, POD_UPDATED),
            Place::Unschedulable(_) if changed => self.wake(&uid, now, POD_UPDATED),
            // The attempt under way saw the older state.
            Place::InFlight(_) if changed => self.moves += 1,
            _ => {}
        }
    }

    /// Forgets a pod.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.put(uid, Place::Gated);
        self.waiting.remove(uid);
    }

    /// The next pod to try.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Arc<PodInfo>> {
        self.expire(now);
        let (.., uid) = self.active.first()?.clone();
        let moves = self.moves;
        self.put(&uid, Place::InFlight(moves));
        let waiting = self.waiting.get_mut(&uid)?;
        waiting.attempts += 1;
        waiting.tried.get_or_insert(now);
        Some(waiting.pod.clone())
    }

    /// How a pod under way was tried so far.
    pub(crate) fn tries(&self, uid: &str) -> Tries {
        let tries = |waiting: &Waiting| Tries {
            attempts: waiting.attempts,
            since: waiting.tried.unwrap_or_default(),
            timed_out: waiting.timed_out,
        };
        self.waiting.get(uid).map(tries).unwrap_or_default()
    }

    /// How many pods came into each queue so far, and why.
    pub(crate) fn incoming(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.incoming.iter().map(|((queue, why), count)| (*queue, *why, *count))
    }

    /// How many of the pods that wait each plugin has rejected.
    pub(crate) fn rejected(&self) -> BTreeMap<Plugin, usize> {
        let mut counts = BTreeMap::new();
        let waiting = self.waiting.values().filter(|waiting| !matches!(waiting.place, Place::InFlight(_)));
        for plugin in waiting.flat_map(|waiting| &waiting.rejected_by) {
            *counts.entry(*plugin).or_default() += 1;
        }
        counts
    }

    /// How many pods wait in each of the reference's queues.
    pub(crate) fn pending(&self) -> [(&'static str, usize); 4] {
        let gated = self.waiting.values().filter(|waiting| waiting.place == Place::Gated).count();
        let unschedulable = self.unschedulable.len();
        [
            ("active", self.active.len()),
            ("backoff", self.backoff.len()),
            ("gated", gated),
            ("unschedulable", unschedulable),
        ]
    }

    /// Gives back a pod that no node took; `rejected_by` tells what may wake it.
    pub(crate) fn failed(&mut self, uid: &str, rejected_by: HashSet<Plugin>, now: Duration) {
        let moves = self.moves;
        let Some(waiting) = self.waiting.get_mut(uid) else { return };
        let Place::InFlight(before) = waiting.place else { return };
        waiting.rejected_by = rejected_by;
        waiting.timed_out = false;
        if before == moves && !waiting.rejected_by.is_empty() {
            self.enter(uid, Place::Unschedulable(now), FAILED);
        } else {
            self.back_off(uid, now);
        }
    }

    /// A pod that waits.
    pub(crate) fn pod(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.waiting.get(uid).map(|waiting| &waiting.pod)
    }

    /// Wakes the pods that the event may help; `label` is what the reference calls it.
    pub(crate) fn on_event(&mut self, event: ClusterEvent, label: &'static str, now: Duration) {
        self.on_event_for(event, label, now, &|_| true);
    }

    /// The same of some pods only.
    pub(crate) fn on_event_for(
        &mut self,
        event: ClusterEvent,
        label: &'static str,
        now: Duration,
        concerns: &dyn Fn(&PodInfo) -> bool,
    ) {
        self.moves += 1;
        let helped: Vec<String> = self
            .unschedulable
            .iter()
            .map(|(_, uid)| uid)
            .filter(|uid| self.waiting[*uid].rejected_by.iter().any(|plugin| event.helps(*plugin)))
            .filter(|uid| concerns(&self.waiting[*uid].pod))
            .cloned()
            .collect();
        for uid in helped {
            self.wake(&uid, now, label);
        }
    }

    /// When [`Queue::pop`] may have something, if nothing else happens.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let backoff = self.backoff.first().map(|(until, _)| *until);
        let stuck = self.unschedulable.first().map(|(since, _)| *since + UNSCHEDULABLE_MAX);
        backoff.into_iter().chain(stuck).min()
    }

    fn expire(&mut self, now: Duration) {
        while let Some((_, uid)) = self.backoff.first().filter(|(until, _)| *until <= now).cloned() {
            self.enter(&uid, Place::Active, PAUSED);
        }
        while let Some((_, uid)) = self.unschedulable.first().filter(|(at, _)| *at + UNSCHEDULABLE_MAX <= now).cloned()
        {
            self.wake(&uid, now, TIMED_OUT);
        }
    }

    /// Makes a pod ready, or lets it finish its pause first.
    fn wake(&mut self, uid: &str, now: Duration, why: Why) {
        let Some(waiting) = self.waiting.get_mut(uid) else { return };
        let Place::Unschedulable(since) = waiting.place else { return };
        waiting.timed_out = why == TIMED_OUT;
        let until = since + pause(waiting.attempts);
        self.enter(uid, if until <= now { Place::Active } else { Place::Backoff(until) }, why);
    }

    fn back_off(&mut self, uid: &str, now: Duration) {
        let attempts = self.waiting.get(uid).map_or(0, |waiting| waiting.attempts);
        self.enter(uid, Place::Backoff(now + pause(attempts)), FAILED);
    }

    /// Moves a pod into one of the queues, and counts that.
    fn enter(&mut self, uid: &str, place: Place, why: Why) {
        let queue = match place {
            Place::Active => "active",
            Place::Backoff(_) => "backoff",
            Place::Unschedulable(_) | Place::Gated => "unschedulable",
            Place::InFlight(_) => return self.put(uid, place),
        };
        *self.incoming.entry((queue, why)).or_default() += 1;
        self.put(uid, place);
    }

    /// The one place that moves a pod between the sets.
    fn put(&mut self, uid: &str, place: Place) {
        let Some(waiting) = self.waiting.get_mut(uid) else { return };
        let key = (Reverse(waiting.pod.priority), waiting.since.0, waiting.since.1, uid.to_string());
        match waiting.place {
            Place::Active => _ = self.active.remove(&key),
            Place::Backoff(until) => _ = self.backoff.remove(&(until, uid.to_string())),
            Place::Unschedulable(since) => _ = self.unschedulable.remove(&(since, uid.to_string())),
            Place::Gated | Place::InFlight(_) => {}
        }
        waiting.place = place;
        match place {
            Place::Active => _ = self.active.insert(key),
            Place::Backoff(until) => _ = self.backoff.insert((until, uid.to_string())),
            Place::Unschedulable(since) => _ = self.unschedulable.insert((since, uid.to_string())),
            Place::Gated | Place::InFlight(_) => {}
        }
    }
}

fn pause(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(10);
    (BACKOFF_MIN * (1 << doublings)).min(BACKOFF_MAX)
}

/// Whether a change may make the pod fit: its spec or labels, not its status.
fn spec_changed(old: &PodInfo, new: &PodInfo) -> bool {
    old.generation != new.generation || old.gated != new.gated || old.labels != new.labels || old.claims != new.claims
}

#[cfg(test)]
mod tests;
