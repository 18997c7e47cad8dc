//! A value with its path.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::Object;
use crate::field::Path;

static NULL: Value = Value::Null;

/// A value in an object, and where it is; an absent value is null.
#[derive(Debug, Clone)]
pub struct At<'a> {
    /// Where.
    pub path: Path,
    /// What; null for the object as a whole, which is no value of its own.
    pub value: &'a Value,
    /// The object as a whole.
    whole: Option<&'a Map<String, Value>>,
}

impl<'a> At<'a> {
    /// The object as a whole.
    pub fn root(object: &'a Object) -> Self {
        Self { path: Path::root(), value: &NULL, whole: Some(&object.0) }
    }

    /// A value at a path.
    pub fn new(path: Path, value: &'a Value) -> Self {
        Self { path, value, whole: None }
    }

    fn below(&self, name: &str) -> &'a Value {
        let found = match self.whole {
            Some(map) => map.get(name),
            None => self.value.get(name),
        };
        found.unwrap_or(&NULL)
    }

    /// A field.
    pub fn get(&self, name: &str) -> At<'a> {
        At::new(self.path.child(name), self.below(name))
    }

    /// A field below fields.
    pub fn at(&self, names: &[&str]) -> At<'a> {
        names.iter().fold(self.clone(), |at, name| at.get(name))
    }

    /// An entry of a map.
    pub fn key(&self, key: &str) -> At<'a> {
        At::new(self.path.key(key), self.below(key))
    }

    /// The items of a list.
    pub fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let path = self.path.clone();
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().enumerate().map(move |(index, value)| At::new(path.index(index), value))
    }

    /// The items of a list by the text of one of their fields; the first of each counts.
    pub fn items_by(&self, name: &str) -> HashMap<&'a str, At<'a>> {
        let mut found = HashMap::with_capacity(self.len());
        for item in self.items() {
            found.entry(item.get(name).text()).or_insert(item);
        }
        found
    }

    /// The entries of a map, with their keys, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let path = self.path.clone();
        let map = self.whole.or_else(|| self.value.as_object());
        map.into_iter().flatten().map(move |(key, value)| (key.as_str(), At::new(path.key(key), value)))
    }

    /// Whether there is nothing.
    pub fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// Whether there is something.
    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether there is nothing in it: null, an empty text, list or map.
    pub fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        }
    }

    /// How many items or entries there are.
    pub fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        }
    }

    /// The text; empty if there is none.
    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or("")
    }

    /// The number, if there is one.
    pub fn number(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Whether it is true.
    pub fn is_true(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }
}
