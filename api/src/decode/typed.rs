//! A tree becomes a value of a type, or an error that Go's decoder would give.

mod messages;
mod scalars;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};
use smallvec::SmallVec;

use messages::{embedded, last_name};

use super::repeated::FINDING_BYTES_MAX;
use super::shape::{self, fields_shape, is_omitted};
use super::tree::{TOO_DEEP, Tree};
use crate::field::beginning;
use crate::go::json::cannot_unmarshal;
use crate::schema::{Field, Kind, Type};

/// No more findings of strict decoding than this are told.
const STRICT_MAX: usize = 100;
const DUPLICATE: &str = "duplicate field";

/// Converts a whole document. What strict decoding finds goes to `strict` if it is asked for.
pub(super) fn convert(
    tree: Tree<'_>,
    root: Type<'_>,
    custom: bool,
    is_strict: bool,
    strict: &mut Vec<String>,
) -> Result<Value, String> {
    convert_in(Wording::Decoder, tree, root, custom, is_strict, strict)
}

/// In whose words wrong types are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wording {
    /// Go's JSON decoder.
    Decoder,
    /// The converter from maps to structs (`runtime.DefaultUnstructuredConverter`).
    Converter,
}

/// As [`convert`], in chosen words.
pub(crate) fn convert_in(
    wording: Wording,
    tree: Tree,
    root: Type<'_>,
    custom: bool,
    is_strict: bool,
    strict: &mut Vec<String>,
) -> Result<Value, String> {
    let mut coder = Coder {
        wording,
        lenient: custom,
        strict: is_strict.then_some(strict),
        strict_path: String::new(),
        context: None,
        fields: Vec::new(),
        error: None,
        fatal: false,
    };
    let value = coder.value(root, None, tree);
    match coder.error {
        Some(error) => Err(error),
        None => Ok(value.unwrap_or_else(|| shape::zero(root))),
    }
}

struct Coder<'a, 's> {
    wording: Wording,
    /// Wrong types are kept: the schema of a custom resource validates them later.
    lenient: bool,
    strict: Option<&'s mut Vec<String>>,
    /// Where we are, as strict decoding tells it.
    strict_path: String,
    /// The innermost struct.
    context: Option<Type<'a>>,
    /// The fields on the way, as type errors tell them.
    fields: Vec<&'a str>,
    /// The first error; a fatal one replaces it.
    error: Option<String>,
    /// Go's decoder stopped here.
    fatal: bool,
}

impl<'a> Coder<'a, '_> {
    /// The value, or none if it counts as absent. `named` is the Go name of a scalar's or collection's type.
    fn value(&mut self, ty: Type<'a>, named: Option<&'a str>, tree: Tree<'_>) -> Option<Value> {
        if self.fatal || (matches!(tree, Tree::Null) && !keeps_null(ty)) {
            return None;
        }
        match (ty.kind(), tree) {
            (Kind::Struct, Tree::Object(entries)) => Some(Value::Object(self.fields(ty, entries))),
            (Kind::List, Tree::Array(items)) => Some(self.items(ty, named, items)),
            (Kind::Map, Tree::Object(entries)) => Some(self.entries(ty, named, entries)),
            (Kind::Any, tree) if self.lenient => Some(self.untyped(tree)),
            (Kind::Any | Kind::Raw | Kind::Fields, tree) => self.whole(tree),
            (Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings, tree) => self.schema_or(ty, tree),
            (Kind::Quantity, tree) => self.quantity(tree),
            (Kind::Time | Kind::MicroTime, tree) => self.time(ty, tree),
            (Kind::IntOrString, tree) if self.lenient && matches!(tree, Tree::Object(_) | Tree::Array(_)) => {
                Some(self.emptied(tree))
            }
            (Kind::IntOrString, tree) => self.int_or_string(tree),
            (_, tree) if self.lenient && !self.in_builtin() => Some(self.emptied(tree)),
            (Kind::Struct | Kind::Map, Tree::Deep("object")) | (Kind::List, Tree::Deep("array")) => {
                self.stop(TOO_DEEP.to_string())
            }
            (Kind::String | Kind::Duration, Tree::String(text)) => Some(Value::String(text.into_owned())),
            (Kind::Bytes, Tree::String(text)) => self.bytes(&text),
            (Kind::Bytes, Tree::Array(items)) => self.numbers(items),
            (Kind::Boolean, Tree::Bool(yes)) => Some(Value::Bool(yes)),
            (Kind::Int32 | Kind::Int64 | Kind::Double, Tree::Number(text)) => self.number(ty, named, &text),
            (_, tree) => self.wrong(ty, named, tree.kind_name()),
        }
    }

    /// Whether the innermost struct is a built-in one (the metadata of a custom resource's object is).
    fn in_builtin(&self) -> bool {
        self.context.is_some_and(|ty| ty.name().is_some())
    }

    fn fields(&mut self, ty: Type<'a>, entries: Vec<(Cow<'_, str>, Tree<'_>)>) -> Map<String, Value> {
        let outer = self.context.replace(ty);
        let mut map = Map::new();
        let mut seen: SmallVec<[&str; 16]> = SmallVec::new();
        let mut seen_unknown = BTreeSet::new();
        for (key, tree) in entries {
            let back = self.enter_key(&key);
            if let Some(field) = ty.field(&key) {
                // Go decodes into what is there already: a map or struct given twice is merged.
                let before = if seen.contains(&field.name()) {
                    self.find(DUPLICATE);
                    // Taken, not copied: it may be given a hundred thousand times.
                    let merges = matches!(tree, Tree::Object(_)) && map.get(field.name()).is_some_and(Value::is_object);
                    if merges { map.remove(field.name()) } else { None }
                } else {
                    seen.push(field.name());
                    None
                };
                self.field(field, key, tree, &mut map);
                if let Some(before) = before {
                    let after = map.remove(field.name());
                    map.insert(field.name().to_string(), shape::overlay(field.ty(), before, after));
                }
            } else if let Some(elem) = ty.additional() {
                if map.contains_key(&*key) {
                    self.find(DUPLICATE);
                }
                let value = self.value(elem, None, tree).unwrap_or(Value::Null);
                map.insert(key.into_owned(), value);
            } else if ty.preserves_unknown_fields() {
                if map.contains_key(&*key) {
                    self.find(DUPLICATE);
                }
                let value = self.untyped(tree);
                map.insert(key.into_owned(), value);
            } else if seen_unknown.insert(key) {
                self.find("unknown field");
            }
            self.strict_path.truncate(back);
        }
        fields_shape(ty, &mut map);
        self.context = outer;
        map
    }

    fn field(&mut self, field: Field<'a>, key: Cow<'_, str>, tree: Tree<'_>, map: &mut Map<String, Value>) {
        let is_null = matches!(tree, Tree::Null);
        if is_null && field.pointer() && field.ty().kind() == Kind::Any && (!self.lenient || self.in_builtin()) {
            map.remove(field.name());
            return;
        }
        // The metadata of a custom object is decoded for itself, so that errors in it know nothing of what is around.
        let apart = self.lenient && self.fields.is_empty() && field.ty().name().is_some() && !self.in_builtin();
        let outer = self.fields.len();
        self.fields.extend(self.context.map_or(&[][..], |context| embedded(context, field)));
        self.fields.push(field.name());
        if apart {
            self.fields.clear();
        }
        let value = match tree {
            tree if apart && !is_null && !matches!(tree, Tree::Object(_)) => {
                let type_name = field.ty().name().map_or("", last_name);
                self.stop(cannot_unmarshal(tree.kind_name(), &format!("v1.{type_name}")))
            }
            tree => self.value(field.ty(), field.named_scalar(), tree),
        };
        if !self.fatal {
            self.fields.truncate(outer);
        }
        match value {
            // An empty list is kept until it is stored: defaults and validation tell it from none.
            Some(Value::Array(items)) if items.is_empty() && !self.lenient => {
                map.insert(key.into_owned(), Value::Array(items));
            }
            Some(value) if is_omitted(field, &value) => {
                map.remove(field.name());
            }
            Some(value) => {
                map.insert(key.into_owned(), value);
            }
            // A null unsets pointers, lists and maps, and leaves the rest as it was.
            None if is_null && self.lenient && !self.in_builtin() => {
                map.insert(key.into_owned(), Value::Null);
            }
            None if is_null && (field.pointer() || matches!(field.ty().kind(), Kind::List | Kind::Map)) => {
                map.remove(field.name());
            }
            None => {}
        }
    }

    fn items(&mut self, ty: Type<'a>, named: Option<&'a str>, items: Vec<Tree<'_>>) -> Value {
        let elem = ty.elem().expect("a list has items");
        let named = named.filter(|n| !n.starts_with('='));
        let back = self.strict_path.len();
        let mut out = Vec::with_capacity(items.len());
        for (place, tree) in items.into_iter().enumerate() {
            self.enter_index(place);
            out.push(self.element(elem, named, tree));
            self.strict_path.truncate(back);
        }
        Value::Array(out)
    }

    fn entries(&mut self, ty: Type<'a>, named: Option<&'a str>, entries: Vec<(Cow<'_, str>, Tree<'_>)>) -> Value {
        let elem = ty.elem().expect("a map has values");
        let named = named.filter(|n| !n.starts_with('='));
        let mut map = Map::new();
        for (key, tree) in entries {
            let back = self.enter_key(&key);
            if map.contains_key(&*key) {
                self.find(DUPLICATE);
            }
            let value = self.element(elem, named, tree);
            map.insert(key.into_owned(), value);
            self.strict_path.truncate(back);
        }
        Value::Object(map)
    }

    /// An item of a list or value of a map, where a null is the zero value.
    fn element(&mut self, elem: Type<'a>, named: Option<&'a str>, tree: Tree<'_>) -> Value {
        let value = self.value(elem, named, tree);
        value.unwrap_or_else(|| if self.lenient { Value::Null } else { shape::zero_item(elem) })
    }

    /// A value as it is.
    fn whole(&mut self, tree: Tree<'_>) -> Option<Value> {
        match tree.into_value() {
            Ok(value) => Some(value),
            Err(error) => self.stop(error.to_string()),
        }
    }

    /// A value that is not of its type in a custom resource: what its objects hold is in no schema, so it is pruned. That
    /// it is of a wrong type is for validation to say.
    fn emptied(&mut self, tree: Tree<'_>) -> Value {
        match tree {
            Tree::Object(entries) => {
                for (key, _) in entries {
                    let back = self.enter_key(&key);
                    self.find("unknown field");
                    self.strict_path.truncate(back);
                }
                Value::Object(Map::new())
            }
            Tree::Array(items) => {
                let items = items.into_iter().enumerate().map(|(place, item)| {
                    let back = self.enter_index(place);
                    let item = self.emptied(item);
                    self.strict_path.truncate(back);
                    item
                });
                Value::Array(items.collect())
            }
            other => self.whole(other).unwrap_or(Value::Null),
        }
    }

    /// A value without a schema, in which strict decoding still finds duplicates.
    fn untyped(&mut self, tree: Tree<'_>) -> Value {
        match tree {
            Tree::Object(entries) => {
                let mut map = Map::new();
                for (key, tree) in entries {
                    let back = self.enter_key(&key);
                    if map.contains_key(&*key) {
                        self.find(DUPLICATE);
                    }
                    let value = self.untyped(tree);
                    map.insert(key.into_owned(), value);
                    self.strict_path.truncate(back);
                }
                Value::Object(map)
            }
            Tree::Array(items) => Value::Array(items.into_iter().map(|item| self.untyped(item)).collect()),
            other => self.whole(other).unwrap_or(Value::Null),
        }
    }

    /// Notes an error after which Go's decoder goes on; the first one counts.
    fn save(&mut self, message: String) {
        if !self.fatal {
            self.error.get_or_insert(message);
        }
    }

    /// Notes an error at which Go's decoder stops.
    fn stop(&mut self, message: String) -> Option<Value> {
        if !self.fatal {
            self.error = Some(message);
            self.fatal = true;
        }
        None
    }

    /// Adds the place in a list to the strict path and returns its length before.
    fn enter_index(&mut self, place: usize) -> usize {
        let back = self.strict_path.len();
        if self.strict.is_some() {
            self.strict_path.push('[');
            self.strict_path.push_str(itoa::Buffer::new().format(place));
            self.strict_path.push(']');
        }
        back
    }

    /// Adds a field or key to the strict path and returns its length before.
    fn enter_key(&mut self, key: &str) -> usize {
        let back = self.strict_path.len();
        if self.strict.is_some() {
            if back > 0 {
                self.strict_path.push('.');
            }
            self.strict_path.push_str(key);
        }
        back
    }

    fn find(&mut self, what: &str) {
        let Some(strict) = &mut self.strict else { return };
        // What a custom object has twice was told before: it is decoded without its types.
        if strict.len() >= STRICT_MAX || self.lenient && what == DUPLICATE {
            return;
        }
        let finding = format!("{what} {:?}", beginning(&self.strict_path, FINDING_BYTES_MAX));
        if !strict.contains(&finding) {
            strict.push(finding);
        }
    }
}

/// The types for which a null is not the same as nothing.
fn keeps_null(ty: Type<'_>) -> bool {
    ty.kind() == Kind::Any
}
