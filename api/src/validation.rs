//! What makes an object valid: pure functions that return every error at once.
//!
//! [`crate::kinds`] has the rules of each built-in kind; the words, paths and order of the errors are those of the
//! reference's `pkg/apis/*/validation`, cited by function in each file.

pub mod addresses;
pub(crate) mod admission_policies;
pub(crate) mod apps;
pub mod at;
pub(crate) mod autoscaling;
pub(crate) mod batch;
pub(crate) mod certificates;
pub(crate) mod conditions;
pub(crate) mod core;
pub(crate) mod csi;
pub(crate) mod devices;
pub(crate) mod discovery;
pub(crate) mod flowcontrol;
pub mod metadata;
pub(crate) mod network_policies;
pub(crate) mod networking;
pub(crate) mod networking_classes;
pub(crate) mod pod;
pub(crate) mod policy;
pub(crate) mod rbac;
pub(crate) mod rules;
pub(crate) mod scheduling;
pub(crate) mod services;
pub(crate) mod storage_classes;
#[cfg(test)]
mod tests;
pub(crate) mod warnings;
pub(crate) mod webhooks;
pub(crate) mod workload;

use crate::Object;
use crate::field::ErrorList;
use at::At;

/// The addresses and families that a service asks for (`ValidateServiceClusterIPsRelatedFields`), which the allocator
/// looks at before anything else.
pub fn cluster_ips(new: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let before = old.map(|old| At::root(old).field("spec"));
    core::cluster_ips(&At::root(new).field("spec"), before.as_ref(), &mut errors);
    errors
}

pub use rules::review_selectors;
