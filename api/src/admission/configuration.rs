//! Merges the configuration of a mutation into an object (`ApplyStructuredMergeDiff` in apiserver).

use serde_json::{Map, Value};

use crate::Object;
use crate::apply;
use crate::schema::Schema;

/// The object with a configuration merged into it. Nobody owns what is set so.
///
/// # Errors
/// If the configuration does not have the shape of the type, or sets what is owned as a whole.
pub fn merged(schema: &Schema, object: &Object, mut configuration: Map<String, Value>) -> Result<Object, String> {
    for name in ["apiVersion", "kind"] {
        configuration.insert(name.into(), object.0.get(name).cloned().unwrap_or_default());
    }
    apply::merged_unowned(schema, object, Value::Object(configuration))
        .map_err(|why| format!("error applying patch: {why}"))
}
