//! What kinds check once more of metadata that the generic registry has checked already.

use super::{NameRule, validate, validate_core_finalizers, validate_update};
use crate::Object;
use crate::catalogue::{Again, Flags};
use crate::field::ErrorList;

/// All that is wrong with the metadata of an object that is updated, through a subresource or itself: what the generic
/// registry checks, and then what the kind checks once more, so causes repeat as they do in the reference.
pub fn validate_kind_update(
    new: &Object,
    old: &Object,
    namespaced: bool,
    flags: &Flags,
    subresource: &str,
) -> ErrorList {
    let mut errors = validate(new, namespaced, NameRule::PathSegment);
    let changes = validate_update(new, old);
    errors.extend(changes.iter().cloned());
    let again = if subresource.is_empty() { flags.again } else { flags.again_below };
    let finalizers = if flags.any_finalizers { ErrorList::new() } else { validate_core_finalizers(new) };
    if matches!(again, Again::Changes | Again::Both) {
        errors.extend(changes);
        errors.extend(finalizers.iter().cloned());
    }
    if matches!(again, Again::Whole | Again::Both) {
        errors.extend(validate(new, namespaced, flags.name));
        errors.extend(finalizers);
    }
    errors
}
