//! Strategic merge patch: merges by the patch strategies and merge keys of the schema, with the directives
//! `$patch`, `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…`.

mod lists;

use serde_json::{Map, Value};

use super::{PatchError, go_value, json_kind};
use crate::go::json::{ANY_MAP, cannot_unmarshal};
use crate::schema::{Field, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Merges `patch` into `object`, whose type is `ty`.
///
/// # Errors
/// If the patch is no JSON object, a directive is malformed, or an item lacks its merge key.
pub fn apply(object: &mut Object, patch: Value, ty: Type<'_>) -> Result<(), PatchError> {
    match patch {
        Value::Object(patch) => merge_map(object, patch, Some(ty)),
        Value::Null => Ok(()),
        other => {
            let kind = json_kind(&other);
            Err(PatchError::Malformed(cannot_unmarshal(kind, ANY_MAP)))
        }
    }
}

/// A patch as an error shows it once it is merged: the reference takes directives out of it on its way.
pub fn shown(object: &Object, patch: &Value) -> String {
    let mut patch = patch.clone();
    if let Value::Object(patch) = &mut patch {
        obeyed(object, patch);
    }
    go_value(&patch)
}

fn obeyed(original: &Object, patch: &mut Object) {
    match patch.get(DIRECTIVE).map(|directive| directive == "replace") {
        None => {}
        Some(replaces) => {
            if replaces {
                patch.remove(DIRECTIVE);
            }
            return;
        }
    }
    patch.remove(RETAIN_KEYS);
    for (name, value) in patch.iter_mut() {
        match (original.get(name), value) {
            (Some(Value::Object(below)), Value::Object(patch)) => obeyed(below, patch),
            (Some(Value::Array(_)), Value::Array(_)) => {}
            // What is new goes in without nulls.
            (_, value) => {
                discard_nulls(value);
                remove_directives(value);
            }
        }
    }
}

/// How one field of a map is merged.
#[derive(Clone, Copy, Default)]
struct Merging<'a> {
    /// The type of the field, or of the items of a list.
    ty: Option<Type<'a>>,
    merge: bool,
    replace: bool,
    key: &'a str,
}

impl<'a> Merging<'a> {
    fn of(ty: Option<Type<'a>>, name: &str) -> Self {
        let field: Option<Field<'a>> = ty.and_then(|ty| ty.field(name));
        let strategies = field.map(Field::patch_strategies).unwrap_or_default();
        Self {
            ty: ty.and_then(|ty| ty.child(name)),
            merge: strategies.merge,
            replace: strategies.replace,
            key: field.and_then(Field::patch_merge_key).unwrap_or(""),
        }
    }

    fn of_items(self) -> Self {
        Self { ty: self.ty.and_then(Type::elem), ..self }
    }
}

fn unclassified<T>(message: String) -> Result<T, PatchError> {
    Err(PatchError::Unclassified(message))
}

fn no_merge_key<T>(map: &Object, key: &str) -> Result<T, PatchError> {
    let map = go_value(&Value::Object(map.clone()));
    unclassified(format!("map: {map} does not contain declared merge key: {key}"))
}

fn unknown_directive<T>(directive: &Value, map: &Object) -> Result<T, PatchError> {
    let map = go_value(&Value::Object(map.clone()));
    let shown = match directive {
        Value::String(text) => text.clone(),
        other => format!("%!s({}={})", lists::go_type(other), go_value(other)),
    };
    unclassified(format!("unknown patch type: {shown} in map: {map}"))
}

fn bad_retain_keys() -> PatchError {
    PatchError::Malformed("invalid patch format of retainKeys".into())
}

fn merge_map(original: &mut Object, mut patch: Object, ty: Option<Type<'_>>) -> Result<(), PatchError> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(Value::String(directive)) if directive == "replace" => {
            patch.remove(DIRECTIVE);
            *original = patch;
            return Ok(());
        }
        Some(Value::String(directive)) if directive == "delete" => {
            original.clear();
            return Ok(());
        }
        Some(other) => return unknown_directive(other, &patch),
    }
    retain_keys(original, &mut patch)?;
    lists::set_element_orders(original, &mut patch, ty)?;
    for (key, value) in patch {
        merge_field(original, &key, value, ty)?;
    }
    Ok(())
}

fn merge_field(original: &mut Object, key: &str, value: Value, ty: Option<Type<'_>>) -> Result<(), PatchError> {
    let (key, deletes) = match key.strip_prefix(DELETE_FROM_LIST) {
        Some(list) => (list, true),
        None if key.starts_with(DELETE_FROM_LIST.trim_end_matches('/')) => {
            return Err(PatchError::Malformed("invalid patch format of primitive list".into()));
        }
        None => (key, false),
    };
    if value.is_null() {
        original.remove(key);
        return Ok(());
    }
    match (original.get_mut(key), value) {
        (Some(Value::Object(below)), Value::Object(patch)) => {
            let merging = Merging::of(ty, key);
            if merging.replace {
                *below = patch;
                return Ok(());
            }
            merge_map(below, patch, merging.ty)
        }
        (Some(Value::Array(items)), Value::Array(patch)) => {
            let merging = Merging::of(ty, key).of_items();
            if merging.merge || deletes {
                *items = lists::merge_list(std::mem::take(items), patch, merging, deletes)?;
            } else {
                *items = patch;
            }
            Ok(())
        }
        (_, _) if deletes => Ok(()),
        (_, mut value) => {
            discard_nulls(&mut value);
            if remove_directives(&mut value) {
                original.insert(key.to_string(), value);
            } else {
                original.remove(key);
            }
            Ok(())
        }
    }
}

/// Clears what the patch's `$retainKeys` does not list.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let Some(list) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(list) = list else { return Err(bad_retain_keys()) };
    let listed: std::collections::HashSet<&str> = list.iter().filter_map(Value::as_str).collect();
    let kept = |name: &str| listed.contains(name);
    let directive = |name: &str| name.starts_with("$deleteFromPrimitiveList") || name.starts_with("$setElementOrder");
    if patch.iter().any(|(name, value)| !value.is_null() && !directive(name) && !kept(name)) {
        return Err(bad_retain_keys());
    }
    original.retain(|name, _| kept(name));
    Ok(())
}

/// Removes nulls from maps at any depth.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// Removes maps that carry a `$patch` directive; whether the value itself stays.
fn remove_directives(value: &mut Value) -> bool {
    match value {
        Value::Object(map) => {
            if map.contains_key(DIRECTIVE) {
                return false;
            }
            map.retain(|_, v| remove_directives(v));
            true
        }
        Value::Array(items) => {
            items.retain_mut(remove_directives);
            true
        }
        _ => true,
    }
}

#[cfg(test)]
#[path = "strategic/tests.rs"]
mod tests;
