//! What happened before the newest state: events in order, bounded for each group of keys.
//!
//! One group cannot push out what another has: each has its own bounds, and where all together are over theirs the
//! largest gives way. A group forgets from its oldest event on, and what it has forgotten is told by its *floor*:
//! everything after that revision is there.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::history::HistoryLimits;
use crate::limits::{
    HISTORY_GROUPS_MAX, HISTORY_IDLE_BYTES_MAX, HISTORY_KEPT_FOR, HISTORY_OLD_AFTER, HISTORY_OLDER_BYTES_MAX,
    MARK_EVERY_REVISIONS,
};
use crate::{Event, EventBatch, EventKind, Revision, Snapshot};

/// What an event costs besides the values it keeps alive.
const EVENT_OVERHEAD_BYTES: usize = 128;
/// Batches that became empty are taken out of the middle when they are so many, and the greater part.
const EMPTY_BATCHES_MAX: usize = 1024;

/// Events in order, and some whole maps among them.
pub(crate) struct Past {
    /// What was before is in no group.
    start: Revision,
    /// The highest floor: what is after it is there for every group.
    floor: Revision,
    batches: VecDeque<Batch>,
    /// How many of them became empty.
    empty: usize,
    groups: HashMap<Box<str>, Group>,
    bytes: usize,
    marks: VecDeque<Snapshot>,
}

struct Batch {
    last: Revision,
    at: Instant,
    events: EventBatch,
}

/// The events of the keys of one group.
struct Group {
    floor: Revision,
    /// The batches with events of this group, by their last revisions, oldest first.
    batches: VecDeque<Revision>,
    events: usize,
    bytes: usize,
}

impl Past {
    pub(crate) fn new(start: Revision) -> Self {
        let (batches, marks) = (VecDeque::new(), VecDeque::new());
        Self { start, floor: start, batches, empty: 0, groups: HashMap::new(), bytes: 0, marks }
    }

    /// Everything that happened to the group's keys after this revision is here; an empty name means all groups.
    pub(crate) fn floor(&self, group: &str) -> Revision {
        if group.is_empty() {
            return self.floor;
        }
        self.groups.get(group).map_or(self.start, |group| group.floor)
    }

    pub(crate) fn batch(&self, last: Revision) -> Option<&EventBatch> {
        let at = self.batches.partition_point(|batch| batch.last < last);
        self.batches.get(at).filter(|batch| batch.last == last).map(|batch| &batch.events)
    }

    /// The batches that end after `after` and at or before `to`, oldest first, by their last revisions.
    pub(crate) fn between(&self, after: Revision, to: Revision) -> impl Iterator<Item = (Revision, &EventBatch)> {
        let from = self.batches.partition_point(|batch| batch.last <= after);
        let to = self.batches.partition_point(|batch| batch.last <= to);
        let found = self.batches.range(from..to.max(from)).map(|batch| (batch.last, &batch.events));
        found.filter(|(_, events)| !events.is_empty())
    }

    /// The batches with events of a group after `after`, by their last revisions.
    pub(crate) fn of_group(&self, group: &str, after: Revision) -> impl Iterator<Item = (Revision, &EventBatch)> {
        let touched = self.groups.get(group).map(|group| &group.batches);
        let from = touched.map_or(0, |touched| touched.partition_point(|batch| *batch <= after));
        let later = touched.into_iter().flat_map(move |touched| touched.range(from..));
        later.filter_map(|last| Some((*last, self.batch(*last)?)))
    }

    /// The oldest whole map at or after a revision.
    pub(crate) fn mark(&self, revision: Revision) -> Option<&Snapshot> {
        self.marks.get(self.marks.partition_point(|mark| mark.revision < revision))
    }

    /// Adds the events that lead to `snapshot`.
    pub(crate) fn push(&mut self, snapshot: &Snapshot, events: EventBatch, now: Instant, limits: &HistoryLimits) {
        let last = snapshot.revision;
        for event in events.iter() {
            let (group, bytes) = ((limits.group)(event.key()), kept_bytes(event));
            let group = match self.groups.get_mut(group) {
                Some(group) => group,
                None => {
                    self.limit_groups();
                    self.groups.entry(group.into()).or_insert(Group {
                        floor: self.start,
                        batches: VecDeque::new(),
                        events: 0,
                        bytes: 0,
                    })
                }
            };
            group.events += 1;
            group.bytes += bytes;
            self.bytes += bytes;
            if group.batches.back() != Some(&last) {
                group.batches.push_back(last);
            }
        }
        self.batches.push_back(Batch { last, at: now, events });
        if self.marks.back().map_or(self.start, Snapshot::revision) + MARK_EVERY_REVISIONS <= last {
            self.marks.push_back(snapshot.clone());
        }
    }

    /// Resources come and go: a group without events is remembered by the start alone when there are too many.
    fn limit_groups(&mut self) {
        if self.groups.len() < HISTORY_GROUPS_MAX {
            return;
        }
        let gone = self.groups.values().filter(|group| group.batches.is_empty()).map(|group| group.floor);
        self.start = gone.fold(self.start, Revision::max);
        self.groups.retain(|_, group| !group.batches.is_empty());
    }

    /// Forgets what is over the limits, but never the newest batch; what it returns may take long to drop.
    pub(crate) fn bound(&mut self, now: Instant, limits: &HistoryLimits) -> Vec<EventBatch> {
        let mut forgotten = Vec::new();
        let Some(newest) = self.batches.back().map(|batch| batch.last) else { return forgotten };
        let over = self.groups.keys().filter(|name| self.is_over(name, newest, now, limits));
        for name in &over.cloned().collect::<Vec<Box<str>>>() {
            while self.is_over(name, newest, now, limits) {
                forgotten.extend(self.trim(name, limits));
            }
        }
        while self.bytes > limits.total_bytes_max {
            let of_older = self.groups.iter().filter(|(_, group)| group.batches.front().is_some_and(|b| *b < newest));
            let Some(name) = of_older.max_by_key(|(_, group)| group.bytes).map(|(name, _)| name.clone()) else { break };
            forgotten.extend(self.trim(&name, limits));
        }
        self.tidy();
        forgotten
    }

    /// Whether the oldest batch of a group has to go.
    fn is_over(&self, name: &str, newest: Revision, now: Instant, limits: &HistoryLimits) -> bool {
        let Some(group) = self.groups.get(name) else { return false };
        let Some(oldest) = group.batches.front().filter(|batch| **batch < newest) else { return false };
        if group.events > limits.events_max || group.bytes > limits.bytes_max {
            return true;
        }
        if group.bytes <= HISTORY_IDLE_BYTES_MAX {
            return false;
        }
        let at = self.batches.partition_point(|batch| batch.last < *oldest);
        let age = self.batches.get(at).map_or_else(Default::default, |batch| now.saturating_duration_since(batch.at));
        age > HISTORY_OLD_AFTER || (age > HISTORY_KEPT_FOR && group.bytes > HISTORY_OLDER_BYTES_MAX)
    }

    /// Forgets the oldest batch of a group.
    fn trim(&mut self, name: &str, limits: &HistoryLimits) -> Option<EventBatch> {
        let group = self.groups.get_mut(name)?;
        let last = group.batches.pop_front()?;
        group.floor = last;
        self.floor = self.floor.max(last);
        let at = self.batches.partition_point(|batch| batch.last < last);
        let batch = self.batches.get_mut(at).filter(|batch| batch.last == last)?;
        let kept = batch.events.iter().filter(|event| (limits.group)(event.key()) != name);
        let kept: EventBatch = kept.cloned().collect();
        let gone = std::mem::replace(&mut batch.events, kept);
        self.empty += usize::from(batch.events.is_empty());
        for event in gone.iter().filter(|event| (limits.group)(event.key()) == name) {
            let bytes = kept_bytes(event);
            group.events -= 1;
            group.bytes = group.bytes.saturating_sub(bytes);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        Some(gone)
    }

    /// Forgets what happened up to and including `revision`.
    pub(crate) fn forget(&mut self, revision: Revision, limits: &HistoryLimits) -> Vec<EventBatch> {
        let mut forgotten = Vec::new();
        let names: Vec<Box<str>> = self.groups.keys().cloned().collect();
        for name in &names {
            while self.groups[name].batches.front().is_some_and(|batch| *batch <= revision) {
                forgotten.extend(self.trim(name, limits));
            }
        }
        for group in self.groups.values_mut() {
            group.floor = group.floor.max(revision);
        }
        self.start = self.start.max(revision);
        self.floor = self.floor.max(revision);
        self.tidy();
        forgotten
    }

    /// Drops empty batches and the marks that no longer serve all groups: they would keep what was forgotten.
    fn tidy(&mut self) {
        while self.batches.len() > 1 && self.batches.front().is_some_and(|batch| batch.events.is_empty()) {
            self.batches.pop_front();
            self.empty -= 1;
        }
        if self.empty > EMPTY_BATCHES_MAX && self.empty > self.batches.len() / 2 {
            let newest = self.batches.back().map(|batch| batch.last);
            self.batches.retain(|batch| !batch.events.is_empty() || Some(batch.last) == newest);
            self.empty = self.batches.iter().filter(|batch| batch.events.is_empty()).count();
        }
        while self.marks.front().is_some_and(|mark| mark.revision < self.floor) {
            self.marks.pop_front();
        }
    }

    /// Takes note that an event keeps so many bytes less alive, if it is still kept.
    pub(crate) fn saved(&mut self, event: &Event, bytes: usize, limits: &HistoryLimits) {
        let Some(group) = self.groups.get_mut((limits.group)(event.key())) else { return };
        if event.revision > group.floor {
            group.bytes = group.bytes.saturating_sub(bytes);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// How many bytes it keeps alive.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The state before an event, which the history alone keeps alive. The state after is in the newest map, or is the
/// state before of a later event.
pub(crate) fn previous(event: &Event) -> Option<&crate::Entry> {
    match &event.kind {
        EventKind::Put { previous, .. } => previous.as_ref(),
        EventKind::Delete { previous } => Some(previous),
    }
}

fn kept_bytes(event: &Event) -> usize {
    EVENT_OVERHEAD_BYTES + previous(event).map_or(0, crate::Entry::kept_bytes)
}
