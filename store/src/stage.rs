//! A group of commits on its way: applied to the next map, not yet durable, not yet visible.

use crate::sealing::SealedValues;
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
        self.commit_sealed(transaction, &SealedValues::new())
    }

    /// As [`Stage::commit`], with what is to be on the disk for the values put.
    pub(crate) fn commit_sealed(
        &mut self,
        transaction: Transaction,
        sealed: &SealedValues,
    ) -> Result<Committed, StoreError> {
        self.snapshot.check(&transaction.conditions)?;
        let entries = self.snapshot.apply(transaction.operations, sealed, &mut self.events);
        Ok(Committed { revision: self.snapshot.revision, entries })
    }
}
