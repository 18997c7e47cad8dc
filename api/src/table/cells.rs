//! Cells: most are a field of the object, some a small function of it.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::conditions::{Condition, find};
use crate::selector::LabelSelector;
use crate::{Object, time};

/// How one cell is made.
#[derive(Clone, Copy)]
pub enum Cell {
    /// The name.
    Name,
    /// Text at a path, and what stands for none.
    Text(&'static str, &'static str),
    /// A number at a path; zero for none.
    Int(&'static str),
    /// A boolean at a path, and what stands for none.
    Bool(&'static str, bool),
    /// How many items a list or map has.
    Count(&'static str),
    /// The time since the object was made.
    Age,
    /// The time when the object was made.
    CreatedAt,
    /// The labels at a path.
    Labels(&'static str),
    /// The selector at a path.
    Selector(&'static str),
    /// Anything else.
    Call(fn(&Object, Timestamp) -> Value),
}

impl Cell {
    /// The cell of an object.
    pub(crate) fn of(&self, object: &Object, now: Timestamp) -> Value {
        match self {
            Self::Name => object.name().into(),
            Self::Text(path, none) => match at(object, path) {
                None | Some(Value::Null) => (*none).into(),
                Some(Value::String(text)) if text.is_empty() => (*none).into(),
                Some(Value::String(text)) => text.as_str().into(),
                Some(other) => other.to_string().into(),
            },
            Self::Int(path) => int(object, path).into(),
            Self::Bool(path, none) => at(object, path).and_then(Value::as_bool).unwrap_or(*none).into(),
            Self::Count(path) => count(object, path).into(),
            Self::Age => age(object, now),
            Self::CreatedAt => created_at(object),
            Self::Labels(path) => labels(at(object, path)).into(),
            Self::Selector(path) => selector(at(object, path)).into(),
            Self::Call(f) => f(object, now),
        }
    }
}

/// The value at a dotted path.
pub(crate) fn at<'o>(object: &'o Object, path: &str) -> Option<&'o Value> {
    let mut names = path.split('.');
    let first = object.0.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// The text at a dotted path; empty for none.
pub(crate) fn text<'o>(object: &'o Object, path: &str) -> &'o str {
    at(object, path).and_then(Value::as_str).unwrap_or("")
}

/// The number at a dotted path; zero for none.
pub(crate) fn int(object: &Object, path: &str) -> i64 {
    at(object, path).and_then(Value::as_i64).unwrap_or(0)
}

/// The list at a dotted path; empty for none.
pub(crate) fn list<'o>(object: &'o Object, path: &str) -> &'o [Value] {
    at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The map at a dotted path.
pub(crate) fn map<'o>(object: &'o Object, path: &str) -> Option<&'o Map<String, Value>> {
    at(object, path).and_then(Value::as_object)
}

fn count(object: &Object, path: &str) -> usize {
    match at(object, path) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    }
}

/// The text of an item's field; empty for none.
pub(crate) fn field<'v>(item: &'v Value, name: &str) -> &'v str {
    item.get(name).and_then(Value::as_str).unwrap_or("")
}

/// What stands for an empty text.
pub(crate) fn or(text: &str, none: &str) -> String {
    if text.is_empty() { none.to_string() } else { text.to_string() }
}

pub(crate) fn age(object: &Object, now: Timestamp) -> Value {
    let created = text(object, "metadata.creationTimestamp");
    time::age((!created.is_empty()).then_some(created), now).into()
}

pub(crate) fn created_at(object: &Object) -> Value {
    text(object, "metadata.creationTimestamp").into()
}

/// Labels as `k=v,…`.
pub(crate) fn labels(labels: Option<&Value>) -> String {
    let pairs = labels.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
    or(&pairs.join(","), "<none>")
}

/// A label selector's text (`metav1.FormatLabelSelector`).
pub(crate) fn selector(selector: Option<&Value>) -> String {
    match LabelSelector::from_object(selector) {
        Ok(selector) => or(&selector.to_string(), "<none>"),
        Err(_) => "<error>".into(),
    }
}

/// The first items joined by commas, and how many more there are.
pub(crate) fn with_more(items: &[String], max: usize) -> String {
    let shown = items[..items.len().min(max)].join(",");
    match items.len().saturating_sub(max) {
        0 if shown.is_empty() => "<unset>".into(),
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

/// The status of the condition of a type; empty for none.
pub(crate) fn condition<'o>(object: &'o Object, kind: &str) -> &'o str {
    find(list(object, "status.conditions"), kind).map_or("", Condition::status)
}

/// Texts of a list, joined.
pub(crate) fn joined(items: &[Value], separator: &str) -> String {
    items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(separator)
}

/// A field of each item, joined by commas.
pub(crate) fn names(items: &[Value], name: &str) -> Value {
    items.iter().map(|item| field(item, name)).collect::<Vec<_>>().join(",").into()
}

/// A number at a path, or `<none>`.
pub(crate) fn number_or_none(object: &Object, path: &str) -> Value {
    at(object, path).filter(|v| !v.is_null()).cloned().unwrap_or_else(|| "<none>".into())
}

/// The text at a path, or at another if that is empty.
pub(crate) fn either<'o>(object: &'o Object, path: &str, other: &str) -> &'o str {
    let found = text(object, path);
    if found.is_empty() { text(object, other) } else { found }
}

/// The name, with a mark if an annotation says that it is the default.
pub(crate) fn defaulted(object: &Object, annotation: &str) -> Value {
    let is_default = object.str_at(&["metadata", "annotations", annotation]) == "true";
    if is_default { format!("{} (default)", object.name()).into() } else { object.name().into() }
}
