//! From a message to the JSON that Go would print of it.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::wire::{Reader, Wire};
use super::{PREFIX, ProtobufError};
use crate::decode::{fields_shape, is_omitted};
use crate::go::duration;
use crate::json::double;
use crate::object::{NESTING_MAX, nesting};
use crate::quantity::Quantity;
use crate::schema::{Field, Kind, Type};
use crate::time;

/// Reads a struct.
pub(super) fn message(ty: Type<'_>, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, ProtobufError> {
    let mut map = Map::new();
    fields(ty, [0; 3], 0, bytes, depth, &mut map)?;
    map.retain(|name, value| ty.field(name).is_none_or(|field| !is_omitted(field, value)));
    fields_shape(ty, &mut map);
    Ok(map)
}

/// Reads the fields below a path of so many embedded messages.
fn fields(
    ty: Type<'_>,
    path: [u8; 3],
    length: usize,
    bytes: &[u8],
    depth: usize,
    map: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    if depth > NESTING_MAX {
        return Err(ProtobufError::TooDeep);
    }
    let all = ty.by_number();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        let mut here = path;
        here[length] = u8::try_from(number).unwrap_or(u8::MAX);
        match all.binary_search_by_key(&here, |(path, _)| *path) {
            Ok(place) => add(ty.field_at(all[place].1), wire, depth, map)?,
            // An embedded message is no field, but the ones in it follow where it would be.
            Err(next) if all.get(next).is_some_and(|(path, _)| path[..=length] == here[..=length]) => {
                fields(ty, here, length + 1, wire.bytes("embedded")?, depth + 1, map)?;
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn add(field: Field<'_>, wire: Wire<'_>, depth: usize, map: &mut Map<String, Value>) -> Result<(), ProtobufError> {
    let (ty, name) = (field.ty(), field.name());
    match (ty.kind(), ty.elem()) {
        (Kind::List, Some(elem)) => {
            let list = map.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(list) = list else { return Ok(()) };
            let numbers = matches!(elem.kind(), Kind::Int32 | Kind::Int64 | Kind::Boolean);
            match wire {
                Wire::Bytes(packed) if numbers => {
                    let mut reader = Reader::new(packed);
                    while let Some(number) = reader.packed()? {
                        list.push(value(elem, name, Wire::Varint(number), depth)?);
                    }
                }
                _ => list.push(value(elem, name, wire, depth)?),
            }
        }
        (Kind::Map, Some(elem)) => {
            let mut reader = Reader::new(wire.bytes(name)?);
            let (mut key, mut item) = (String::new(), None);
            while let Some((number, wire)) = reader.field()? {
                match number {
                    1 => key = String::from_utf8_lossy(wire.bytes(name)?).into_owned(),
                    2 => item = Some(value(elem, name, wire, depth)?),
                    _ => {}
                }
            }
            let item = item.unwrap_or_else(|| crate::decode::zero_item(elem));
            let entries = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entries) = entries {
                entries.insert(key, item);
            }
        }
        _ => {
            let value = value(ty, name, wire, depth)?;
            if value.is_null() {
                map.remove(name);
            } else {
                map.insert(name.to_string(), value);
            }
        }
    }
    Ok(())
}

fn value(ty: Type<'_>, name: &str, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match ty.kind() {
        Kind::String => String::from_utf8_lossy(wire.bytes(name)?).into(),
        Kind::Bytes => crate::go::base64::encode(wire.bytes(name)?).into(),
        Kind::Boolean => (wire.integer(name)? != 0).into(),
        Kind::Int32 => (wire.integer(name)? as i32).into(),
        Kind::Int64 => wire.integer(name)?.into(),
        Kind::Double => double(wire.double(name)?),
        Kind::Struct => message(ty, wire.bytes(name)?, depth + 1)?.into(),
        Kind::Quantity => {
            let text = first(wire.bytes(name)?)?;
            let text = String::from_utf8_lossy(text);
            if text.is_empty() { "0".into() } else { Quantity::parse(&text)?.to_string().into() }
        }
        Kind::Time => instant(wire.bytes(name)?)?.map_or(Value::Null, |at| time::format(at).into()),
        Kind::MicroTime => instant(wire.bytes(name)?)?.map_or(Value::Null, |at| time::format_micro(at).into()),
        Kind::Duration => {
            let mut reader = Reader::new(wire.bytes(name)?);
            let mut nanos = 0;
            while let Some((_, wire)) = reader.field()? {
                nanos = wire.integer(name)?;
            }
            duration::format(nanos).into()
        }
        Kind::IntOrString => int_or_string(wire.bytes(name)?)?,
        Kind::Raw | Kind::Fields | Kind::Any => embedded(first(wire.bytes(name)?)?, depth)?,
        Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings => schema_or(ty, wire.bytes(name)?, depth)?,
        // A list in a map or list is a message with the items in its first field.
        Kind::List => {
            let elem = ty.elem().expect("a list has items");
            let mut reader = Reader::new(wire.bytes(name)?);
            let mut items = Vec::new();
            while let Some((_, wire)) = reader.field()? {
                items.push(value(elem, name, wire, depth + 1)?);
            }
            Value::Array(items)
        }
        Kind::Map => Value::Null,
    })
}

/// The first field of a message, as bytes; empty if absent.
fn first(bytes: &[u8]) -> Result<&[u8], ProtobufError> {
    let mut reader = Reader::new(bytes);
    let mut found: &[u8] = b"";
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            found = wire.bytes("raw")?;
        }
    }
    Ok(found)
}

fn instant(bytes: &[u8]) -> Result<Option<Timestamp>, ProtobufError> {
    let (mut seconds, mut nanos) = (None, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => seconds = Some(wire.integer("seconds")?),
            2 => nanos = wire.integer("nanos")?,
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(None) };
    let nanos = i32::try_from(nanos).unwrap_or(0);
    Timestamp::new(seconds, nanos).map(Some).map_err(|_| ProtobufError::Overflow)
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut kind, mut number, mut text) = (0, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((place, wire)) = reader.field()? {
        match place {
            1 => kind = wire.integer("type")?,
            2 => number = wire.integer("intVal")?,
            3 => text = String::from_utf8_lossy(wire.bytes("strVal")?).into_owned(),
            _ => {}
        }
    }
    Ok(if kind == 1 { text.into() } else { (number as i32).into() })
}

/// An object in a `RawExtension`: JSON, or protobuf with its envelope.
fn embedded(bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    if bytes.starts_with(&PREFIX) {
        let known = super::Envelope::read(bytes).ok().and_then(|envelope| {
            let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", envelope.api_version));
            let schema = crate::schema::Schema::of(group, version, envelope.kind)?;
            Some((envelope, schema))
        });
        if let Some((envelope, schema)) = known {
            return Ok(envelope.object(&schema, depth + 1)?.into_value());
        }
    }
    match crate::decode::decode_untyped(bytes, crate::decode::Format::Json) {
        Ok(value) if depth + nesting(&value) > NESTING_MAX => Err(ProtobufError::TooDeep),
        Ok(value) => Ok(value),
        Err(_) => Ok(crate::go::base64::encode(bytes).into()),
    }
}

fn schema_or(ty: Type<'_>, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let mut reader = Reader::new(bytes);
    let (mut schema, mut allows, mut items) = (None, false, Vec::new());
    let schema_place = if ty.kind() == Kind::SchemaOrBool { 2 } else { 1 };
    while let Some((number, wire)) = reader.field()? {
        if number == schema_place {
            schema = Some(Value::Object(message(ty.inner(), wire.bytes("schema")?, depth + 1)?));
        } else if ty.kind() == Kind::SchemaOrBool {
            allows = wire.integer("allows")? != 0;
        } else if ty.kind() == Kind::SchemaOrArray {
            items.push(Value::Object(message(ty.inner(), wire.bytes("schemas")?, depth + 1)?));
        } else {
            items.push(String::from_utf8_lossy(wire.bytes("property")?).into());
        }
    }
    Ok(match (schema, ty.kind()) {
        (Some(schema), _) => schema,
        (None, Kind::SchemaOrBool) => allows.into(),
        (None, _) => Value::Array(items),
    })
}
