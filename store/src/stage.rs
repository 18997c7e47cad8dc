//! A group of commits on its way: applied to the next map, not yet durable, not yet visible.

use crate::{Committed, Event, Snapshot, StoreError, Transaction};

/// The next map and the events that lead to it.
pub(crate) struct Stage {
    pub(crate) snapshot: Snapshot,
    pub(crate) events: Vec<Event>,
}

impl Stage {
    /// A stage on top of the newest visible state.
    pub(crate) fn on(newest: Snapshot) -> Self {
        Self { snapshot: newest, events: Vec::new() }
    }

    /// Checks one transaction against everything staged before it, and stages it. Neither result may be told to
    /// anyone before the stage is durable: even a failed condition tells of the commits before it.
    pub(crate) fn commit(&mut self, transaction: Transaction) -> Result<Committed, StoreError> {
        self.snapshot.check(&transaction.conditions)?;
        let entries = self.snapshot.apply(transaction.operations, &mut self.events);
        Ok(Committed { revision: self.snapshot.revision, entries })
    }
}
