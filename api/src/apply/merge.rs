//! Merging an applied configuration into an object.

use serde_json::{Map, Value};

use super::set::PathElement;
use super::typed::{Maybe, Shape, child, item_element, shape};
use crate::schema::Type;

/// Merges `right` into `left`, which becomes the result. Both are valid by the type.
pub(crate) fn merge(left: &mut Value, right: &Value, ty: Maybe<'_>) {
    match (shape(ty, Some(right)), right) {
        (Shape::Map, Value::Object(r)) => match left {
            Value::Object(l) if !(l.is_empty() && r.is_empty()) => merge_fields(l, r, ty),
            _ => *left = right.clone(),
        },
        (Shape::List(list), Value::Array(r)) => match left {
            Value::Array(l) if !(l.is_empty() && r.is_empty()) => {
                *l = merge_items(std::mem::take(l), r, list);
            }
            _ => *left = right.clone(),
        },
        // A null does not take what is there item by item.
        (Shape::Map | Shape::List(_), Value::Null) if !is_empty(left) => {}
        _ => *left = right.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn merge_fields(left: &mut Map<String, Value>, right: &Map<String, Value>, ty: Maybe<'_>) {
    for (name, value) in right {
        match left.get_mut(name) {
            Some(old) => merge(old, value, child(ty, name).0),
            None => {
                left.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Merges lists: items of `right` in its order, the others of `left` where they were among them.
fn merge_items(left: Vec<Value>, right: &[Value], list: Type<'_>) -> Vec<Value> {
    let elements = |items: &[Value]| -> Vec<Option<PathElement>> {
        items.iter().map(|item| item_element(list, item).ok()).collect()
    };
    let (lefts, rights) = (elements(&left), elements(right));
    let in_left = |e: &Option<PathElement>| e.is_some() && lefts.contains(e);
    let in_right = |e: &Option<PathElement>| e.is_some() && rights.contains(e);
    let mut shared = rights.iter().filter(|e| in_left(e)).peekable();
    let mut merged: Vec<&Option<PathElement>> = Vec::new();
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let mut left: Vec<Option<Value>> = left.into_iter().map(Some).collect();
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() {
            if lefts[l] == rights[r] {
                merged.push(&rights[r]);
                out.push(merge_one(&mut left, &lefts, &rights[r], &right[r], list));
                (l, r) = (l + 1, r + 1);
                shared.next();
                continue;
            }
            if in_right(&lefts[l]) && shared.peek().is_some_and(|next| **next != lefts[l]) {
                // It is shared, but another shared item comes first.
                l += 1;
                continue;
            }
        }
        if l < left.len() {
            if !in_right(&lefts[l]) {
                out.extend(left[l].take());
                l += 1;
                continue;
            }
            if merged.contains(&&lefts[l]) {
                l += 1;
            }
        }
        if r < right.len() {
            merged.push(&rights[r]);
            out.push(merge_one(&mut left, &lefts, &rights[r], &right[r], list));
            if shared.peek().is_some_and(|next| **next == rights[r]) {
                shared.next();
            }
            r += 1;
        }
    }
    out
}

/// An item of the configuration merged with the same item of the object. A repeated item is replaced.
fn merge_one(
    left: &mut [Option<Value>],
    lefts: &[Option<PathElement>],
    element: &Option<PathElement>,
    right: &Value,
    list: Type<'_>,
) -> Value {
    let mut same = lefts.iter().enumerate().filter(|(_, e)| *e == element && e.is_some()).map(|(i, _)| i);
    match (same.next(), same.next()) {
        (Some(only), None) => match left[only].take() {
            Some(mut value) => {
                merge(&mut value, right, list.elem());
                value
            }
            None => right.clone(),
        },
        _ => right.clone(),
    }
}
