//! Lists in a strategic merge patch: merged by key or as sets, and ordered by `$setElementOrder`, then by the
//! patch, then as they were.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    DIRECTIVE, Merging, Object, PatchError, SET_ELEMENT_ORDER, go_value, merge_map, no_merge_key, remove_directives,
    unclassified, unknown_directive,
};
use crate::schema::Type;

fn bad_order() -> PatchError {
    PatchError::Malformed("invalid patch format of setElementOrder list".into())
}

/// The Go type of a decoded JSON value.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn wrong_type<T>(expected: &str, actual: &Value) -> Result<T, PatchError> {
    unclassified(format!("expected a {expected}, but received a {}", go_type(actual)))
}

fn list(value: Option<Value>) -> Result<Option<Vec<Value>>, PatchError> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(other) => wrong_type("[]interface {}", &other),
    }
}

/// Merges and orders the lists for which the patch has an order.
pub(super) fn set_element_orders(
    original: &mut Object,
    patch: &mut Object,
    ty: Option<Type<'_>>,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|k| k.starts_with("$setElementOrder")).cloned().collect();
    for directive in directives {
        let order = list(patch.remove(&directive))?.unwrap_or_default();
        let name = directive.strip_prefix(SET_ELEMENT_ORDER).ok_or_else(bad_order)?;
        let live = list(original.get(name).cloned())?;
        let patched = list(patch.get(name).cloned())?;
        if let Some(struct_name) = ty.filter(|ty| ty.child(name).is_none()).and_then(Type::name) {
            let struct_name = struct_name.rsplit('.').next().unwrap_or(struct_name);
            return unclassified(format!(
                "unable to find api field in struct {struct_name} for the json field {name:?}"
            ));
        }
        let merging = Merging::of(ty, name).of_items();
        check_order(patched.as_deref().unwrap_or(&[]), &order, merging.key)?;
        let merged = match (&live, patched) {
            (None, None) => continue,
            (Some(live), None) => live.clone(),
            (None, Some(patched)) => {
                let mut patched = Value::Array(patched);
                remove_directives(&mut patched);
                list(Some(patched))?.unwrap_or_default()
            }
            (Some(live), Some(patched)) if merging.merge => merge_list(live.clone(), patched, merging, false)?,
            (Some(_), Some(patched)) => patched,
        };
        let ordered = ordered(merged, &order, live.as_deref().unwrap_or(&[]), merging.key)?;
        original.insert(name.to_string(), Value::Array(ordered));
        patch.remove(name);
    }
    Ok(())
}

/// What identifies an item: its merge key's value, or the scalar itself.
fn identity<'v>(item: &'v Value, key: &str) -> Option<&'v Value> {
    if key.is_empty() { Some(item) } else { item.get(key) }
}

/// Where each identity stands first in a list.
fn places<'v>(list: &'v [Value], key: &str) -> HashMap<&'v Value, usize> {
    let mut places = HashMap::with_capacity(list.len());
    for (place, item) in list.iter().enumerate() {
        if let Some(identity) = identity(item, key) {
            places.entry(identity).or_insert(place);
        }
    }
    places
}

fn is_deletion(item: &Value) -> bool {
    item.get(DIRECTIVE).and_then(Value::as_str) == Some("delete")
}

/// The patch's items must come in the order's order.
fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<(), PatchError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut orders = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let wanted = keyed(item, key)?;
        loop {
            let Some(next) = orders.next() else {
                let (patch, order) = (go_value(&patch.to_vec().into()), go_value(&order.to_vec().into()));
                return unclassified(format!(
                    "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
                ));
            };
            if keyed(next, key)? == wanted {
                break;
            }
        }
    }
    Ok(())
}

fn keyed<'v>(item: &'v Value, key: &str) -> Result<&'v Value, PatchError> {
    match (item, identity(item, key)) {
        (_, Some(value)) => Ok(value),
        (Value::Object(map), None) => no_merge_key(map, key),
        (other, None) => wrong_type("map[string]interface {}", other),
    }
}

fn check_types(original: &[Value], patch: &[Value]) -> Result<(), PatchError> {
    let mut items = original.iter().chain(patch);
    let Some(first) = items.next() else { return Ok(()) };
    if first.is_array() {
        return Err(PatchError::DoesNotApply("lists of lists are not supported".into()));
    }
    if items.all(|item| go_type(item) == go_type(first)) {
        return Ok(());
    }
    let (original, patch) = (go_value(&original.to_vec().into()), go_value(&patch.to_vec().into()));
    unclassified(format!("list element types are not identical: [{original} {patch}]"))
}

/// Merges a list of a patch into a list of the object.
pub(super) fn merge_list(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    merging: Merging<'_>,
    deletes: bool,
) -> Result<Vec<Value>, PatchError> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    check_types(&original, &patch)?;
    let of_maps = original.iter().chain(&patch).next().is_some_and(Value::is_object);
    if !of_maps {
        if deletes {
            let deleted: HashSet<&Value> = patch.iter().collect();
            original.retain(|item| !deleted.contains(item));
            return Ok(original);
        }
        let mut seen = HashSet::with_capacity(original.len() + patch.len());
        let merged = original.iter().chain(&patch).filter(|item| seen.insert(*item)).cloned().collect();
        return ordered(merged, &patch, &original, "");
    }
    if merging.key.is_empty() {
        let name = merging.ty.and_then(Type::name).unwrap_or("");
        return unclassified(format!("cannot merge lists without merge key for {name}"));
    }
    let patch = special_items(&mut original, patch, merging.key)?;
    let live = original.clone();
    let mut places = places(&live, merging.key);
    for item in &patch {
        let wanted = keyed(item, merging.key)?;
        let found = places.get(wanted).map(|place| &mut original[*place]);
        match (found, item) {
            (Some(Value::Object(live)), Value::Object(item)) => merge_map(live, item.clone(), merging.ty)?,
            _ => {
                places.entry(wanted).or_insert(original.len());
                original.push(item.clone());
            }
        }
    }
    ordered(original, &patch, &live, merging.key)
}

/// Obeys the items that carry a `$patch` directive, and gives the rest.
fn special_items(original: &mut Vec<Value>, patch: Vec<Value>, key: &str) -> Result<Vec<Value>, PatchError> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    let mut deleted = HashSet::new();
    for item in patch {
        let Value::Object(map) = &item else { continue };
        match map.get(DIRECTIVE) {
            None => rest.push(item),
            Some(Value::String(directive)) => match directive.as_str() {
                "delete" => match map.get(key) {
                    Some(wanted) => _ = deleted.insert(wanted.clone()),
                    None => return no_merge_key(map, key),
                },
                "replace" => replace = true,
                "merge" => return unclassified("merging lists cannot yet be specified in the patch".into()),
                _ => return unknown_directive(&map[DIRECTIVE], map),
            },
            Some(other) => return unknown_directive(other, map),
        }
    }
    if !deleted.is_empty() {
        original.retain(|item| item.get(key).is_none_or(|value| !deleted.contains(value)));
    }
    if replace {
        *original = rest;
        return Ok(Vec::new());
    }
    Ok(rest)
}

/// Orders a merged list: items in `order` as there, the others as they were in `live`, woven together by `live`.
fn ordered(merged: Vec<Value>, order: &[Value], live: &[Value], key: &str) -> Result<Vec<Value>, PatchError> {
    if !key.is_empty() {
        for item in merged.iter().chain(order).chain(live) {
            keyed(item, key)?;
        }
    }
    let (in_order, in_live) = (places(order, key), places(live, key));
    let placed = merged.into_iter().map(|item| {
        let find = |places: &HashMap<&Value, usize>| places.get(identity(&item, key)?).copied();
        (find(&in_order), find(&in_live), item)
    });
    let (mut ours, mut theirs): (Vec<Placed>, Vec<Placed>) = placed.partition(|(order, ..)| order.is_some());
    ours.sort_by_key(|(order, ..)| *order);
    theirs.sort_by_key(|(_, live, _)| live.unwrap_or(usize::MAX));
    ours.sort_by_key(|(.., item)| is_deletion(item));
    theirs.sort_by_key(|(.., item)| is_deletion(item));
    let mut out = Vec::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
    loop {
        let before = match (theirs.peek(), ours.peek()) {
            (None, None) => return Ok(out),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((_, left, _)), Some((_, right, _))) => left.zip(*right).is_some_and(|(left, right)| left < right),
        };
        out.extend(if before { theirs.next() } else { ours.next() }.map(|(.., item)| item));
    }
}

/// An item with its places in the order and in the object's list.
type Placed = (Option<usize>, Option<usize>, Value);
