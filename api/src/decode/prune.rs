//! Objects that were stored under another schema than the one of now.

use serde_json::Value;

use super::tree::Tree;
use super::typed;
use crate::Object;
use crate::schema::Schema;

/// Drops what the schema does not know. An object that is not of the schema's types stays as it is.
pub fn prune(schema: &Schema, object: &mut Object) {
    let whole = Value::Object(object.0.clone());
    if let Ok(Value::Object(pruned)) = typed::convert(Tree::from(whole), schema.root(), true, false, &mut Vec::new()) {
        object.0 = pruned;
    }
}
