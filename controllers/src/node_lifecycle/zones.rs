//! How many nodes of each zone are ready, and what follows for evictions: a plain value.
//!
//! Where everything fails at once the fault is more likely between us and the nodes than in each of them: then nobody is
//! evicted (`handleDisruption` in the reference's `nodelifecycle`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::condition;

/// A zone loses one node in this time (`--node-eviction-rate`, 0.1 a second).
const PAUSE: Duration = Duration::from_secs(10);
/// The same while many nodes of a large zone are not ready (`--secondary-node-eviction-rate`, 0.01 a second).
const SLOW_PAUSE: Duration = Duration::from_secs(100);
/// A zone with more nodes is large (`--large-cluster-size-threshold`).
const LARGE: usize = 50;
/// A zone with more nodes not ready may be disrupted.
const UNREADY_MIN: usize = 2;
/// It is if this share of its nodes is not ready, in percent (`--unhealthy-zone-threshold`).
const UNREADY_PERCENT: usize = 55;
/// The label of nodes that do not count.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";
/// The labels that make a zone, with their older names.
const REGION: [&str; 2] = ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
const ZONE: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

/// How a zone is (`ZoneState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Normal,
    Partial,
    Full,
}

/// What the news of a node changed for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    None,
    /// No node is ready any more: nobody is evicted.
    Stopped,
    /// Some node is ready again: those that are not have to be judged afresh.
    Resumed,
}

struct Zone {
    state: State,
    ready: usize,
    unready: usize,
    /// Nodes that are to lose their pods.
    queue: BTreeSet<(Duration, String)>,
    /// When the last one was taken from the queue.
    last: Option<Duration>,
}

struct Member {
    zone: String,
    /// Whether it is ready; nothing of a node that does not count.
    ready: Option<bool>,
    queued: Option<Duration>,
}

/// The zones of a cluster.
#[derive(Default)]
pub(super) struct Zones {
    members: HashMap<String, Member>,
    zones: BTreeMap<String, Zone>,
    stopped: bool,
}

/// The zone of a node (`GetZoneKey`).
fn zone_of(node: &Node) -> String {
    let label = |names: [&str; 2]| names.iter().find_map(|name| node.labels().get(*name)).cloned().unwrap_or_default();
    match (label(REGION), label(ZONE)) {
        (region, zone) if region.is_empty() && zone.is_empty() => String::new(),
        (region, zone) => format!("{region}:\0:{zone}"),
    }
}

impl Zones {
    /// Takes in how a node is, without a verdict.
    pub(super) fn note(&mut self, node: &Node) {
        let ready = condition(node, "Ready").is_some_and(|c| c.status == "True");
        let ready = (!node.labels().contains_key(EXCLUDED)).then_some(ready);
        let name = node.name_any();
        let zone = zone_of(node);
        let before = self.members.get(&name);
        if before.is_some_and(|m| m.zone == zone && m.ready == ready) {
            return;
        }
        let queued = before.filter(|m| m.zone == zone).and_then(|m| m.queued);
        if before.is_some_and(|m| m.zone != zone) {
            self.dequeue(&name);
        }
        self.uncount(&name);
        let counts = self.zones.entry(zone.clone()).or_insert_with(Zone::new);
        match ready {
            Some(true) => counts.ready += 1,
            Some(false) => counts.unready += 1,
            None => {}
        }
        self.members.insert(name, Member { zone, ready, queued });
    }

    /// Forgets a node, without a verdict.
    pub(super) fn forget(&mut self, name: &str) {
        self.dequeue(name);
        self.uncount(name);
        self.members.remove(name);
    }

    /// Judges all zones by what is known of their nodes.
    pub(super) fn judge(&mut self) -> Turn {
        let found: Vec<State> = self.zones.values().filter(|zone| zone.counts()).map(Zone::found).collect();
        let stops = !found.is_empty() && found.iter().all(|state| *state == State::Full);
        let turn = match (stops, self.stopped) {
            (true, false) => Turn::Stopped,
            (false, true) => Turn::Resumed,
            _ => Turn::None,
        };
        self.stopped = stops;
        for zone in self.zones.values_mut().filter(|zone| zone.counts()) {
            zone.state = zone.found();
        }
        self.zones.retain(|_, zone| zone.counts() || !zone.queue.is_empty());
        turn
    }

    /// Whether nobody is evicted, as no node is ready.
    pub(super) fn are_stopped(&self) -> bool {
        self.stopped
    }

    /// Puts a node into the queue of those that lose their pods, unless it is there. Returns its zone.
    pub(super) fn enqueue(&mut self, name: &str, now: Duration) -> Option<String> {
        let member = self.members.get_mut(name)?;
        if member.queued.is_none() {
            member.queued = Some(now);
            self.zones.entry(member.zone.clone()).or_insert_with(Zone::new).queue.insert((now, name.to_owned()));
        }
        Some(member.zone.clone())
    }

    /// Takes a node out of its queue.
    pub(super) fn dequeue(&mut self, name: &str) {
        let Some(member) = self.members.get_mut(name) else { return };
        if let (Some(at), Some(zone)) = (member.queued.take(), self.zones.get_mut(&member.zone)) {
            zone.queue.remove(&(at, name.to_owned()));
        }
    }

    /// The next node of a zone that loses its pods: its name, or how long it has to wait; nothing if there is none, or if
    /// none may go. One that came less than `settle` ago waits, so that nodes that fail together are seen together.
    pub(super) fn next(&self, zone: &str, settle: Duration, now: Duration) -> Option<Result<String, Duration>> {
        let zone = self.zones.get(zone)?;
        let (since, name) = zone.queue.first()?;
        let pause = zone.pause().filter(|_| !self.stopped)?;
        let due = zone.last.map_or(Duration::ZERO, |last| last + pause).max(*since + settle);
        Some(if due <= now { Ok(name.clone()) } else { Err(due - now) })
    }

    /// Notes that a node lost its pods.
    pub(super) fn went(&mut self, name: &str, now: Duration) {
        self.dequeue(name);
        let zone = self.members.get(name).and_then(|member| self.zones.get_mut(&member.zone));
        if let Some(zone) = zone {
            zone.last = Some(now);
        }
    }

    /// The zones with their nodes that count: how many are ready, and how many are not.
    pub(super) fn sizes(&self) -> Vec<(String, usize, usize)> {
        self.zones.iter().map(|(name, zone)| (name.clone(), zone.ready, zone.unready)).collect()
    }

    /// The zone of a node.
    pub(super) fn of(&self, name: &str) -> Option<&str> {
        self.members.get(name).map(|member| &*member.zone)
    }

    /// The zones with a queue.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.zones.iter().filter(|(_, zone)| !zone.queue.is_empty()).map(|(name, _)| name.clone()).collect()
    }

    fn uncount(&mut self, name: &str) {
        let Some(member) = self.members.get(name) else { return };
        let Some(zone) = self.zones.get_mut(&member.zone) else { return };
        match member.ready {
            Some(true) => zone.ready -= 1,
            Some(false) => zone.unready -= 1,
            None => {}
        }
    }
}

impl Zone {
    fn new() -> Self {
        Self { state: State::Normal, ready: 0, unready: 0, queue: BTreeSet::new(), last: None }
    }

    /// Whether it has nodes that count.
    fn counts(&self) -> bool {
        self.ready + self.unready > 0
    }

    /// How its nodes say that it is (`ComputeZoneState`).
    fn found(&self) -> State {
        let all = self.ready + self.unready;
        if self.ready == 0 && self.unready > 0 {
            State::Full
        } else if self.unready > UNREADY_MIN && self.unready * 100 >= UNREADY_PERCENT * all {
            State::Partial
        } else {
            State::Normal
        }
    }

    /// The time between two nodes that lose their pods; none if no node does.
    fn pause(&self) -> Option<Duration> {
        match self.state {
            State::Normal | State::Full => Some(PAUSE),
            State::Partial => (self.ready + self.unready > LARGE).then_some(SLOW_PAUSE),
        }
    }
}

#[cfg(test)]
#[path = "zones_tests.rs"]
mod tests;
