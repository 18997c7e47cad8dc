//! The formats in a definition's schemas.

use serde_json::Value;

use super::{given, items, shared, text};
use crate::{Object, formats};

/// The formats in the schemas of a definition that mean nothing, each as often as it is there.
pub fn unrecognized_formats(definition: &Object) -> Vec<String> {
    fn visit(schema: &Value, found: &mut Vec<String>) {
        let format = text(schema, "format");
        if !format.is_empty() && !formats::is_known(text(schema, "type"), format) {
            found.push(format.to_string());
        }
        for name in ["properties", "patternProperties", "definitions"] {
            schema[name].as_object().into_iter().flatten().for_each(|(_, below)| visit(below, found));
        }
        for name in ["items", "additionalProperties", "not"] {
            given(schema, name).filter(|below| below.is_object()).into_iter().for_each(|below| visit(below, found));
        }
        for name in ["allOf", "anyOf", "oneOf"] {
            items(schema, name).iter().for_each(|below| visit(below, found));
        }
    }
    let mut found = Vec::new();
    let spec = definition.0.get("spec").unwrap_or(&Value::Null);
    let versions = items(spec, "versions");
    // What all versions share counts once.
    let distinct = if shared(spec, "schema").is_some() { &versions[..1] } else { versions };
    distinct.iter().for_each(|version| visit(&version["schema"]["openAPIV3Schema"], &mut found));
    found
}
