//! Lists that must be sets or maps, and what an update leaves as it was.

use serde_json::{Map, Value};

use super::node::{Additional, Node};
use crate::Object;
use crate::field::{ErrorList, FieldError, Path};

/// Repeated items of sets and repeated keys of maps (`listtype.ValidateListSetsAndMaps`).
pub(super) fn validate(schema: &Node, object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    fields(schema, &object.0, &Path::root(), &mut errors);
    errors
}

fn visit(schema: &Node, value: &Value, path: &Path, errors: &mut ErrorList) {
    match value {
        Value::Object(map) => fields(schema, map, path, errors),
        Value::Array(items) => {
            match schema.list_type.as_str() {
                "set" => repeated(items.iter().cloned(), path, errors),
                "map" => keys(schema, items, path, errors),
                _ => {}
            }
            let Some(below) = &schema.items else { return };
            for (i, item) in items.iter().enumerate().filter(|(_, v)| v.is_object() || v.is_array()) {
                visit(below, item, &path.index(i), errors);
            }
        }
        _ => {}
    }
}

fn fields(schema: &Node, map: &Map<String, Value>, path: &Path, errors: &mut ErrorList) {
    for (name, value) in map.iter().filter(|(_, value)| value.is_object() || value.is_array()) {
        match (schema.properties.get(name), &schema.additional) {
            (Some(below), _) => visit(below, value, &path.child(name), errors),
            (None, Additional::Schema(below)) => visit(below, value, &path.key(name), errors),
            _ => {}
        }
    }
}

fn keys(schema: &Node, items: &[Value], path: &Path, errors: &mut ErrorList) {
    if let Some((i, item)) = items.iter().enumerate().find(|(_, v)| !v.is_object() && !v.is_null()) {
        let why = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(&path.index(i), item.clone(), why));
        return;
    }
    let key = |item: &Value| {
        let fields = schema.map_keys.iter().filter_map(|k| item.get(k).map(|v| (k.clone(), v.clone())));
        Value::Object(fields.collect::<Map<_, _>>())
    };
    repeated(items.iter().map(key), path, errors);
}

/// The second of equal items is an error; a third is not told of.
fn repeated(items: impl Iterator<Item = Value>, path: &Path, errors: &mut ErrorList) {
    let mut seen: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for (i, item) in items.enumerate() {
        let times = seen.entry(item.to_string()).or_insert(0);
        *times += 1;
        if *times == 2 {
            errors.push(FieldError::duplicate(&path.index(i), item));
        }
    }
}

/// Whether the value at an error's path is what it was: an update need not mend it (validation ratcheting).
/// Values inside lists cannot be told to be the same, but the lists.
pub(super) fn unchanged(path: &Path, object: &Object, old: &Object) -> bool {
    let text = path.as_str();
    if text.is_empty() || text.contains('<') {
        return false;
    }
    if let Some((parent, _)) = text.split_once('[') {
        return unchanged(&Path::new(parent), object, old);
    }
    fn at<'o>(object: &'o Object, text: &str) -> Option<&'o Value> {
        let mut names = text.split('.');
        let first = object.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }
    match (at(object, text), at(old, text)) {
        (Some(new), Some(old)) if new == old => true,
        // A field that is required and absent is as it was if the map around it is.
        _ => text.rsplit_once('.').is_some_and(|(parent, _)| unchanged(&Path::new(parent), object, old)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sets_and_maps() {
        let schema = Node::new(&json!({"type": "object", "properties": {
            "s": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": {"type": "object"}}}}));
        let value = json!({"s": ["a", "b", "a", "a"], "m": [{"n": 1}, {"n": 2, "x": 1}, {"n": 2}]});
        let object = Object::from_value(value).unwrap();
        let texts: Vec<String> = validate(&schema, &object).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["m[2]: Duplicate value: {\"n\":2}", "s[2]: Duplicate value: \"a\""]);
    }
}
