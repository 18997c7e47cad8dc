//! Protobuf (`application/vnd.kubernetes.protobuf`), driven by the field numbers of the schema: an envelope that
//! states the kind, and in it the message. Custom resources have no protobuf form.

mod read;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use serde_json::Value;
pub(crate) use wire::{put_bytes, put_double, put_varint};

use crate::Object;
use crate::decode::{DecodeError, Decoded, Target, stated_target};
use crate::object::{NESTING_MAX, nesting};
use crate::schema::Schema;
use wire::{Reader, put_message};

/// What every body begins with.
const PREFIX: [u8; 4] = *b"k8s\0";

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The envelope's first bytes are missing.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoPrefix,
    /// The bytes end in the middle.
    #[error("unexpected EOF")]
    Truncated,
    /// A tag has a number or type that does not exist.
    #[error("proto: illegal tag or wire type")]
    IllegalTag,
    /// A field has another wire type than the schema says.
    #[error("proto: wrong wireType for field {0}")]
    WrongType(String),
    /// A number is longer than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A quantity is none.
    #[error(transparent)]
    Quantity(#[from] crate::quantity::QuantityError),
    /// Messages are nested too deeply.
    #[error("proto: exceeded max depth")]
    TooDeep,
}

/// An object with its envelope. The schema is the one of the object's kind.
pub fn encode(object: &Object, schema: &Schema) -> Vec<u8> {
    let raw = write::message(schema.root(), &object.0);
    envelope(object.api_version(), object.kind(), &raw)
}

/// The message of a value alone.
pub fn encode_message(value: &Value, schema: &Schema) -> Vec<u8> {
    value.as_object().map_or(Vec::new(), |map| write::message(schema.root(), map))
}

/// Reads an object with its envelope, whose schema the caller knows.
///
/// # Errors
/// [`ProtobufError`].
pub fn decode(bytes: &[u8], schema: &Schema) -> Result<Object, ProtobufError> {
    Envelope::read(bytes)?.object(schema, 0)
}

/// Reads an object with its envelope that is of a built-in kind; none if it is not, or is no message.
pub fn decode_any(bytes: &[u8]) -> Option<Object> {
    let envelope = Envelope::read(bytes).ok()?;
    let (group, version) = envelope.api_version.rsplit_once('/').unwrap_or(("", envelope.api_version));
    let schema = Schema::of(group, version, envelope.kind)?;
    envelope.object(&schema, 0).ok()
}

/// One frame of a watch in protobuf: the length in four bytes, then a `WatchEvent` around the encoded object.
pub fn watch_frame(event: &str, object: &[u8]) -> Vec<u8> {
    let mut extension = Vec::with_capacity(object.len() + 8);
    put_bytes(&mut extension, 1, object);
    let mut message = Vec::with_capacity(extension.len() + 24);
    put_bytes(&mut message, 1, event.as_bytes());
    put_message(&mut message, 2, &extension);
    let length = u32::try_from(message.len()).expect("an object is far below four gigabytes");
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

/// The body of a request.
pub(crate) fn decode_body(body: &[u8], target: &Target) -> Result<Decoded, DecodeError> {
    let unrecognized = |why: ProtobufError| DecodeError::Unrecognized {
        expected: target.kind.clone(),
        why: why.to_string(),
        summary: crate::decode::summary(body),
    };
    let envelope = Envelope::read(body).map_err(unrecognized)?;
    let stated = (envelope.api_version.to_string(), envelope.kind.to_string());
    let (kind, api_version) = stated_target(stated, target, body)?;
    let version = api_version.rsplit('/').next().unwrap_or("").to_string();
    let malformed = |why: ProtobufError| DecodeError::Malformed {
        kind: kind.clone(),
        version: version.clone(),
        expected: target.kind.clone(),
        why: why.to_string(),
    };
    let map = read::message(target.schema.root(), envelope.raw, 0).map_err(malformed)?;
    // A list of messages is one level in protobuf and two in JSON.
    if 1 + map.values().map(nesting).max().unwrap_or(0) > NESTING_MAX {
        return Err(malformed(ProtobufError::TooDeep));
    }
    let mut object = Object(map);
    object.0.insert("apiVersion".to_string(), api_version.into());
    object.0.insert("kind".to_string(), kind.into());
    Ok(Decoded { object, warnings: Vec::new() })
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut types = Vec::with_capacity(64);
    put_bytes(&mut types, 1, api_version.as_bytes());
    put_bytes(&mut types, 2, kind.as_bytes());
    let mut out = Vec::with_capacity(raw.len() + types.len() + 24);
    out.extend(PREFIX);
    put_message(&mut out, 1, &types);
    put_bytes(&mut out, 2, raw);
    put_bytes(&mut out, 3, b"");
    put_bytes(&mut out, 4, b"");
    out
}

/// `runtime.Unknown`.
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// The object in it, which may itself be so deep in another.
    fn object(&self, schema: &Schema, depth: usize) -> Result<Object, ProtobufError> {
        let mut map = read::message(schema.root(), self.raw, depth)?;
        for (name, text) in [("apiVersion", self.api_version), ("kind", self.kind)] {
            if !text.is_empty() {
                map.insert(name.to_string(), text.into());
            }
        }
        Ok(Object(map))
    }

    fn read(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        let rest = bytes.strip_prefix(&PREFIX).ok_or(ProtobufError::NoPrefix)?;
        let mut envelope = Self { api_version: "", kind: "", raw: b"" };
        let mut reader = Reader::new(rest);
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => {
                    let mut types = Reader::new(value.bytes("typeMeta")?);
                    while let Some((number, value)) = types.field()? {
                        match number {
                            1 => envelope.api_version = value.text("apiVersion")?,
                            2 => envelope.kind = value.text("kind")?,
                            _ => {}
                        }
                    }
                }
                2 => envelope.raw = value.bytes("raw")?,
                _ => {}
            }
        }
        Ok(envelope)
    }
}
