//! Defaults: what the API server adds to an object that leaves a field out.
//!
//! Most are data: the schema states some, `data/overlay/defaults.txt` the rest, and both apply wherever a walk by the schema
//! meets the definition. The few that depend on other fields are functions in [`rules`]. A custom resource's defaults
//! are in its schema and applied by the same walk. All of it is idempotent and also applies to stored objects.

mod images;
mod resources;
mod rules;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::Object;
use crate::decode::{fields_shape, is_zero};
use crate::schema::{Kind, Schema, Type};

/// Sets the defaults of an object in the version that the schema is of.
///
/// Nothing here knows the time: `timeAdded` of a device's taint, which `SetDefaults_DeviceTaint` sets too, is left to the strategy.
pub fn apply(schema: &Schema, object: &mut Object) {
    of_struct(schema.root(), &mut object.0, Nulls::Dropped);
}

/// As [`apply`], but nulls that have no default stay in custom resources.
pub fn apply_and_keep_nulls(schema: &Schema, object: &mut Object) {
    of_struct(schema.root(), &mut object.0, Nulls::Kept);
}

/// Drops the nulls of a custom object that may not be and have no default (`PruneNonNullableNullsWithoutDefaults`).
pub fn drop_nulls(schema: &Schema, object: &mut Object) {
    without_nulls(schema.root(), &mut object.0);
}

/// What becomes of a custom resource's nulls that may not be and have no default.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Dropped,
    Kept,
}

fn of_struct(ty: Type<'_>, map: &mut Map<String, Value>, nulls: Nulls) {
    let Some(name) = ty.name() else { return of_custom(ty, map, nulls) };
    fields_shape(ty, map);
    for (field, default) in ty.unconditional_defaults() {
        let unset = match map.get(field.name()) {
            None | Some(Value::Null) => true,
            Some(value) => !field.pointer() && is_zero(field.ty(), value),
        };
        if unset {
            map.insert(field.name().to_string(), default.clone());
        }
    }
    rules::apply(name, map);
    // As `DropDisabledPodFields` and its kin do.
    for field in ty.disabled() {
        map.remove(*field);
    }
    if name == "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" {
        return;
    }
    for (name, value) in map.iter_mut() {
        if matches!(value, Value::Object(_) | Value::Array(_))
            && let Some(field) = ty.field(name)
        {
            below(field.ty(), value, nulls);
        }
    }
}

fn below(ty: Type<'_>, value: &mut Value, nulls: Nulls) {
    match (ty.kind(), value) {
        (Kind::Struct, Value::Object(map)) => of_struct(ty, map, nulls),
        (Kind::List, Value::Array(items)) => {
            let Some(elem) = ty.elem() else { return };
            items.iter_mut().for_each(|item| below(elem, item, nulls));
        }
        (Kind::Map, Value::Object(map)) => {
            let Some(elem) = ty.elem() else { return };
            if nulls == Nulls::Dropped {
                map.retain(|name, item| !(item.is_null() && loses_null(ty, name)));
            }
            map.values_mut().for_each(|item| below(elem, item, nulls));
        }
        _ => {}
    }
}

/// A place in a custom resource's schema (`structural/defaulting.Default`, and the pruning of nulls after it).
fn of_custom(ty: Type<'_>, map: &mut Map<String, Value>, nulls: Nulls) {
    for field in ty.fields() {
        let nullable = field.ty().rules().is_some_and(|rules| rules.nullable);
        let unset = match map.get(field.name()) {
            None => true,
            Some(value) => value.is_null() && !nullable,
        };
        if !unset {
            continue;
        }
        if let Some(value) = field.default() {
            map.insert(field.name().to_string(), value);
        }
    }
    if nulls == Nulls::Dropped {
        map.retain(|name, value| !(value.is_null() && loses_null(ty, name)));
    }
    for (name, value) in map.iter_mut() {
        // Metadata of custom objects has no defaults.
        if let Some(child) = ty.child(name).filter(|child| child.name().is_none()) {
            below(child, value, nulls);
        }
    }
}

/// Whether a null of that name may not be in a custom resource, and has no default that takes its place.
fn loses_null(ty: Type<'_>, name: &str) -> bool {
    match ty.field(name) {
        Some(field) => !field.ty().rules().is_some_and(|rules| rules.nullable) && field.default().is_none(),
        None => ty.child(name).and_then(Type::rules).is_some_and(|rules| !rules.nullable),
    }
}

fn without_nulls(ty: Type<'_>, map: &mut Map<String, Value>) {
    map.retain(|name, value| !(value.is_null() && loses_null(ty, name)));
    for (name, value) in map.iter_mut() {
        if let Some(child) = ty.child(name).filter(|child| child.name().is_none()) {
            nulls_below(child, value);
        }
    }
}

fn nulls_below(ty: Type<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => without_nulls(ty, map),
        Value::Array(items) => {
            let Some(elem) = ty.elem() else { return };
            items.iter_mut().for_each(|item| nulls_below(elem, item));
        }
        _ => {}
    }
}
