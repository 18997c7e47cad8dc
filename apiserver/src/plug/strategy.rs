//! What one kind does about its own objects; the defaults are what a custom resource gets.

use api::field::ErrorList;
use api::{Object, Status};
use store::{Snapshot, Transaction};

use crate::Context;

/// The small functions that make a kind what it is. Plain and synchronous: they see a snapshot of the store and
/// may add to the transaction, so that what is allocated is stored together with what it is allocated to.
pub trait Strategy: Send + Sync {
    /// Fills in and clears what a client may not choose on create (`PrepareForCreate`).
    fn prepare_for_create(&self, _ctx: &Context, _new: &mut Object) {}

    /// Puts back what a client may not change through this (sub)resource (`PrepareForUpdate`).
    fn prepare_for_update(&self, _ctx: &Context, _new: &mut Object, _old: &Object) {}

    /// All that is wrong with the object.
    fn validate(&self, _ctx: &Context, _new: &Object, _old: Option<&Object>) -> ErrorList {
        ErrorList::new()
    }

    /// What refuses an object that is wrong before the reference comes to look at all that is wrong with it.
    fn refuses_first(&self, _ctx: &Context, _new: &Object, _old: Option<&Object>) -> Option<Status> {
        None
    }

    /// What the client is warned of.
    fn warnings(&self, _ctx: &Context, _new: &Object, _old: Option<&Object>) -> Vec<String> {
        Vec::new()
    }

    /// Whether [`Strategy::accompany`] fills in what it allocated.
    fn allocates(&self) -> bool {
        false
    }

    /// Conditions and operations to be committed together with the object: addresses and ports taken or given back.
    /// Called with the new object on create and update (and may fill in what it allocated), without on delete.
    /// Called again with a newer snapshot when a condition failed.
    ///
    /// # Errors
    /// A `Status` when nothing can be allocated, or what was asked for is taken.
    fn accompany(
        &self,
        _ctx: &Context,
        _new: Option<&mut Object>,
        _old: Option<&Object>,
        _snapshot: &Snapshot,
    ) -> Result<Transaction, Status> {
        Ok(Transaction::default())
    }

    /// The grace period in seconds with which this object is deleted, where the client asked for `requested`; none
    /// if the kind knows no graceful deletion (`CheckGracefulDelete`).
    fn grace_period(&self, _ctx: &Context, _object: &Object, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether the object, which is marked for deletion and has no finalizers in its metadata, must stay (a namespace
    /// with `spec.finalizers`, a pod within its grace period).
    fn holds_deletion(&self, _ctx: &Context, _object: &Object) -> bool {
        false
    }

    /// Called when deletion of the object begins and it will stay a while: the namespace's phase, say.
    fn prepare_for_deletion(&self, _ctx: &Context, _object: &mut Object) {}
}

/// The strategy of everything that has none of its own.
#[derive(Debug)]
pub struct Generic;

impl Strategy for Generic {}
