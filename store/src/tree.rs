//! The immutable ordered map.

use std::sync::Arc;

use imbl::OrdMap;

use crate::sealing::SealedValues;
use crate::{Condition, Entry, Event, EventKind, Operation, Revision, StoreError};

/// The whole map as of one revision. Cloning is a reference count.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) revision: Revision,
    /// A sum over what [`fingerprint`] says of every entry: two maps with different content have, but for chance,
    /// different digests, however they came about.
    pub(crate) digest: u64,
    map: OrdMap<Arc<str>, Entry>,
}

impl Snapshot {
    pub(crate) fn empty(revision: Revision) -> Self {
        Self { revision, ..Self::default() }
    }

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

    /// Applies operations under the next revision, appending the events made; returns the entries put. If nothing
    /// changes, the revision does not either.
    pub(crate) fn apply(
        &mut self,
        operations: Vec<Operation>,
        sealed: &SealedValues,
        events: &mut Vec<Event>,
    ) -> Vec<Entry> {
        let revision = self.revision + 1;
        let events_before = events.len();
        let mut entries = Vec::new();
        for (at, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Put(key, value) => {
                    let created = self.map.get(&key).map_or(revision, Entry::create_revision);
                    let entry = match sealed.get(at) {
                        Some(Some(sealed)) => Entry::with_sealed(key, value, created, revision, sealed.bytes.clone()),
                        _ => Entry::new(key, value, created, revision),
                    };
                    let previous = self.insert(entry.clone());
                    entries.push(entry.clone());
                    events.push(Event { revision, kind: EventKind::Put { entry, previous } });
                }
                Operation::Delete(key) => {
                    if let Some(previous) = self.remove(&key) {
                        events.push(Event { revision, kind: EventKind::Delete { previous } });
                    }
                }
            }
        }
        if events.len() > events_before {
            self.revision = revision;
        }
        entries
    }

    /// Takes an event back. Events must be taken back newest first; the revision is the caller's to set.
    pub(crate) fn undo(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Put { entry, previous: None } => drop(self.remove(entry.key())),
            EventKind::Put { previous: Some(previous), .. } | EventKind::Delete { previous } => {
                self.insert(previous.clone());
            }
        }
    }

    pub(crate) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        self.digest = self.digest.wrapping_add(fingerprint(&entry));
        let previous = self.map.insert(entry.key_shared(), entry);
        if let Some(previous) = &previous {
            self.digest = self.digest.wrapping_sub(fingerprint(previous));
        }
        previous
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let previous = self.map.remove(key)?;
        self.digest = self.digest.wrapping_sub(fingerprint(&previous));
        Some(previous)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.map.values()
    }
}

/// A number for the key and revisions of an entry: FNV-1a, then the finalizer of SplitMix64. It is part of the stored
/// format. The value is not in it: every stored value has a checksum of its own, and a revision has one value.
fn fingerprint(entry: &Entry) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    entry.key().bytes().for_each(&mut add);
    entry.create_revision().to_le_bytes().into_iter().for_each(&mut add);
    entry.mod_revision().to_le_bytes().into_iter().for_each(&mut add);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
