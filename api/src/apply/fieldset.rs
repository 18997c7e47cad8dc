//! The set of fields that a value has, and values without some fields.

use serde_json::{Map, Value};

use super::set::{Node, PathElement, Set};
use super::typed::{Maybe, Shape, child, item_element, shape};
use crate::schema::Type;

/// The fields of an object, as an applied configuration owns them.
pub(crate) fn field_set(value: &Value, ty: Maybe<'_>) -> Set {
    visit(value, ty).1
}

/// Whether the value itself is owned, and what is below it.
fn visit(value: &Value, ty: Maybe<'_>) -> (bool, Set) {
    match (shape(ty, Some(value)), value) {
        (Shape::Scalar | Shape::AtomicList | Shape::AtomicMap, _) => (true, Set::default()),
        (Shape::List(list), Value::Array(items)) => (false, of_items(items, list)),
        (Shape::Map, Value::Object(map)) => {
            let mut set = Set::default();
            for (name, value) in map {
                let (below, declared) = child(ty, name);
                let (mut member, below) = visit(value, below);
                member |= value.is_null() || value.as_object().is_some_and(Map::is_empty) || !declared;
                set.push(&PathElement::field(name), member, below);
            }
            (false, set)
        }
        _ => (false, Set::default()),
    }
}

fn of_items(items: &[Value], list: Type<'_>) -> Set {
    let found = items.iter().filter_map(|item| Some((item_element(list, item).ok()?, item)));
    let mut found: Vec<(PathElement, &Value)> = found.collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut set = Set { nodes: Vec::with_capacity(found.len()) };
    for (element, item) in found {
        match set.nodes.last_mut().filter(|last| last.element.cmp(&element).is_eq()) {
            // A repeated item is owned as a whole.
            Some(last) => last.below = Set::default(),
            None => set.nodes.push(Node { element, member: true, below: visit(item, list.elem()).1 }),
        }
    }
    set
}

/// The set with every field that a struct declares made a member, if anything below it is in the set.
pub(crate) fn with_declared(set: &Set, ty: Maybe<'_>) -> Set {
    let nodes = set.nodes.iter().map(|node| {
        let (below, declared) = match &node.element {
            PathElement::Field(name) => child(ty, name),
            _ => (ty.and_then(Type::elem), false),
        };
        let member = node.member || (declared && !node.below.is_empty());
        Node { element: node.element.clone(), member, below: with_declared(&node.below, below) }
    });
    Set { nodes: nodes.collect() }
}

/// Removes the fields of a set from a value; a map or list that loses all its items stays, empty.
pub(crate) fn remove_items(value: &mut Value, remove: &Set, ty: Maybe<'_>) {
    match (shape(ty, Some(value)), value) {
        (Shape::List(list), Value::Array(items)) => items.retain_mut(|item| {
            let Ok(element) = item_element(list, item) else { return true };
            match remove.get(&element) {
                Some(node) if node.member => false,
                Some(node) => {
                    remove_items(item, &node.below, list.elem());
                    true
                }
                None => true,
            }
        }),
        (Shape::Map, Value::Object(map)) => {
            for node in &remove.nodes {
                let PathElement::Field(name) = &node.element else { continue };
                if node.member {
                    map.remove(&**name);
                } else if let Some(value) = map.get_mut(&**name) {
                    remove_items(value, &node.below, child(ty, name).0);
                }
            }
        }
        _ => {}
    }
}
