//! One object as a JSON tree that lives for one request, and its stored encoding.

use bytes::{BufMut, Bytes};
use serde_json::{Map, Value};

use crate::json;

/// Values nested deeper than this are not kept. What is stored is read back, here and by clients, with parsers that
/// allow 128 levels, and lists wrap it in two more.
pub const NESTING_MAX: usize = 120;
/// A Kubernetes object. Keys are kept sorted; the encoding puts the kind, the version and `metadata` first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object(pub Map<String, Value>);

/// How many arrays and objects are nested in a value at most; the value itself counts.
pub(crate) fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}

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

    /// The stored bytes, without the `metadata.resourceVersion`, which the store's revision is. Of a built-in kind they
    /// are in the order of the reference's structs; of another `apiVersion`, `kind` and `metadata` come first, then the
    /// rest in order of name. [`splice_resource_version`] puts the version back.
    pub fn encode(&self) -> Bytes {
        let ty = json::stated_type(&self.0);
        let head: [(&[u8], &str); 2] = match ty {
            Some(_) => [(b"{\"kind\":", "kind"), (b",\"apiVersion\":", "apiVersion")],
            None => [(b"{\"apiVersion\":", "apiVersion"), (b",\"kind\":", "kind")],
        };
        let mut out = Vec::with_capacity(ENCODED_BYTES);
        for (opening, name) in head {
            out.extend_from_slice(opening);
            json::plain(&mut out, self.0.get(name).unwrap_or(&Value::Null));
        }
        out.extend_from_slice(b",\"metadata\":{");
        let empty = Map::new();
        let metadata = self.0.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
        let of_metadata = ty.and_then(|ty| ty.child("metadata"));
        json::write_members(&mut out, metadata.iter().filter(|(name, _)| *name != "resourceVersion"), of_metadata);
        out.push(b'}');
        let rest = self.0.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
        json::write_members(&mut out, rest, ty);
        out.push(b'}');
        // These bytes are kept: spare capacity would be, too.
        Bytes::copy_from_slice(&out)
    }
}

/// How long most encoded objects are at most.
const ENCODED_BYTES: usize = 4 << 10;

const METADATA: &[u8] = b"\"metadata\":{";

/// What comes before the version in the metadata of a built-in kind (`metav1.ObjectMeta`).
const BEFORE_VERSION: [&[u8]; 5] =
    [b"\"name\":\"", b"\"generateName\":\"", b"\"namespace\":\"", b"\"selfLink\":\"", b"\"uid\":\""];

/// Where the fields of `metadata` begin in bytes made by [`Object::encode`].
pub fn metadata_offset(encoded: &[u8]) -> usize {
    let at = memchr::memmem::find(encoded, METADATA).expect("encoded objects have metadata");
    at + METADATA.len()
}

/// Where the version goes in bytes whose metadata begins at `start`.
fn version_offset(encoded: &[u8], start: usize) -> usize {
    let mut at = start;
    if !encoded.starts_with(b"{\"kind\":") {
        return at;
    }
    for name in BEFORE_VERSION {
        let after = at + usize::from(at > start && encoded[at] == b',');
        if encoded[after..].starts_with(name) {
            at = after + name.len();
            at += json::string_end(&encoded[at..]);
        }
    }
    at
}

/// Appends bytes made by [`Object::encode`] to `out` with `metadata.resourceVersion` put in.
pub fn splice_resource_version(encoded: &[u8], revision: u64, out: &mut Vec<u8>) {
    let start = metadata_offset(encoded);
    out.extend_from_slice(&encoded[..start]);
    splice_metadata(encoded, start, revision, out);
}

/// Appends what comes from the fields of metadata on, which begin at `start`, with the version put in.
pub fn splice_metadata(encoded: &[u8], start: usize, revision: u64, out: &mut impl BufMut) {
    let rest = begin_metadata(encoded, start, revision, out);
    out.put_slice(&encoded[rest..]);
}

/// Appends the fields of metadata, which begin at `start`, as far as the version, which is put in; says where what is
/// left begins.
pub fn begin_metadata(encoded: &[u8], start: usize, revision: u64, out: &mut impl BufMut) -> usize {
    let at = version_offset(encoded, start);
    let mut number = itoa::Buffer::new();
    let before: &[u8] = if at > start { b",\"resourceVersion\":\"" } else { b"\"resourceVersion\":\"" };
    let after: &[u8] = if matches!(encoded[at], b'}' | b',') { b"\"" } else { b"\"," };
    for part in [&encoded[start..at], before, number.format(revision).as_bytes(), after] {
        out.put_slice(part);
    }
    at
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
            json!({"kind": "A", "apiVersion": "a/v1", "data": {"metadata": {}}, "metadata": {"name": "x", "resourceVersion": "3"}}),
            r#"{"apiVersion":"a/v1","kind":"A","metadata":{"name":"x"},"data":{"metadata":{}}}"#,
            r#"{"apiVersion":"a/v1","kind":"A","metadata":{"resourceVersion":"7","name":"x"},"data":{"metadata":{}}}"#,
        );
        check(
            json!({"kind": "A", "apiVersion": "a/v1"}),
            r#"{"apiVersion":"a/v1","kind":"A","metadata":{}}"#,
            r#"{"apiVersion":"a/v1","kind":"A","metadata":{"resourceVersion":"7"}}"#,
        );
    }

    #[test]
    fn built_in_kinds_are_in_the_order_of_their_structs() {
        check(
            json!({"kind": "Secret", "apiVersion": "v1", "type": "t", "data": {"b": "", "a": ""}, "metadata":
                {"resourceVersion": "3", "labels": {"uid": "x"}, "uid": "u\"", "namespace": "n", "name": "x"}}),
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","namespace":"n","uid":"u\"","labels":{"uid":"x"}},"data":{"a":"","b":""},"type":"t"}"#,
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","namespace":"n","uid":"u\"","resourceVersion":"7","labels":{"uid":"x"}},"data":{"a":"","b":""},"type":"t"}"#,
        );
        check(
            json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"labels": {}}}),
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"labels":{}}}"#,
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"resourceVersion":"7","labels":{}}}"#,
        );
        check(
            json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}),
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x"}}"#,
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","resourceVersion":"7"}}"#,
        );
        check(
            json!({"kind": "Secret", "apiVersion": "v1"}),
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{}}"#,
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"resourceVersion":"7"}}"#,
        );
    }
}
