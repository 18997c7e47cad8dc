//! Addresses and ports of services, taken and given back in the transaction that stores the service.
//!
//! An address is held by its `IPAddress` object and a node port by a key of its own, so a condition that the key is absent
//! is all it takes to give nothing twice, and a crash leaves nothing behind.

mod addresses;
pub mod families;
mod ports;

use api::field::{ErrorList, FieldError};
use api::{Object, Status};
use store::{Snapshot, Transaction};

use crate::Context;

pub(crate) use ports::HELD as PORTS_HELD;
pub use ports::{NODE_PORT_MAX, NODE_PORT_MIN};

/// What is to be committed with a service: created (`new`), changed (both) or deleted (`old`). Fills in what is
/// allocated.
///
/// # Errors
/// `Invalid` if what is asked for is taken or out of range, an internal error if nothing is left.
pub fn accompany(
    ctx: &Context,
    mut new: Option<&mut Object>,
    old: Option<&Object>,
    snapshot: &Snapshot,
) -> Result<Transaction, Status> {
    let mut transaction = Transaction::default();
    addresses::accompany(ctx, new.as_deref_mut(), old, snapshot, &mut transaction)?;
    ports::accompany(ctx, new, old, snapshot, &mut transaction)?;
    Ok(transaction)
}

fn invalid(service: &Object, error: FieldError) -> Status {
    let errors = ErrorList::from(error);
    Status::invalid("", "Service", service.name(), &errors)
}

#[cfg(test)]
mod tests;
