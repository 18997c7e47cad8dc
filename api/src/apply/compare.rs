//! The difference between two values by their type.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::set::{Node, PathElement, Set};
use super::typed::{Absent, Maybe, Shape, absent, child, is_zero, item_element, shape};
use crate::schema::Type;

/// The fields in which two values differ; no path is in two of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Difference {
    pub(crate) added: Set,
    pub(crate) removed: Set,
    pub(crate) modified: Set,
    /// Whether a list has an item that nothing tells apart, so that the reference cannot compare at all.
    pub(crate) untyped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Added,
    Removed,
    Modified,
}

impl Difference {
    /// Adds an element that comes after all others.
    fn push(&mut self, element: PathElement, change: Change, below: Self) {
        let changes = [Change::Added, Change::Removed, Change::Modified].map(|one| change == one);
        self.push_as(element, changes, below);
    }

    /// As [`Self::push`]; whether the element itself is added, removed and modified.
    fn push_as(&mut self, element: PathElement, [added, removed, modified]: [bool; 3], below: Self) {
        self.untyped |= below.untyped;
        let parts = [
            (&mut self.added, added, below.added),
            (&mut self.removed, removed, below.removed),
            (&mut self.modified, modified, below.modified),
        ];
        let mut parts = parts.into_iter().filter(|(_, member, below)| *member || !below.is_empty()).peekable();
        // Nearly always it goes into one of them.
        while let Some((set, member, below)) = parts.next() {
            if parts.peek().is_none() {
                set.nodes.push(Node { element, member, below });
                return;
            }
            set.nodes.push(Node { element: element.clone(), member, below });
        }
    }

    fn sort(&mut self) {
        self.added.sort();
        self.removed.sort();
        self.modified.sort();
    }

    /// Without some fields and all below them.
    pub(crate) fn without(mut self, fields: &Set) -> Self {
        self.added.subtract_recursively(fields);
        self.removed.subtract_recursively(fields);
        self.modified.subtract_recursively(fields);
        self
    }
}

type Fields = Map<String, Value>;

/// Compares two objects but for their managed fields; an absent one is the empty object of the type.
pub(crate) fn compare(left: Option<&Fields>, right: Option<&Fields>, ty: Maybe<'_>) -> Difference {
    let mut out = Difference::default();
    let empty = Value::Object(Map::new());
    if !matches!(shape(ty, Some(&empty)), Shape::Map) {
        return out;
    }
    let empty = Map::new();
    for (name, l, r) in pairs(Some(left.unwrap_or(&empty)), Some(right.unwrap_or(&empty))) {
        match (name, l, r) {
            ("metadata", Some(Value::Object(l)), Some(Value::Object(r))) => {
                let ty = child(ty, name).0;
                let mut below = Difference::default();
                for (name, l, r) in pairs(Some(l), Some(r)).filter(|(name, ..)| *name != "managedFields") {
                    field(name, l, r, ty, true, &mut below);
                }
                out.push(PathElement::field(name), Change::None, below);
            }
            _ => field(name, l, r, ty, true, &mut out),
        }
    }
    out
}

fn visit(left: Option<&Value>, right: Option<&Value>, ty: Maybe<'_>) -> (Change, Difference) {
    let (of_left, of_right) = (shape(ty, left), shape(ty, right));
    let of_both = if right.is_none_or(Value::is_null) { of_left } else { of_right };
    match of_both {
        Shape::Map => {
            let (l, r) = (map(left), map(right));
            if l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty) {
                return (leaf(left, right), Difference::default());
            }
            let change = if differs_in_kind(left, right) { Change::Modified } else { presence(left, right) };
            (change, fields(l, r, ty))
        }
        Shape::List(list) => {
            let (l, r) = (items(left), items(right));
            if l.is_empty() && r.is_empty() {
                return (leaf(left, right), Difference::default());
            }
            (presence(left, right), list_items(l, r, list))
        }
        Shape::Scalar | Shape::AtomicList | Shape::AtomicMap => {
            let mut below = Difference::default();
            // Without a schema a map may become a scalar: its fields are gone.
            if let (Shape::Map, Some(Value::Object(l))) = (of_left, left) {
                below = fields(Some(l), None, ty);
            }
            (leaf(left, right), below)
        }
    }
}

fn differs_in_kind(left: Option<&Value>, right: Option<&Value>) -> bool {
    let scalar = |v: Option<&Value>| v.is_some_and(|v| !v.is_object() && !v.is_null());
    (scalar(left) && right.is_some()) || (scalar(right) && left.is_some())
}

fn map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn presence(left: Option<&Value>, right: Option<&Value>) -> Change {
    match (left, right) {
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        _ => Change::None,
    }
}

fn leaf(left: Option<&Value>, right: Option<&Value>) -> Change {
    match (left, right) {
        (Some(l), Some(r)) if l != r => Change::Modified,
        _ => presence(left, right),
    }
}

fn fields(left: Option<&Fields>, right: Option<&Fields>, ty: Maybe<'_>) -> Difference {
    let mut out = Difference::default();
    if left.is_none_or(Map::is_empty) {
        out.added.nodes.reserve_exact(right.map_or(0, Map::len));
    }
    // Below what is absent nothing is shown, so nothing is present without being written.
    let both = left.is_some() && right.is_some();
    for (name, l, r) in pairs(left, right) {
        field(name, l, r, ty, both, &mut out);
    }
    out
}

type Pair<'a> = (&'a str, Option<&'a Value>, Option<&'a Value>);

/// The fields of two maps in order of name.
fn pairs<'a>(left: Option<&'a Fields>, right: Option<&'a Fields>) -> impl Iterator<Item = Pair<'a>> {
    let mut left = left.into_iter().flatten().peekable();
    let mut right = right.into_iter().flatten().peekable();
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return None,
            (Some((l, _)), Some((r, _))) => l.cmp(r),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        let l = if order.is_le() { left.next() } else { None };
        let r = if order.is_ge() { right.next() } else { None };
        let name = l.or(r).map(|(name, _)| name.as_str())?;
        Some((name, l.map(|(_, value)| value), r.map(|(_, value)| value)))
    })
}

fn field(name: &str, left: Option<&Value>, right: Option<&Value>, ty: Maybe<'_>, both: bool, out: &mut Difference) {
    let below = child(ty, name).0;
    // Equal leaves are by far the most common; whole equal trees need no walk either.
    if left == right {
        return;
    }
    let empty = Value::Object(Map::new());
    let (mut left, mut right) = (left, right);
    if both && (left.is_none() || right.is_none()) {
        let other = left.or(right).expect("one side has the field");
        match absent(ty, name) {
            Absent::Missing => {}
            Absent::EmptyMap => {
                left = left.or(Some(&empty));
                right = right.or(Some(&empty));
            }
            Absent::Zero if is_zero(other) => return,
            Absent::Zero => {
                left = left.or(Some(&Value::Null));
                right = right.or(Some(&Value::Null));
            }
        }
    }
    let (change, difference) = visit(left, right, below);
    out.push(PathElement::field(name), change, difference);
}

/// Compares lists whose items are told apart; repeated items count as one that is owned as a whole.
fn list_items(left: &[Value], right: &[Value], list: Type<'_>) -> Difference {
    let mut untyped = false;
    let mut found = Vec::with_capacity(left.len() + right.len());
    for (item, is_right) in left.iter().map(|i| (i, false)).chain(right.iter().map(|i| (i, true))) {
        match item_element(list, item) {
            Ok(element) => found.push((element, item, is_right)),
            Err(_) => untyped = true,
        }
    }
    found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let mut all: Vec<(PathElement, Vec<&Value>, Vec<&Value>)> = Vec::with_capacity(left.len().max(right.len()));
    for (element, item, is_right) in found {
        if all.last().is_none_or(|(last, ..)| last.cmp(&element).is_ne()) {
            all.push((element, Vec::new(), Vec::new()));
        }
        if let Some((_, l, r)) = all.last_mut() {
            if is_right { r.push(item) } else { l.push(item) }
        }
    }
    let mut out = Difference { untyped, ..Difference::default() };
    for (element, l, r) in all {
        let (change, below) = match (l.as_slice(), r.as_slice()) {
            ([] | [_], [] | [_]) => visit(l.first().copied(), r.first().copied(), list.elem()),
            ([_, _, ..], [_, _, ..]) => (if l == r { Change::None } else { Change::Modified }, Difference::default()),
            // Of repeated items there is one now, or there was one before: it comes, or goes, field by field.
            (before, now) => {
                let was_repeated = before.len() > 1;
                let one = if was_repeated { now } else { before }.first().copied();
                let (l, r) = if was_repeated { (None, one) } else { (one, None) };
                let (change, below) = match one {
                    Some(_) => visit(l, r, list.elem()),
                    None => (Change::None, Difference::default()),
                };
                let added = !was_repeated || change == Change::Added;
                let removed = was_repeated || change == Change::Removed;
                out.push_as(element, [added, removed, false], below);
                continue;
            }
        };
        out.push(element, change, below);
    }
    out.sort();
    out
}
