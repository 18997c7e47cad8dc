//! Merging a configuration that nobody owns: what policies of admission change (`smd.go` of apiserver's
//! `policy/mutating/patch`).

use std::fmt::Write;

use serde_json::Value;

use super::merge::merge;
use super::typed::{Maybe, Shape, child, joined, shape, validate};
use crate::Object;
use crate::schema::Schema;

/// An object with a configuration merged into it.
///
/// # Errors
/// If the configuration does not have the shape of the type, or would replace what is owned as a whole.
pub(crate) fn merged_unowned(schema: &Schema, object: &Object, configuration: Value) -> Result<Object, String> {
    let ty = Some(schema.root());
    let errors = validate(&configuration, ty, true);
    if !errors.is_empty() {
        return Err(format!("failed to convert patch object to typed object: {}", joined(&errors)));
    }
    let mut whole = Vec::new();
    wholes(&configuration, ty, &mut String::new(), &mut whole);
    if !whole.is_empty() {
        let whole = whole.join(", ");
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {whole}"));
    }
    let mut new = Value::Object(object.0.clone());
    merge(&mut new, &configuration, ty);
    Object::from_value(new).ok_or_else(|| "failed to convert typed object to object".into())
}

/// The paths of what is owned as a whole (`findAtomics`).
fn wholes(value: &Value, ty: Maybe<'_>, path: &mut String, found: &mut Vec<String>) {
    if matches!(shape(ty, Some(value)), Shape::AtomicList | Shape::AtomicMap) && (value.is_array() || value.is_object())
    {
        found.push(path.clone());
    }
    let back = path.len();
    match value {
        Value::Object(map) => {
            for (name, below) in map {
                let _ = write!(path, ".{name}");
                // The values of a map are looked at by the type of the map.
                let of = match child(ty, name) {
                    (of, true) => of,
                    _ => ty,
                };
                wholes(below, of, path, found);
                path.truncate(back);
            }
        }
        Value::Array(items) => {
            let of = ty.and_then(crate::schema::Type::elem);
            for (place, item) in items.iter().enumerate() {
                let _ = write!(path, "[{place}]");
                wholes(item, of, path, found);
                path.truncate(back);
            }
        }
        _ => {}
    }
}
