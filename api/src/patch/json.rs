//! JSON patch (RFC 6902) as evanphx/json-patch applies it: `replace` on an absent key adds, and negative indexes
//! count from the end.

use serde_json::{Map, Value};

use super::{PatchError, json_kind};
use crate::go::json::cannot_unmarshal;
use crate::go::strconv;
use crate::object::NESTING_MAX;

/// Most operations in one patch (`maxJSONPatchOperations`).
pub const OPERATIONS_MAX: usize = 10_000;
/// Most bytes that the copies of one patch may add up to, by their JSON size (`JSONPatchMaxCopyBytes`); keeps a patch
/// from growing an object without end.
pub const COPIED_BYTES_MAX: usize = 3 << 20;
/// Most items of lists that one patch may move by its insertions and removals, so that many operations on a long
/// list end.
const STEPS_MAX: usize = 100_000_000;
/// Looking at a value takes as long as moving so many.
const STEPS_PER_VALUE: usize = 16;

/// The places that a patch opens, as nested maps: all on the way to its paths. What it copies or moves is a text there,
/// which says where it comes from: it is put in as it was.
pub fn opened(patch: &Value) -> Value {
    let mut root = Map::new();
    for operation in patch.as_array().into_iter().flatten() {
        let text = |name: &str| operation.get(name).and_then(Value::as_str);
        for (path, is_target) in [("from", false), ("path", true)] {
            let Some(path) = text(path) else { continue };
            let (way, last) = path.rsplit_once('/').unwrap_or(("", ""));
            let place = open(&mut root, way);
            match text("from").filter(|_| is_target && matches!(text("op"), Some("copy" | "move"))) {
                Some(from) => _ = place.insert(unescape(last), from.into()),
                None if place.get(&unescape(last)).is_some_and(Value::is_string) => _ = place.remove(&unescape(last)),
                None => {}
            }
        }
    }
    Value::Object(root)
}

fn open<'m>(root: &'m mut Map<String, Value>, way: &str) -> &'m mut Map<String, Value> {
    let mut place = root;
    for part in way.split('/').skip(1) {
        let below = place.entry(unescape(part)).or_insert(Value::Null);
        if !below.is_object() {
            *below = Value::Object(Map::new());
        }
        place = below.as_object_mut().expect("made above");
    }
    place
}

/// Applies a patch.
///
/// # Errors
/// If the patch is malformed, too long, or one of its operations does not apply; the object is then half patched.
pub fn apply(object: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let operations = decode(patch)?;
    let mut spent = Spent::default();
    for operation in operations {
        apply_one(object, operation, &mut spent).map_err(PatchError::DoesNotApply)?;
    }
    Ok(())
}

/// What the operations of a patch have used up.
#[derive(Default)]
struct Spent {
    copied: usize,
    steps: usize,
}

impl Spent {
    fn copy(&mut self, value: &Value) -> Result<(), String> {
        self.copied += value.to_string().len();
        if self.copied <= COPIED_BYTES_MAX {
            return Ok(());
        }
        Err(format!(
            "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {COPIED_BYTES_MAX}",
            self.copied
        ))
    }

    fn steps(&mut self, steps: usize) -> Result<(), String> {
        self.steps += steps;
        if self.steps > STEPS_MAX { Err("the patch takes too many steps".to_string()) } else { Ok(()) }
    }

    /// Keeps what is put at a path from nesting too deeply.
    fn nest(&mut self, path: &str, value: &Value) -> Result<(), String> {
        let (mut steps, mut deepest, mut level) = (0, 0, vec![value]);
        while !level.is_empty() {
            steps += level.len();
            deepest += 1;
            level = level.into_iter().flat_map(children).collect();
        }
        self.steps(steps * STEPS_PER_VALUE)?;
        let nesting = path.matches('/').count() + deepest;
        if nesting > NESTING_MAX { Err("exceeded max depth".to_string()) } else { Ok(()) }
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn decode(patch: &Value) -> Result<Vec<&Map<String, Value>>, PatchError> {
    let go_type = |what: &str, ty: &str| Err(PatchError::Malformed(cannot_unmarshal(what, ty)));
    let items = match patch {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        other => return go_type(json_kind(other), "jsonpatch.Patch"),
    };
    if items.len() > OPERATIONS_MAX {
        let length = items.len();
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {length}"
        )));
    }
    let mut operations = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Value::Object(operation) => operations.push(operation),
            other => return go_type(json_kind(other), "jsonpatch.Operation"),
        }
    }
    Ok(operations)
}

fn apply_one(object: &mut Value, operation: &Map<String, Value>, spent: &mut Spent) -> Result<(), String> {
    let kind = operation.get("op").and_then(Value::as_str).unwrap_or("unknown");
    let text = |name: &str| {
        let missing = || format!("{kind} operation failed to decode {name}: missing value");
        operation.get(name).and_then(Value::as_str).ok_or_else(missing)
    };
    let value = operation.get("value").cloned().unwrap_or(Value::Null);
    match kind {
        "add" => {
            let path = text("path")?;
            spent.nest(path, &value)?;
            let (place, key) = find(object, path).ok_or_else(|| no_path(kind, "path", path))?;
            spent.steps(shifted(place))?;
            add(place, &key, value).map_err(|e| in_path(kind, path, &e))
        }
        "remove" => {
            let path = text("path")?;
            let (place, key) = find(object, path).ok_or_else(|| no_path(kind, "path", path))?;
            spent.steps(shifted(place))?;
            remove(place, &key).map(|_| ()).map_err(|e| in_path(kind, path, &e))
        }
        "replace" => {
            let path = text("path")?;
            spent.nest(path, &value)?;
            replace(object, path, value)
        }
        "move" => {
            let (from, path) = (text("from")?, text("path")?);
            let (place, key) = find(object, from).ok_or_else(|| no_path(kind, "from path", from))?;
            spent.steps(shifted(place))?;
            let value = remove(place, &key).map_err(|e| in_path(kind, &key, &e))?;
            spent.nest(path, &value)?;
            let (place, key) = find(object, path).ok_or_else(|| no_path(kind, "destination path", path))?;
            spent.steps(shifted(place))?;
            add(place, &key, value).map_err(|e| in_path(kind, path, &e))
        }
        "copy" => {
            let (from, path) = (text("from")?, text("path")?);
            let (place, key) = find(object, from).ok_or_else(|| no_path(kind, "from path", from))?;
            let value = get(place, &key).map_err(|e| in_path(kind, from, &e))?.cloned().unwrap_or(Value::Null);
            spent.copy(&value)?;
            spent.nest(path, &value)?;
            let (place, key) = find(object, path).ok_or_else(|| no_path(kind, "destination path", path))?;
            spent.steps(shifted(place))?;
            add(place, &key, value).map_err(|e| format!("error while adding value during copy: {e}"))
        }
        "test" => test(object, text("path")?, &value),
        other => Err(format!("Unexpected kind: {other}")),
    }
}

/// How many items an insertion or a removal may have to move.
fn shifted(place: &Value) -> usize {
    place.as_array().map_or(0, Vec::len)
}

fn no_path(kind: &str, what: &str, path: &str) -> String {
    // Only these two put the path in quotes.
    let quote = if matches!(kind, "add" | "remove") { "\"" } else { "" };
    format!("{kind} operation does not apply: doc is missing {what}: {quote}{path}{quote}: missing value")
}

fn in_path(kind: &str, path: &str, why: &str) -> String {
    format!("error in {kind} for path: '{path}': {why}")
}

fn replace(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err("replace operation value must be object or array".into());
        }
        *object = value;
        return Ok(());
    }
    let (place, key) = find(object, path).ok_or_else(|| no_path("replace", "path", path))?;
    match place {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(items) => {
            let index = index(&key, items.len())
                .map_err(|_| format!("replace operation does not apply: doc is missing key: {path}: missing value"))?;
            items[index] = value;
        }
        _ => return Err(no_path("replace", "path", path)),
    }
    Ok(())
}

fn test(object: &mut Value, path: &str, value: &Value) -> Result<(), String> {
    let equal = if path.is_empty() {
        object == value
    } else {
        let (place, key) = find(object, path)
            .ok_or_else(|| format!("test operation does not apply: is missing path: {path}: missing value"))?;
        get(place, &key).map_err(|e| in_path("test", path, &e))?.unwrap_or(&Value::Null) == value
    };
    if equal { Ok(()) } else { Err(format!("testing value {path} failed: test failed")) }
}

/// The map or list that holds the last part of a path, and that part.
fn find<'a>(object: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (way, last) = path.rsplit_once('/')?;
    let mut place = object;
    for part in way.split('/').skip(1) {
        let part = unescape(part);
        place = match place {
            Value::Object(map) => map.get_mut(&part)?,
            Value::Array(items) => {
                let index = index(&part, items.len()).ok()?;
                &mut items[index]
            }
            _ => return None,
        };
    }
    (place.is_object() || place.is_array()).then(|| (place, unescape(last)))
}

fn unescape(part: &str) -> String {
    if part.contains('~') { part.replace("~1", "/").replace("~0", "~") } else { part.to_string() }
}

fn index(key: &str, length: usize) -> Result<usize, String> {
    let number = strconv::atoi(key)?;
    let found = if number < 0 { number + length as i64 } else { number };
    match usize::try_from(found) {
        Ok(index) if index < length => Ok(index),
        _ => Err(format!("Unable to access invalid index: {number}: invalid index referenced")),
    }
}

fn get<'a>(place: &'a Value, key: &str) -> Result<Option<&'a Value>, String> {
    match place {
        Value::Array(items) => Ok(Some(&items[index(key, items.len())?])),
        other => Ok(other.get(key)),
    }
}

fn add(place: &mut Value, key: &str, value: Value) -> Result<(), String> {
    match place {
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(key, items.len() + 1)?;
            items.insert(at, value);
        }
        Value::Object(map) => {
            map.insert(key.to_string(), value);
        }
        _ => return Err("missing value".into()),
    }
    Ok(())
}

fn remove(place: &mut Value, key: &str) -> Result<Value, String> {
    match place {
        Value::Array(items) => {
            let at = index(key, items.len())?;
            Ok(items.remove(at))
        }
        Value::Object(map) => {
            map.remove(key).ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value"))
        }
        _ => Err("missing value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(mut object: Value, patch: Value, expect: Value) {
        apply(&mut object, &patch).unwrap_or_else(|e| panic!("{patch}: {e}"));
        assert_eq!(object, expect, "{patch}");
    }

    #[test]
    fn operations() {
        check(json!({}), json!([{"op": "add", "path": "/a", "value": 1}]), json!({"a": 1}));
        check(json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), json!({"a": [1, 2, 3]}));
        check(json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), json!({"a": [1, 2]}));
        check(json!({"a": [1, 2]}), json!([{"op": "replace", "path": "/a/-1", "value": 5}]), json!({"a": [1, 5]}));
        check(json!({"a": 1}), json!([{"op": "remove", "path": "/a"}]), json!({}));
        check(json!({}), json!([{"op": "replace", "path": "/a", "value": 1}]), json!({"a": 1}));
        check(json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), json!({"b": 1}));
        check(json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1}));
        check(json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 1}]), json!({"a": 1}));
        check(json!({}), json!([{"op": "test", "path": "/a", "value": null}]), json!({}));
        check(json!({"a/b": {"c~d": 1}}), json!([{"op": "remove", "path": "/a~1b/c~0d"}]), json!({"a/b": {}}));
        check(json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {"b": 2}}]), json!({"b": 2}));
        check(json!({"a": 1}), Value::Null, json!({"a": 1}));
    }

    /// Operations on `{"a": {}, "l": [0, 0, …]}`, repeated; the error.
    fn check_hostile(operations: Value, times: usize, expect: &str) {
        let mut object = json!({"a": {}, "l": vec![0; 400_000]});
        let operations = operations.as_array().unwrap();
        let patch: Vec<Value> = operations.iter().cycle().take(times * operations.len()).cloned().collect();
        let error = apply(&mut object, &Value::Array(patch)).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }

    #[test]
    fn patches_that_grow_without_end_are_refused() {
        let deep = "exceeded max depth";
        check_hostile(json!([{"op": "copy", "from": "/a", "path": "/a/a"}]), 10_000, deep);
        check_hostile(
            json!([{"op": "move", "from": "/a", "path": "/b"}, {"op": "add", "path": "/a", "value": {}},
            {"op": "move", "from": "/b", "path": "/a/b"}]),
            3_000,
            deep,
        );
        let path = "/a".repeat(130);
        check_hostile(json!([{"op": "add", "path": path, "value": 1}]), 1, deep);
        let copied = "Unable to complete the copy, the accumulated size increase of copy is 3200004, exceeding the limit 3145728";
        check_hostile(json!([{"op": "copy", "from": "/l", "path": "/m"}]), 10, copied);
        let steps = "the patch takes too many steps";
        check_hostile(json!([{"op": "add", "path": "/l/0", "value": 1}]), 10_000, steps);
        check_hostile(json!([{"op": "move", "from": "/l", "path": "/l"}]), 10_000, steps);
    }

    fn check_error(patch: Value, expect: &str, code: u16) {
        let error = apply(&mut json!({"a": [1], "s": "x"}), &patch).unwrap_err();
        assert_eq!(error.to_string(), expect);
        assert_eq!(Status::from(error).code, code);
    }
    use crate::Status;

    #[test]
    fn errors() {
        check_error(json!({}), "json: cannot unmarshal object into Go value of type jsonpatch.Patch", 400);
        check_error(json!([1]), "json: cannot unmarshal number into Go value of type jsonpatch.Operation", 400);
        check_error(json!([{"op": "x", "path": "/a"}]), "Unexpected kind: x", 422);
        check_error(json!([{"op": "test", "path": "/a", "value": 2}]), "testing value /a failed: test failed", 422);
        let nested = json!([{"op": "add", "path": "/x/y", "value": 2}]);
        check_error(nested, "add operation does not apply: doc is missing path: \"/x/y\": missing value", 422);
        let gone = "error in remove for path: '/z': Unable to remove nonexistent key: z: missing value";
        check_error(json!([{"op": "remove", "path": "/z"}]), gone, 422);
        let outside = "error in add for path: '/a/3': Unable to access invalid index: 3: invalid index referenced";
        check_error(json!([{"op": "add", "path": "/a/3", "value": 1}]), outside, 422);
        let many = Value::Array(vec![json!({"op": "add", "path": "/b", "value": 1}); 10_001]);
        check_error(many, "The allowed maximum operations in a JSON patch is 10000, got 10001", 413);
    }
}
