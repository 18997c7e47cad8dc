//! What Go's JSON encoder prints of a struct: which fields are always there and which go when they are empty.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::Object;
use crate::schema::{Field, Kind, Schema, Type};

/// Brings an object that was changed in place (by defaults, admission, a strategy) into the shape in which the
/// reference would print it. Does nothing a second time.
pub fn normalise(schema: &Schema, object: &mut Object) {
    struct_shape(schema.root(), &mut object.0);
}

/// Brings the metadata of a custom object into that shape, and leaves the rest alone.
pub fn normalise_metadata(schema: &Schema, object: &mut Object) {
    if let (Some(field), Some(metadata)) = (schema.root().field("metadata"), object.0.get_mut("metadata")) {
        value_shape(field.ty(), metadata);
    }
}

/// The value that Go prints of a field that was never set; none if it prints nothing.
pub fn zero_value(field: Field<'_>) -> Option<Value> {
    let ty = field.ty();
    if !field.pointer() && ty.kind().is_go_struct() {
        return (!field.omit_zero()).then(|| zero(ty));
    }
    if field.omit_empty() {
        return None;
    }
    Some(if field.pointer() { Value::Null } else { zero(ty) })
}

/// Whether a value given for a field vanishes when Go prints it.
pub(crate) fn is_omitted(field: Field<'_>, value: &Value) -> bool {
    if field.pointer() {
        return false;
    }
    let kind = field.ty().kind();
    if kind.is_go_struct() {
        return field.omit_zero() && *value == zero(field.ty());
    }
    field.omit_empty() && is_empty(value)
}

/// Takes empty lists away where the reference leaves them out, and makes null of those that it always prints: they come
/// back from the store as nothing. `encoded` is the object's JSON, which tells fast that there are none. Whether
/// anything changed.
pub fn forget_empty_lists(schema: &Schema, object: &mut Object, encoded: &[u8]) -> bool {
    memchr::memmem::find(encoded, b":[]").is_some() && forget_in(schema.root(), &mut object.0, Forget::Everywhere)
}

/// The object without the empty lists that the reference leaves out when it prints them. Validation and defaults see
/// them, as they tell an empty list from none; what is compared and owned has none.
pub fn without_empty_lists<'o>(schema: &Schema, object: &'o Object) -> Cow<'o, Object> {
    if !object.0.values().any(has_empty_list) {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    forget_in(schema.root(), &mut object.0, Forget::WhereOmitted);
    Cow::Owned(object)
}

fn has_empty_list(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty() || items.iter().any(has_empty_list),
        Value::Object(map) => map.values().any(has_empty_list),
        _ => false,
    }
}

/// Which empty lists go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forget {
    /// Those that are left out when they are printed.
    WhereOmitted,
    /// All; those that are always printed become null.
    Everywhere,
}

fn forget_in(ty: Type<'_>, map: &mut Map<String, Value>, which: Forget) -> bool {
    let mut changed = false;
    map.retain(|name, value| {
        let Some(field) = ty.field(name) else { return true };
        match value {
            // An empty list that is raw JSON is what its owner wrote.
            Value::Array(items) if items.is_empty() && !field.pointer() && field.ty().kind() == Kind::List => {
                let goes = field.omit_empty();
                if goes || which == Forget::Everywhere {
                    *value = Value::Null;
                    changed = true;
                }
                !goes
            }
            value => {
                changed |= forget_below(field.ty(), value, which);
                true
            }
        }
    });
    changed
}

fn forget_below(ty: Type<'_>, value: &mut Value, which: Forget) -> bool {
    match (ty.kind(), value) {
        (Kind::Struct, Value::Object(map)) => forget_in(ty, map, which),
        (Kind::List, Value::Array(items)) => match ty.elem() {
            Some(elem) => forget_each(elem, items.iter_mut(), which),
            None => false,
        },
        (Kind::Map, Value::Object(map)) => match ty.elem() {
            Some(elem) => forget_each(elem, map.values_mut(), which),
            None => false,
        },
        _ => false,
    }
}

fn forget_each<'v>(elem: Type<'_>, values: impl Iterator<Item = &'v mut Value>, which: Forget) -> bool {
    let mut changed = false;
    for value in values {
        changed |= forget_below(elem, value, which);
    }
    changed
}

/// What becomes of a map or struct that is given twice: maps take the later entries in, structs do so field by field.
pub(crate) fn overlay(ty: Type<'_>, before: Value, after: Option<Value>) -> Value {
    let Value::Object(mut map) = before else { return before };
    let Some(Value::Object(after)) = after else { return Value::Object(map) };
    for (name, value) in after {
        let below = if ty.kind() == Kind::Struct { ty.child(&name) } else { None };
        let merged = match (below, map.remove(&name)) {
            (Some(below), Some(old)) if old.is_object() && value.is_object() => overlay(below, old, Some(value)),
            _ => value,
        };
        map.insert(name, merged);
    }
    Value::Object(map)
}

/// Adds the fields that are always printed and removes those that are not.
pub(crate) fn fields_shape(ty: Type<'_>, map: &mut Map<String, Value>) {
    for field in ty.always_printed() {
        if !map.contains_key(field.name())
            && let Some(value) = zero_value(field)
        {
            map.insert(field.name().to_string(), value);
        }
    }
}

fn struct_shape(ty: Type<'_>, map: &mut Map<String, Value>) {
    map.retain(|name, value| {
        let Some(field) = ty.field(name) else {
            if let Some(elem) = ty.additional() {
                value_shape(elem, value);
            }
            return true;
        };
        if value.is_null() {
            return !field.omit_empty();
        }
        value_shape(field.ty(), value);
        !is_omitted(field, value)
    });
    fields_shape(ty, map);
}

fn value_shape(ty: Type<'_>, value: &mut Value) {
    match (ty.kind(), value) {
        (Kind::Struct, Value::Object(map)) => struct_shape(ty, map),
        (Kind::List, Value::Array(items)) => {
            if let Some(elem) = ty.elem() {
                items.iter_mut().for_each(|item| value_shape(elem, item));
            }
        }
        (Kind::Map, Value::Object(map)) => {
            if let Some(elem) = ty.elem() {
                map.values_mut().for_each(|item| value_shape(elem, item));
            }
        }
        _ => {}
    }
}

/// The zero value of a type.
pub(crate) fn zero(ty: Type<'_>) -> Value {
    match ty.kind() {
        Kind::Struct => {
            let mut map = Map::new();
            fields_shape(ty, &mut map);
            Value::Object(map)
        }
        Kind::String => Value::from(""),
        Kind::Boolean => Value::from(false),
        Kind::Int32 | Kind::Int64 | Kind::Double | Kind::IntOrString => Value::from(0),
        Kind::Quantity => Value::from("0"),
        Kind::Duration => Value::from("0s"),
        _ => Value::Null,
    }
}

/// The zero value of a type in a list or map. Bytes that are nothing come back from the store as none.
pub(crate) fn zero_item(ty: Type<'_>) -> Value {
    if ty.kind() == Kind::Bytes { Value::from("") } else { zero(ty) }
}

/// Whether a value is the zero of its type, which for Go's values (not its pointers) means that it was never set.
pub(crate) fn is_zero(ty: Type<'_>, value: &Value) -> bool {
    if ty.kind().is_go_struct() { *value == zero(ty) } else { is_empty(value) }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
