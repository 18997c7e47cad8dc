//! JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

use super::PatchError;

/// Merges `patch` into `object`: null removes, maps merge, everything else replaces.
///
/// # Errors
/// If the patch is no JSON object.
pub fn apply(object: &mut Map<String, Value>, patch: Value) -> Result<(), PatchError> {
    match patch {
        Value::Object(patch) => {
            merge(object, patch);
            Ok(())
        }
        _ => Err(PatchError::Malformed("Invalid JSON Patch".to_string())),
    }
}

fn merge(object: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, mut value) in patch {
        if value.is_null() {
            object.remove(&key);
            continue;
        }
        match (object.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(patch)) => merge(below, patch),
            (Some(Value::Null) | None, new) => {
                value = new;
                prune(&mut value);
                object.insert(key, value);
            }
            (Some(Value::Object(_)), new) => {
                object.insert(key, new);
            }
            (Some(old), new) => {
                *old = new;
                prune(old);
            }
        }
    }
}

/// Removes nulls from maps at any depth; nulls in lists stay.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(object: Value, patch: Value, expect: Value) {
        let Value::Object(mut map) = object else { panic!("no object") };
        apply(&mut map, patch.clone()).unwrap();
        assert_eq!(Value::Object(map), expect, "{patch}");
    }

    #[test]
    fn merges() {
        check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}));
        check(json!({"a": "b"}), json!({"a": null}), json!({}));
        check(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}));
        check(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]}));
        check(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}));
        check(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}));
        check(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}));
        check(json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}));
        check(json!({}), json!({"a": [null, {"b": null}]}), json!({"a": [null, {}]}));
        check(json!({"a": {"x": 1}}), json!({"a": [{"b": null}]}), json!({"a": [{"b": null}]}));
    }

    #[test]
    fn a_patch_is_an_object() {
        let error = apply(&mut Map::new(), json!([])).unwrap_err();
        assert_eq!(error.to_string(), "Invalid JSON Patch");
    }
}
