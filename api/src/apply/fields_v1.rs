//! `FieldsV1`: the JSON form of a set (`f:` fields, `k:` keys, `v:` values, `i:` places, `.` the thing itself).

use serde_json::{Map, Value};

use super::set::{Node, PathElement, Set};
use crate::json;

/// Deepest nesting that is read; an object cannot be deeper.
const DEPTH_MAX: usize = 128;

/// The JSON form of a set.
pub fn encode(set: &Set) -> Value {
    let mut map = Map::new();
    for node in &set.nodes {
        let mut below = match encode(&node.below) {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        if node.member && !below.is_empty() {
            below.insert(".".into(), Value::Object(Map::new()));
        }
        map.insert(element_text(&node.element), Value::Object(below));
    }
    Value::Object(map)
}

/// The set of a JSON form; nothing if it is malformed.
pub fn decode(fields: &Value) -> Option<Set> {
    decode_at(fields, 0).map(|(set, _)| set)
}

/// A set, and whether the thing itself (`.`) is in it.
fn decode_at(fields: &Value, depth: usize) -> Option<(Set, bool)> {
    let map = fields.as_object().filter(|_| depth <= DEPTH_MAX)?;
    let mut set = Set { nodes: Vec::with_capacity(map.len()) };
    let mut itself = false;
    for (text, below) in map {
        if text == "." {
            itself = true;
            continue;
        }
        let element = parse_element(text)?;
        let leaf = below.as_object()?.is_empty();
        let (below, member) = if leaf { (Set::default(), true) } else { decode_at(below, depth + 1)? };
        if member || !below.is_empty() {
            set.nodes.push(Node { element, member, below });
        }
    }
    // Fields come sorted in JSON; keys and values may not be in the order of elements.
    if !set.nodes.is_sorted_by(|a, b| a.element < b.element) {
        set.sort();
    }
    Some((set, itself))
}

fn element_text(element: &PathElement) -> String {
    match element {
        PathElement::Field(name) => ["f:", name].concat(),
        PathElement::Key(keys) => key_text(keys),
        PathElement::Value(value) => format!("v:{}", json::to_text(value)),
        PathElement::Index(index) => format!("i:{index}"),
    }
}

/// The keys are in order of name, as they would be in a map.
fn key_text(keys: &[(Box<str>, Value)]) -> String {
    let mut text = b"k:".to_vec();
    for (place, (name, value)) in keys.iter().enumerate() {
        text.push(if place == 0 { b'{' } else { b',' });
        serde_json::to_writer(&mut text, name).expect("a Vec takes every write");
        text.push(b':');
        json::plain(&mut text, value);
    }
    text.extend_from_slice(if keys.is_empty() { b"{}" } else { b"}" });
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn parse_element(text: &str) -> Option<PathElement> {
    let (kind, rest) = (text.get(..2)?, text.get(2..)?);
    match kind {
        "f:" => Some(PathElement::field(rest)),
        "v:" => serde_json::from_str(rest).ok().map(PathElement::Value),
        "i:" => rest.parse().ok().map(PathElement::Index),
        "k:" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
            Some(PathElement::Key(keys.into_iter().map(|(k, v)| (k.into(), v)).collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(encode(&decode(&value).unwrap()), value);
    }

    #[test]
    fn round_trips() {
        check("{}");
        check(r#"{"f:data":{".":{},"f:a":{}}}"#);
        check(r#"{"f:a":{"k:{\"name\":\"x\"}":{".":{},"f:b":{}}}}"#);
        check(r#"{"f:p":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{}}}"#);
        check(r#"{"f:f":{"v:\"a\"":{},"v:1":{},"v:true":{}},"f:i":{"i:0":{}}}"#);
        assert_eq!(decode(&serde_json::json!({"x:y": {}})), None);
        assert_eq!(decode(&serde_json::json!({"f:y": 1})), None);
    }
}
