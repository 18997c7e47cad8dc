//! A value seen through its schema, as structured merge sees it: scalars, lists and maps that are owned as a
//! whole or item by item. What has no schema is deduced: maps by field, lists as a whole.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::set::PathElement;
use crate::field::ERRORS_BYTES_MAX;
use crate::schema::{Kind, Topology, Type};

/// A type, or none: deduced from the value.
pub(crate) type Maybe<'a> = Option<Type<'a>>;

/// How a value is owned.
#[derive(Clone, Copy)]
pub(crate) enum Shape<'a> {
    /// A scalar.
    Scalar,
    /// A list owned as a whole.
    AtomicList,
    /// A list of distinct scalars, or of items told apart by keys.
    List(Type<'a>),
    /// A map or struct owned as a whole.
    AtomicMap,
    /// A map or struct owned by field.
    Map,
}

/// Removes what says nothing: a type without a schema is deduced.
pub(crate) fn known(ty: Maybe<'_>) -> Maybe<'_> {
    ty.filter(|ty| !matches!(ty.kind(), Kind::Any | Kind::Raw | Kind::Fields) && !holds_schema(ty.kind()))
}

fn holds_schema(kind: Kind) -> bool {
    matches!(kind, Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings)
}

/// How a value of this type is owned; the value itself decides if there is no type.
pub(crate) fn shape<'a>(ty: Maybe<'a>, value: Option<&Value>) -> Shape<'a> {
    let Some(ty) = known(ty) else {
        // What a built-in type leaves open (`runtime.RawExtension`) is owned as a whole.
        let whole = ty.is_some_and(|ty| ty.kind() != Kind::Any);
        return match value {
            Some(Value::Array(_)) => Shape::AtomicList,
            Some(Value::Object(_)) if whole => Shape::AtomicMap,
            Some(Value::Object(_)) => Shape::Map,
            _ => Shape::Scalar,
        };
    };
    match (ty.kind(), ty.topology()) {
        (Kind::List, Topology::Set | Topology::Map) => Shape::List(ty),
        (Kind::List, _) => Shape::AtomicList,
        (Kind::Map | Kind::Struct, Topology::Atomic) => Shape::AtomicMap,
        (Kind::Map | Kind::Struct, _) => Shape::Map,
        _ => Shape::Scalar,
    }
}

/// The type below a field, and whether the struct declares the field.
pub(crate) fn child<'a>(ty: Maybe<'a>, name: &str) -> (Maybe<'a>, bool) {
    let Some(ty) = known(ty) else { return (None, false) };
    match ty.kind() {
        Kind::Struct => match ty.field(name) {
            Some(field) => (Some(field.ty()), true),
            None => (ty.additional(), false),
        },
        Kind::Map => (ty.elem(), false),
        _ => (None, false),
    }
}

/// What a field that is absent from JSON is in the reference's memory: it always shows structs that are no pointers
/// and what it does not leave out when empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Truly absent.
    Missing,
    /// An empty struct.
    EmptyMap,
    /// A scalar's zero value, or a list or map that is null.
    Zero,
}

pub(crate) fn absent(ty: Maybe<'_>, name: &str) -> Absent {
    // Only built-in structs have such fields.
    let Some(ty) = ty.filter(|ty| ty.name().is_some()) else { return Absent::Missing };
    let Some(field) = ty.field(name).filter(|f| !(f.omit_zero() || f.pointer() && f.omit_empty())) else {
        return Absent::Missing;
    };
    match field.ty().kind() {
        // A pointer that is printed even where it leads nowhere is null.
        _ if field.pointer() => Absent::Zero,
        Kind::Struct => Absent::EmptyMap,
        Kind::Time | Kind::MicroTime => Absent::Zero,
        _ if !field.omit_empty() => Absent::Zero,
        _ => Absent::Missing,
    }
}

/// Whether a value is the zero value of its kind.
pub(crate) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// The element of a list's item.
pub(crate) fn item_element(list: Type<'_>, item: &Value) -> Result<PathElement, String> {
    let keys = list.map_keys();
    if keys.is_empty() {
        return match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
            scalar => Ok(PathElement::Value(scalar.clone())),
        };
    }
    let Value::Object(map) = item else {
        let what = if item.is_null() { "a null element" } else { "non-map elements" };
        return Err(format!("associative list with keys may not have {what}"));
    };
    let mut found: Vec<(Box<str>, Value)> = Vec::with_capacity(keys.len());
    for key in keys {
        let value = map.get(key.as_ref()).cloned().or_else(|| key_default(list, key));
        found.extend(value.map(|value| (key.as_ref().into(), value)));
    }
    if found.is_empty() {
        let quoted: Vec<String> = keys.iter().map(|k| format!("{k:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default \
             values for any key fields)",
            quoted.join(" ")
        ));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(PathElement::Key(found.into()))
}

/// What stands for a key that an item leaves out: its default, or the zero value of a field that is always there.
fn key_default(list: Type<'_>, key: &str) -> Option<Value> {
    let field = list.elem()?.field(key)?;
    let always = list.elem()?.name().is_some() && !field.pointer() && !field.omit_empty();
    field.default().or_else(|| always.then(|| crate::decode::zero(field.ty())))
}

/// What is wrong with a value by its type, each with its path. With `unique`, repeated items are wrong too.
pub(crate) fn validate(value: &Value, ty: Maybe<'_>, unique: bool) -> Vec<String> {
    let mut errors = Vec::new();
    Validation { unique, bytes: 0, errors: &mut errors }.visit(value, ty, "");
    errors
}

/// Errors as structured merge joins them.
pub(crate) fn joined(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        many => {
            let lines: Vec<String> = many.iter().map(|e| format!("  {e}")).collect();
            format!("errors:\n{}", lines.join("\n"))
        }
    }
}

struct Validation<'e> {
    unique: bool,
    /// How long the errors are together.
    bytes: usize,
    errors: &'e mut Vec<String>,
}

impl Validation<'_> {
    fn wrong(&mut self, path: &str, why: &str) {
        if self.bytes > ERRORS_BYTES_MAX {
            return;
        }
        self.bytes += path.len() + why.len();
        let colon = if path.is_empty() { "" } else { ": " };
        self.errors.push(format!("{path}{colon}{why}"));
    }

    fn visit(&mut self, value: &Value, ty: Maybe<'_>, path: &str) {
        let Some(ty) = known(ty).filter(|_| !value.is_null()) else { return };
        match ty.kind() {
            Kind::List => match value {
                Value::Array(items) => self.items(items, ty, path),
                other => self.wrong(path, &format!("expected list, got {}", printed(other))),
            },
            Kind::Map | Kind::Struct => match value {
                Value::Object(map) => self.fields(map, ty, path),
                other => self.wrong(path, &format!("expected map, got {}", printed(other))),
            },
            _ => {
                if let Some(why) = scalar_fault(ty, value) {
                    self.wrong(path, &why);
                }
            }
        }
    }

    fn items(&mut self, items: &[Value], ty: Type<'_>, path: &str) {
        let keyed = matches!(ty.topology(), Topology::Set | Topology::Map);
        let mut seen: BTreeSet<PathElement> = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let element = if keyed {
                match item_element(ty, item) {
                    Ok(element) => element,
                    Err(why) => return self.wrong(path, &format!("element {index}: {why}")),
                }
            } else {
                PathElement::Index(index as i64)
            };
            if keyed && self.unique && !seen.insert(element.clone()) {
                self.wrong(path, &format!("duplicate entries for key {element}"));
            }
            if !is_plain(ty.elem()) {
                self.visit(item, ty.elem(), &format!("{path}{element}"));
            } else if let Some(why) = ty.elem().and_then(|ty| scalar_fault(ty, item)) {
                self.wrong(&format!("{path}{element}"), &why);
            }
        }
    }

    fn fields(&mut self, map: &Map<String, Value>, ty: Type<'_>, path: &str) {
        let is_unknown = |name: &str| {
            let (below, declared) = child(Some(ty), name);
            ty.kind() == Kind::Struct && !declared && below.is_none() && !ty.preserves_unknown_fields()
        };
        let mut unknown = None;
        for (name, value) in map {
            let below = child(Some(ty), name).0;
            if is_unknown(name) {
                unknown = unknown.or(Some(name));
                continue;
            }
            if is_plain(below) {
                if let Some(why) = below.and_then(|ty| scalar_fault(ty, value)) {
                    self.wrong(&format!("{path}.{name}"), &why);
                }
            } else {
                self.visit(value, below, &format!("{path}.{name}"));
            }
        }
        // Structured merge goes no further in a map after a field that is not declared.
        if let Some(name) = unknown {
            self.wrong(&format!("{path}.{name}"), "field not declared in schema");
        }
    }
}

/// Whether the type is a scalar's, which spares the path of every leaf.
fn is_plain(ty: Maybe<'_>) -> bool {
    ty.is_none_or(|ty| !matches!(ty.kind(), Kind::List | Kind::Map | Kind::Struct))
}

fn printed(value: &Value) -> String {
    format!("&{{{}}}", crate::patch::go_value(value))
}

fn scalar_fault(ty: Type<'_>, value: &Value) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let go_string = || match value {
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        _ => "int64",
    };
    match ty.kind() {
        // A custom resource's number or text has no type here: validation looks at it.
        Kind::IntOrString if ty.rules().is_some() => None,
        Kind::String | Kind::Bytes | Kind::Time | Kind::MicroTime | Kind::Duration => (!value.is_string()).then(|| {
            format!("expected string, got &value.valueUnstructured{{Value:{}}}", crate::patch::go_value(value))
        }),
        Kind::Int32 | Kind::Int64 | Kind::Double => {
            (!value.is_number()).then(|| format!("expected numeric (int or float), got {}", go_string()))
        }
        Kind::Boolean => (!value.is_boolean()).then(|| format!("expected boolean, got {}", printed(value))),
        Kind::Quantity | Kind::IntOrString => {
            let scalar = !value.is_array() && !value.is_object();
            (!scalar).then(|| format!("expected any scalar, got {}", printed(value)))
        }
        _ => None,
    }
}
