//! Applies what a mutation wants to the object of a case.

use api::admission::{Patch, merged};
use api::decode::{self, FieldValidation};
use api::patch::{self, PatchError};
use api::{Object, Status, defaults};

use super::case::Case;
use crate::admission::webhook::shown::target;
use crate::plug::admission::Attributes;

/// Why a mutation is not applied.
pub(super) enum Failure {
    /// It fails, and the failure policy says what comes of that.
    Policy(String),
    /// The request is refused, whatever the policy says.
    Request(Status),
}

/// The object after a mutation, with defaults.
pub(super) fn apply(attributes: &Attributes<'_>, case: &Case<'_>, patch: Patch) -> Result<Object, Failure> {
    let target = target(&case.matched, attributes.subresource).map_err(Failure::Request)?;
    let object = case.object.as_deref().ok_or_else(|| Failure::Policy("there is no object to patch".into()))?;
    let mut made = match patch {
        Patch::Configuration(configuration) => {
            let made = merged(&target.schema, object, configuration).map_err(Failure::Policy)?;
            decoded(made.into_value(), &target, FieldValidation::Ignore)?
        }
        Patch::Operations(operations) => {
            let mut value = object.clone().into_value();
            match patch::json::apply(&mut value, &operations) {
                Ok(()) => {}
                // A test that fails is no failure: the patch is not applied.
                Err(PatchError::DoesNotApply(why)) if why.starts_with("testing value ") => return Ok(object.clone()),
                Err(error) => return Err(Failure::Policy(format!("JSON Patch: {error}"))),
            }
            let validation = if target.custom { FieldValidation::Ignore } else { FieldValidation::Strict };
            decoded(value, &target, validation)?
        }
    };
    defaults::apply_and_keep_nulls(&target.schema, &mut made);
    Ok(made)
}

/// What a mutation made, which must still be of its kind.
fn decoded(value: serde_json::Value, target: &decode::Target, validation: FieldValidation) -> Result<Object, Failure> {
    let decoded = decode::decode_value(value, target, validation);
    let decoded = decoded.map_err(|error| Failure::Request(Status::internal(error.why())))?;
    if decoded.object.kind() != target.kind || decoded.object.api_version() != target.api_version() {
        let why = format!("a mutation may not make a {} of a {}", decoded.object.kind(), target.kind);
        return Err(Failure::Request(Status::internal(why)));
    }
    Ok(decoded.object)
}
