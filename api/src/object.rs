//! One object as a JSON tree that lives for one request, and its stored encoding.

use bytes::Bytes;
use serde_json::{Map, Value};

/// A Kubernetes object. Keys are kept sorted; the encoding puts `apiVersion`, `kind` and `metadata` first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object(pub Map<String, Value>);

impl Object {
    /// Wraps a JSON value, if it is an object.
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self(map)),
            _ => None,
        }
    }

    /// Parses bytes made by [`Object::encode`] or any JSON object.
    ///
    /// # Errors
    /// Those of `serde_json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes).map(Self)
    }

    /// The JSON value.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The value at a path of field names.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, name| value.get(name))
    }

    /// The string at a path of field names; empty if absent or not a string.
    pub fn str_at(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or("")
    }

    /// Sets the value at a path of field names, making maps on the way (and replacing what is no map).
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let (last, way) = path.split_last().expect("a path has at least one name");
        let mut map = &mut self.0;
        for name in way {
            let next = map.entry(*name).or_insert_with(|| Value::Object(Map::new()));
            if !next.is_object() {
                *next = Value::Object(Map::new());
            }
            map = next.as_object_mut().expect("made a map");
        }
        map.insert((*last).to_string(), value.into());
    }

    /// Removes and returns the value at a path of field names.
    pub fn remove(&mut self, path: &[&str]) -> Option<Value> {
        let (last, way) = path.split_last()?;
        let mut map = &mut self.0;
        for name in way {
            map = map.get_mut(*name)?.as_object_mut()?;
        }
        map.remove(*last)
    }

    /// `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.str_at(&["apiVersion"])
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.str_at(&["kind"])
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.str_at(&["metadata", "name"])
    }

    /// `metadata.namespace`; empty for a cluster-scoped object.
    pub fn namespace(&self) -> &str {
        self.str_at(&["metadata", "namespace"])
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.str_at(&["metadata", "uid"])
    }

    /// `metadata.resourceVersion`.
    pub fn resource_version(&self) -> &str {
        self.str_at(&["metadata", "resourceVersion"])
    }

    /// `metadata`, made if absent.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        let metadata = self.0.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if !metadata.is_object() {
            *metadata = Value::Object(Map::new());
        }
        metadata.as_object_mut().expect("made a map")
    }

    /// The stored bytes: `apiVersion`, `kind`, `metadata` (without its `resourceVersion`, which the store's
    /// revision is), then the rest in order of name. [`splice_resource_version`] puts the version back.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(ENCODED_BYTES);
        out.extend_from_slice(b"{\"apiVersion\":");
        write(&mut out, self.0.get("apiVersion").unwrap_or(&Value::Null));
        out.extend_from_slice(b",\"kind\":");
        write(&mut out, self.0.get("kind").unwrap_or(&Value::Null));
        out.extend_from_slice(b",\"metadata\":{");
        let empty = Map::new();
        let metadata = self.0.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
        let fields = metadata.iter().filter(|(name, _)| *name != "resourceVersion");
        write_fields(&mut out, fields, true);
        out.push(b'}');
        let rest = self.0.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
        write_fields(&mut out, rest, false);
        out.push(b'}');
        // These bytes are kept: spare capacity would be, too.
        Bytes::copy_from_slice(&out)
    }
}

/// How long most encoded objects are at most.
const ENCODED_BYTES: usize = 4 << 10;

const METADATA: &[u8] = b"\"metadata\":{";

/// Where the fields of `metadata` begin in bytes made by [`Object::encode`].
pub fn metadata_offset(encoded: &[u8]) -> usize {
    let at = memchr::memmem::find(encoded, METADATA).expect("encoded objects have metadata");
    at + METADATA.len()
}

/// Appends bytes made by [`Object::encode`] to `out` with `metadata.resourceVersion` put in.
pub fn splice_resource_version(encoded: &[u8], revision: u64, out: &mut Vec<u8>) {
    use std::io::Write;
    let at = metadata_offset(encoded);
    out.extend_from_slice(&encoded[..at]);
    write!(out, "\"resourceVersion\":\"{revision}\"").expect("a Vec takes every write");
    if encoded[at] != b'}' {
        out.push(b',');
    }
    out.extend_from_slice(&encoded[at..]);
}

fn write(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("a Vec takes every write");
}

fn write_fields<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a String, &'a Value)>, mut first: bool) {
    for (name, value) in fields {
        if !first {
            out.push(b',');
        }
        first = false;
        serde_json::to_writer(&mut *out, name).expect("a Vec takes every write");
        out.push(b':');
        write(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(object: Value, encoded: &str, spliced: &str) {
        let object = Object::from_value(object).unwrap();
        let bytes = object.encode();
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), encoded);
        let mut out = Vec::new();
        splice_resource_version(&bytes, 7, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), spliced);
    }

    #[test]
    fn encoding_puts_metadata_early_and_the_version_back() {
        check(
            json!({"kind": "A", "apiVersion": "v1", "data": {"metadata": {}}, "metadata": {"name": "x", "resourceVersion": "3"}}),
            r#"{"apiVersion":"v1","kind":"A","metadata":{"name":"x"},"data":{"metadata":{}}}"#,
            r#"{"apiVersion":"v1","kind":"A","metadata":{"resourceVersion":"7","name":"x"},"data":{"metadata":{}}}"#,
        );
        check(
            json!({"kind": "A", "apiVersion": "v1"}),
            r#"{"apiVersion":"v1","kind":"A","metadata":{}}"#,
            r#"{"apiVersion":"v1","kind":"A","metadata":{"resourceVersion":"7"}}"#,
        );
    }
}
