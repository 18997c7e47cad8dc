//! The metadata of a converted object: it is the one before, but for its labels and annotations.

use api::Object;
use api::field::Path;
use api::validation::metadata::{validate_annotations, validate_labels};
use serde_json::{Map, Value};

/// A text of an object.
type Text = fn(&Object) -> &str;

/// Checks that it is still the same object (`validateConvertedObject`).
///
/// # Errors
/// What has changed.
pub(super) fn same_object(original: &Object, converted: &Object) -> Result<(), String> {
    let fields: [(&str, Text); 4] =
        [("kind", Object::kind), ("name", Object::name), ("namespace", Object::namespace), ("UID", Object::uid)];
    for (name, of) in fields {
        let (before, after) = (of(original), of(converted));
        if before != after {
            return Err(format!("must have the same {name}: {before} != {after}"));
        }
    }
    Ok(())
}

/// Puts the metadata of the original back, with the labels and annotations of the converted object (`restoreObjectMeta`).
///
/// # Errors
/// If these are none, or no good.
pub(super) fn restore(original: &Object, converted: &mut Object) -> Result<(), String> {
    let given = converted.0.remove("metadata").ok_or_else(|| "missing metadata in converted object".to_string())?;
    let Value::Object(mut given) = given else {
        return Err(format!("invalid metadata of type {} in converted object", go_type(&given)));
    };
    let mut metadata = match original.0.get("metadata") {
        Some(Value::Object(metadata)) => metadata.clone(),
        _ => Map::new(),
    };
    for field in ["labels", "annotations"] {
        let new = match given.remove(field) {
            None | Some(Value::Null) => {
                metadata.remove(field);
                continue;
            }
            Some(Value::Object(new)) => new,
            Some(other) => {
                return Err(format!("invalid metadata.{field} of type {} in converted object", go_type(&other)));
            }
        };
        if let Some((key, value)) = new.iter().find(|(_, value)| !value.is_string()) {
            let found = go_type(value);
            return Err(format!("metadata.{field}[{key}] must be a string, but is {found} in converted object"));
        }
        let is_same = metadata.get(field).and_then(Value::as_object) == Some(&new);
        if !is_same {
            check(field, &new)?;
        }
        metadata.insert(field.into(), Value::Object(new));
    }
    converted.0.insert("metadata".into(), Value::Object(metadata));
    Ok(())
}

fn check(field: &str, new: &Map<String, Value>) -> Result<(), String> {
    let errors = match field {
        "labels" => validate_labels(Some(new), &Path::new("metadata.labels")),
        // The reference names it so.
        _ => validate_annotations(Some(new), &Path::new("metadata.annotation")),
    };
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

/// What Go calls the type of a JSON value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(metadata: Value) -> Object {
        Object::from_value(json!({"kind": "K", "metadata": metadata})).unwrap()
    }

    #[test]
    fn only_labels_and_annotations_change() {
        let original = object(json!({"name": "a", "uid": "u", "labels": {"x": "y"}, "finalizers": ["f"]}));
        let cases = [
            (json!({"labels": {"z": "w"}, "finalizers": []}), json!({"z": "w"}), Value::Null),
            (json!({"annotations": {"a": "b"}}), Value::Null, json!({"a": "b"})),
            (json!({"labels": null}), Value::Null, Value::Null),
        ];
        for (given, labels, annotations) in cases {
            let mut converted = object(given);
            restore(&original, &mut converted).unwrap();
            let at = |name: &str| converted.at(&["metadata", name]).cloned().unwrap_or(Value::Null);
            assert_eq!((at("labels"), at("annotations")), (labels, annotations));
            assert_eq!((at("finalizers"), at("name"), at("uid")), (json!(["f"]), "a".into(), "u".into()));
        }
        for (given, why) in [
            (json!({"labels": {"x": 1}}), "metadata.labels[x] must be a string, but is int64 in converted object"),
            (json!({"labels": []}), "invalid metadata.labels of type []interface {} in converted object"),
            (json!("m"), "invalid metadata of type string in converted object"),
        ] {
            assert_eq!(restore(&original, &mut object(given)).unwrap_err(), why);
        }
        let bad = restore(&original, &mut object(json!({"labels": {"-": "x"}}))).unwrap_err();
        assert!(bad.starts_with("metadata.labels: Invalid value: \"-\": "), "{bad}");
        // What was there before is not looked at.
        let odd = object(json!({"labels": {"-": "x"}}));
        assert_eq!(restore(&odd, &mut object(json!({"labels": {"-": "x"}}))), Ok(()));
    }

    #[test]
    fn it_stays_the_same_object() {
        let original = object(json!({"name": "a", "namespace": "n", "uid": "u"}));
        assert_eq!(same_object(&original, &original.clone()), Ok(()));
        for (field, why) in [
            ("name", "must have the same name: a != z"),
            ("namespace", "must have the same namespace: n != z"),
            ("uid", "must have the same UID: u != z"),
        ] {
            let mut changed = original.clone();
            changed.set(&["metadata", field], "z");
            assert_eq!(same_object(&original, &changed).unwrap_err(), why);
        }
    }
}
