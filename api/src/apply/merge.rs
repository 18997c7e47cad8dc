//! Merging an applied configuration into an object.

use std::collections::{BTreeMap, BTreeSet};

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
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let mut left = Left::new(left, &lefts);
    let known: BTreeSet<&PathElement> = rights.iter().flatten().collect();
    let in_right = |e: &Option<PathElement>| e.as_ref().is_some_and(|e| known.contains(e));
    let shared: Vec<&Option<PathElement>> = rights.iter().filter(|e| left.has(e)).collect();
    let mut shared = shared.into_iter().peekable();
    let mut merged: BTreeSet<&PathElement> = BTreeSet::new();
    let (mut l, mut r) = (0, 0);
    while l < lefts.len() || r < right.len() {
        if l < lefts.len() && r < right.len() {
            if lefts[l] == rights[r] {
                merged.extend(&rights[r]);
                out.push(left.merged_with(&rights[r], &right[r], list));
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
        if l < lefts.len() {
            if !in_right(&lefts[l]) {
                out.extend(left.items[l].take());
                l += 1;
                continue;
            }
            if lefts[l].as_ref().is_some_and(|element| merged.contains(element)) {
                l += 1;
            }
        }
        if r < right.len() {
            merged.extend(&rights[r]);
            out.push(left.merged_with(&rights[r], &right[r], list));
            if shared.peek().is_some_and(|next| **next == rights[r]) {
                shared.next();
            }
            r += 1;
        }
    }
    out
}

/// The items of the object's list, found by their elements.
struct Left<'e> {
    items: Vec<Option<Value>>,
    /// Where each element is, if it is there once; repeated ones are nowhere.
    places: BTreeMap<&'e PathElement, Option<usize>>,
}

impl<'e> Left<'e> {
    fn new(items: Vec<Value>, elements: &'e [Option<PathElement>]) -> Self {
        let mut places = BTreeMap::new();
        for (place, element) in elements.iter().enumerate() {
            let Some(element) = element else { continue };
            places.entry(element).and_modify(|found| *found = None).or_insert(Some(place));
        }
        Self { items: items.into_iter().map(Some).collect(), places }
    }

    fn has(&self, element: &Option<PathElement>) -> bool {
        element.as_ref().is_some_and(|element| self.places.contains_key(element))
    }

    /// An item of the configuration merged with the same item of the object. A repeated item is replaced.
    fn merged_with(&mut self, element: &Option<PathElement>, right: &Value, list: Type<'_>) -> Value {
        let place = element.as_ref().and_then(|element| *self.places.get(element)?);
        match place.and_then(|place| self.items[place].take()) {
            Some(mut value) => {
                merge(&mut value, right, list.elem());
                value
            }
            None => right.clone(),
        }
    }
}
