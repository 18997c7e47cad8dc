//! JSON as the reference writes it: the fields of built-in types in the order of Go's structs, all else in order of
//! name, and numbers as `encoding/json` prints them.

mod indent;
mod number;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::{Map, Serializer, Value};
use smallvec::SmallVec;

use crate::schema::{Kind, Schema, Type};

pub use indent::indented;
pub(crate) use indent::string_end;
pub use number::{double, float_text};

/// The built-in type that an object is of by what it states; none if it is a custom one or a list.
pub fn stated_type(object: &Map<String, Value>) -> Option<Type<'static>> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or("");
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    // Kinds of the meta group are defined once, and used under every group and version.
    Schema::builtin_type(group, version, kind).or_else(|| match (group, version) {
        ("" | "meta.k8s.io", "v1" | "v1beta1" | "") => Schema::builtin_type("meta.k8s.io", "v1", kind)
            .or_else(|| Schema::builtin_definition(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"))),
        _ => None,
    })
}

/// The bytes of an object; with `pretty` indented as `json.MarshalIndent` does for people.
pub fn object(object: &Map<String, Value>, pretty: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(OBJECT_BYTES);
    write_object(&mut out, object);
    if pretty { indented(&out) } else { out }
}

/// How long most objects are at most.
const OBJECT_BYTES: usize = 4 << 10;

/// Appends an object of whatever kind it states.
pub fn write_object(out: &mut Vec<u8>, object: &Map<String, Value>) {
    match (stated_type(object), object.get("items")) {
        (Some(ty), _) => members(out, object, Some(ty)),
        (None, Some(Value::Array(items))) => list(out, object, items),
        (None, _) => members(out, object, None),
    }
}

/// A list of a built-in kind has the members of Go's struct; that of a custom one is a map.
fn list(out: &mut Vec<u8>, object: &Map<String, Value>, items: &[Value]) {
    let of_items = item_type(object);
    if of_items.is_none() {
        return members(out, object, None);
    }
    out.push(b'{');
    for name in ["kind", "apiVersion"] {
        if let Some(value) = object.get(name) {
            key(out, name);
            self::value(out, value, None);
        }
    }
    key(out, "metadata");
    let of_list = Schema::builtin_definition("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
    self::value(out, object.get("metadata").unwrap_or(&Value::Null), of_list);
    key(out, "items");
    sequence(out, items, of_items);
    out.push(b'}');
}

/// The type of the items of a list of a built-in kind.
fn item_type(object: &Map<String, Value>) -> Option<Type<'static>> {
    let kind = object.get("kind").and_then(Value::as_str)?.strip_suffix("List")?;
    let api_version = object.get("apiVersion").and_then(Value::as_str)?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Schema::builtin_type(group, version, kind)
}

/// Appends a value of a type; what has no type is written in order of name.
pub fn value(out: &mut Vec<u8>, value: &Value, ty: Option<Type<'_>>) {
    match (value, ty.map(|ty| (ty, ty.kind()))) {
        (Value::Object(map), Some((ty, Kind::Struct))) => members(out, map, Some(ty)),
        (Value::Object(map), Some((ty, Kind::Map))) => entries(out, map, ty.elem()),
        (Value::Object(map), Some((ty, Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings))) => {
            members(out, map, Some(ty.inner()));
        }
        (Value::Object(map), Some((_, Kind::Raw))) => members(out, map, stated_type(map)),
        (Value::Array(items), Some((ty, Kind::List))) => sequence(out, items, ty.elem()),
        (Value::Array(items), Some((ty, Kind::SchemaOrArray))) => sequence(out, items, Some(ty.inner())),
        _ => plain(out, value),
    }
}

fn sequence(out: &mut Vec<u8>, items: &[Value], ty: Option<Type<'_>>) {
    out.push(b'[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        value(out, item, ty);
    }
    out.push(b']');
}

fn entries(out: &mut Vec<u8>, map: &Map<String, Value>, ty: Option<Type<'_>>) {
    out.push(b'{');
    for (name, item) in map {
        key(out, name);
        value(out, item, ty);
    }
    out.push(b'}');
}

/// The members of a struct.
fn members(out: &mut Vec<u8>, map: &Map<String, Value>, ty: Option<Type<'_>>) {
    out.push(b'{');
    write_members(out, map.iter(), ty);
    out.push(b'}');
}

/// Appends the members of a map in the order of a type, after what is in the map already.
pub(crate) fn write_members<'m>(
    out: &mut Vec<u8>,
    map: impl Iterator<Item = (&'m String, &'m Value)>,
    ty: Option<Type<'_>>,
) {
    let Some(ty) = ty.filter(|ty| ty.name().is_some()) else {
        for (name, item) in map {
            key(out, name);
            value(out, item, ty.and_then(|ty| ty.child(name)));
        }
        return;
    };
    // What the type does not know comes last.
    let mut ordered: SmallVec<[_; 24]> = map
        .map(|(name, value)| {
            let field = ty.field(name);
            (field.map_or(u16::MAX, |field| field.place()), name, value, field)
        })
        .collect();
    ordered.sort_by_key(|(place, ..)| *place);
    for (_, name, item, field) in ordered {
        key(out, name);
        value(out, item, field.map(|field| field.ty()));
    }
}

/// Appends a name and its colon, and before it a comma if it is not the first.
fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    text(out, name);
    out.push(b':');
}

/// Appends a text in quotes.
fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes every write");
}

/// Appends a value in order of name.
pub fn plain(out: &mut Vec<u8>, value: &Value) {
    let mut serializer = Serializer::with_formatter(out, number::GoNumbers);
    value.serialize(&mut serializer).expect("a Vec takes every write");
}

/// A value as text, in order of name.
pub fn to_text(value: &Value) -> String {
    let mut out = Vec::new();
    plain(&mut out, value);
    String::from_utf8(out).expect("JSON is UTF-8")
}
