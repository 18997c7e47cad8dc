//! The immutable ordered map.

use std::sync::Arc;

use imbl::OrdMap;

use crate::{Condition, Entry, Event, EventKind, Operation, Revision, StoreError, Transaction};

/// The whole map as of one revision. Cloning is a reference count.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) revision: Revision,
    pub(crate) map: OrdMap<Arc<str>, Entry>,
}

impl Snapshot {
    /// The revision this state is as of.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What is stored under `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.map.get(key)
    }

    /// Entries whose key starts with `prefix`, in order, from `start` (inclusive) if that is later.
    pub fn list<'a>(&'a self, prefix: &'a str, start: Option<&str>) -> impl Iterator<Item = &'a Entry> + 'a {
        let from: Arc<str> = match start {
            Some(start) if start > prefix => start.into(),
            _ => prefix.into(),
        };
        self.map.range(from..).map(|(_, entry)| entry).take_while(move |entry| entry.key().starts_with(prefix))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(crate) fn check(&self, conditions: &[Condition]) -> Result<(), StoreError> {
        for condition in conditions {
            let (key, holds) = match condition {
                Condition::Absent(key) => (key, !self.map.contains_key(key)),
                Condition::ModRevision(key, revision) => {
                    (key, self.map.get(key).is_some_and(|entry| entry.mod_revision() == *revision))
                }
            };
            if !holds {
                return Err(StoreError::ConditionFailed { key: key.to_string(), current: self.map.get(key).cloned() });
            }
        }
        Ok(())
    }

    /// Applies operations under the next revision; returns the entries put and the events made.
    pub(crate) fn apply(&mut self, transaction: Transaction) -> (Vec<Entry>, Vec<Event>) {
        let revision = self.revision + 1;
        self.revision = revision;
        let mut entries = Vec::new();
        let mut events = Vec::new();
        for operation in transaction.operations {
            match operation {
                Operation::Put(key, value) => {
                    let previous = self.map.get(&key).cloned();
                    let created = previous.as_ref().map_or(revision, Entry::create_revision);
                    let entry = Entry::new(key.clone(), value, created, revision);
                    self.map.insert(key, entry.clone());
                    entries.push(entry.clone());
                    events.push(Event { revision, kind: EventKind::Put { entry, previous } });
                }
                Operation::Delete(key) => {
                    if let Some(previous) = self.map.remove(&key) {
                        events.push(Event { revision, kind: EventKind::Delete { previous } });
                    }
                }
            }
        }
        (entries, events)
    }
}
