//! The three patches that a client computes itself: JSON patch, merge patch and strategic merge patch.
//! (Server-side apply is [`crate::apply`].)

pub mod json;
pub mod merge;
mod read;
mod shown;
pub mod strategic;

pub use read::{Patched, applied, configuration, configuration_warnings, json_patch, merge_patch, patched};
pub use shown::shown;

use serde_json::Value;

use crate::Status;
use crate::field::{FieldError, Path};
use crate::status::StatusDetails;

/// Why a patch cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed.
    #[error("{0}")]
    Malformed(String),
    /// The patch is well formed but does not apply to this object.
    #[error("{0}")]
    DoesNotApply(String),
    /// The patch has too many operations.
    #[error("{0}")]
    TooLarge(String),
    /// What the patch makes of the object does not decode.
    #[error("{why}")]
    Invalid {
        /// The object, or the patch.
        shown: String,
        /// What is wrong.
        why: String,
    },
    /// The patch contradicts itself or the object's type in a way that the reference does not classify.
    #[error("{0}")]
    Unclassified(String),
}

impl From<PatchError> for Status {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Malformed(message) => Status::bad_request(message),
            // NewGenericServerResponse in apimachinery does not show what the server says.
            PatchError::DoesNotApply(_) => {
                let message = "the server rejected our request due to an error in our request";
                Status::failure(422, "Invalid", message).with_details(StatusDetails::default())
            }
            PatchError::Invalid { shown, why } => {
                Status::invalid("", "", "", &FieldError::invalid(&Path::new("patch"), shown, why).into())
            }
            PatchError::TooLarge(message) => Status::too_large(format!("Request entity too large: {message}")),
            PatchError::Unclassified(message) => Status::failure(500, "", message),
        }
    }
}

/// What Go's `encoding/json` calls a JSON value.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A JSON value as Go's `%v` prints it.
pub fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let fields: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", go_value(v))).collect();
            format!("map[{}]", fields.join(" "))
        }
        scalar => scalar.to_string(),
    }
}
