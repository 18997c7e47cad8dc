//! A value with its path and, where assertions are compiled in, its type: a field that the schema does not have is a mistake
//! of the one who wrote its name, and panics.
//!
//! Names are written where they are used: [`At::field`] and its like take literals or constants and nothing else, and what goes
//! through several names takes a [`Name`], which only [`At::known`] makes. A test (`tests/names.rs`) reads the sources
//! and makes sure that every such place is reached by a test, with the type known. Without assertions there is no type.

#[cfg(test)]
pub(super) mod places;
mod shape;

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;

use serde_json::{Map, Value};

use crate::Object;
use crate::field::Path;
use shape::Shape;

static NULL: Value = Value::Null;
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A value in an object, and where it is; an absent value is null.
#[derive(Debug, Clone)]
pub struct At<'a> {
    /// Where.
    pub path: Path,
    /// What; null for the object as a whole, which is no value of its own.
    pub value: &'a Value,
    /// The object as a whole.
    whole: Option<&'a Map<String, Value>>,
    shape: Shape,
}

/// The name of a field that is known to be one of the type it was asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(&'static str);

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'a> At<'a> {
    /// The object as a whole.
    pub fn root(object: &'a Object) -> Self {
        Self { path: Path::root(), value: &NULL, whole: Some(&object.0), shape: Shape::of_object(object) }
    }

    /// The metadata of an object, whatever its kind.
    pub fn metadata(object: &'a Object) -> Self {
        let value = object.0.get("metadata").unwrap_or(&NULL);
        Self { path: Path::new("metadata"), value, whole: None, shape: Shape::of_definition(OBJECT_META) }
    }

    /// A value at a path, of which no type is known.
    pub fn new(path: Path, value: &'a Value) -> Self {
        Self { path, value, whole: None, shape: Shape::default() }
    }

    /// A value at a path, of the type of this one.
    pub fn like<'b>(&self, path: Path, value: &'b Value) -> At<'b> {
        At { path, value, whole: None, shape: self.shape }
    }

    /// The same value, shown at another path.
    #[must_use]
    pub fn moved(&self, path: Path) -> Self {
        Self { path, ..self.clone() }
    }

    /// The value as one of a built-in definition, where the schema says only that it may be anything.
    #[must_use]
    pub fn as_definition(self, name: &str) -> Self {
        Self { shape: Shape::of_definition(name), ..self }
    }

    fn below(&self, name: &str) -> &'a Value {
        let found = match self.whole {
            Some(map) => map.get(name),
            None => self.value.get(name),
        };
        found.unwrap_or(&NULL)
    }

    /// A field.
    #[track_caller]
    pub fn field(&self, name: &'static str) -> At<'a> {
        self.shape.is_reached();
        let shape = self.shape.field(name, &self.path);
        At { path: self.path.child(name), value: self.below(name), whole: None, shape }
    }

    /// Several fields.
    #[track_caller]
    pub fn fields<const N: usize>(&self, names: [&'static str; N]) -> [At<'a>; N] {
        self.known(names).map(|name| self.get(name))
    }

    /// The names of fields, for what goes through them one by one.
    #[track_caller]
    pub fn known<const N: usize>(&self, names: [&'static str; N]) -> [Name; N] {
        self.shape.is_reached();
        for name in names {
            self.shape.field(name, &self.path);
        }
        names.map(Name)
    }

    /// The name of a field.
    #[track_caller]
    pub fn name(&self, name: &'static str) -> Name {
        let [name] = self.known([name]);
        name
    }

    /// A field whose name is known.
    pub fn get(&self, name: Name) -> At<'a> {
        let shape = self.shape.field(name.0, &self.path);
        At { path: self.path.child(name.0), value: self.below(name.0), whole: None, shape }
    }

    /// The value of a field whose name is known, for those who need no place as long as it is as it should be.
    pub fn read(&self, name: Name) -> &'a Value {
        self.shape.field(name.0, &self.path);
        self.below(name.0)
    }

    /// A field below fields.
    #[track_caller]
    pub fn at(&self, names: &[&'static str]) -> At<'a> {
        let mut at = self.clone();
        let mut holder = self.shape;
        for name in names {
            holder = at.shape;
            let shape = at.shape.field(name, &at.path);
            at = At { path: at.path.child(name), value: at.below(name), whole: None, shape };
        }
        holder.is_reached();
        at
    }

    /// An entry of a map.
    pub fn key(&self, key: &str) -> At<'a> {
        At { path: self.path.key(key), value: self.below(key), whole: None, shape: self.shape.elem() }
    }

    /// The fields but for those named.
    #[track_caller]
    pub fn without<const N: usize>(&self, names: [&'static str; N]) -> Value {
        let names = self.known(names);
        let mut value = self.value.clone();
        if let Some(map) = value.as_object_mut() {
            map.retain(|key, _| !names.iter().any(|name| name.0 == key));
        }
        value
    }

    /// The items of a list.
    pub fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let (path, shape) = (self.path.clone(), self.shape.elem());
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        let at = move |(index, value)| At { path: path.index(index), value, whole: None, shape };
        items.iter().enumerate().map(at)
    }

    /// The items of a list by the text of one of their fields; the first of each counts.
    #[track_caller]
    pub fn items_by(&self, name: &'static str) -> HashMap<&'a str, At<'a>> {
        let shape = self.shape.elem();
        shape.is_reached();
        shape.field(name, &self.path);
        let mut found = HashMap::with_capacity(self.len());
        for item in self.items() {
            found.entry(item.get(Name(name)).text()).or_insert(item);
        }
        found
    }

    /// The entries of a map, with their keys, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let (path, shape) = (self.path.clone(), self.shape.elem());
        let map = self.whole.or_else(|| self.value.as_object());
        let at = move |key: &str, value| At { path: path.key(key), value, whole: None, shape };
        map.into_iter().flatten().map(move |(key, value)| (key.as_str(), at(key, value)))
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
