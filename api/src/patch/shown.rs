//! A patched object as the reference shows it in errors: the libraries that apply patches keep the text of what a patch
//! does not open, in the order of the Go structs, and sort the names of what it does. Of custom resources all are sorted.
//!
//! The order is that of the field numbers in protobuf, but for the structs in `data/field-order.txt`: a line each.

use serde_json::{Map, Value};

use crate::schema::Type;

const ORDER: &str = include_str!("../../data/field-order.txt");

/// The JSON of an object after a patch; it has no type if it is a custom resource. `opened` is the nested maps that the patch opened, with their names.
pub fn shown(object: &Map<String, Value>, ty: Option<Type<'_>>, opened: &Value) -> String {
    let mut out = String::new();
    write_map(&mut out, object, ty, Some(opened));
    out
}

/// The fields of a struct, if they are not in the order of their numbers.
fn listed(definition: &str) -> Vec<&'static str> {
    let line = ORDER.lines().find_map(|line| line.strip_prefix(definition)?.strip_prefix(' '));
    line.map(|fields| fields.split(' ').collect()).unwrap_or_default()
}

fn write(out: &mut String, value: &Value, ty: Option<Type<'_>>, opened: Option<&Value>) {
    match value {
        Value::Object(map) => write_map(out, map, ty, opened.filter(|o| o.is_object())),
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                // A list that a merge patch gives is opened as a whole.
                let opened = opened.and_then(|o| match o {
                    Value::Array(given) => given.get(place),
                    other => other.get(place.to_string()),
                });
                write(out, item, ty.and_then(Type::elem), opened);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_map(out: &mut String, map: &Map<String, Value>, ty: Option<Type<'_>>, opened: Option<&Value>) {
    let mut names: Vec<&String> = map.keys().collect();
    if let Some(ty) = ty.filter(|_| opened.is_none()) {
        let listed: Vec<&str> = ty.name().map(listed).unwrap_or_default();
        names.sort_by_key(|name| {
            let number = ty.field(name).map_or(u8::MAX, |field| field.proto().first().copied().unwrap_or(0));
            (listed.iter().position(|other| other == name), number, *name)
        });
    }
    out.push('{');
    for (place, name) in names.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(name.as_str()).to_string());
        out.push(':');
        write(out, &map[name], ty.and_then(|ty| ty.child(name)), opened.and_then(|o| o.get(name)));
    }
    out.push('}');
}
