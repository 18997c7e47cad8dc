//! The part of an OpenAPI document of version 2 that is of one group and version (`FilterSpecByPaths` in kube-openapi).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// What refers to a definition begins so.
pub(super) const DEFINITIONS: &str = "#/definitions/";

/// Why there is no such part.
#[derive(Debug, thiserror::Error)]
#[error("the OpenAPI document cannot be read: {0}")]
pub(crate) struct PartError(String);

/// Paths below `prefix`, definitions and parameters of a document, as JSON. Definitions that only other paths use are left out.
///
/// # Errors
/// [`PartError`] if it is none.
pub(crate) fn part(document: &[u8], prefix: &str) -> Result<Vec<u8>, PartError> {
    let whole: Value = serde_json::from_slice(document).map_err(|error| PartError(error.to_string()))?;
    let Value::Object(mut whole) = whole else { return Err(PartError("it is no object".into())) };
    let mut take = |name: &str| match whole.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(PartError(format!("{name} is no object"))),
    };
    let (mut paths, mut definitions, parameters) = (take("paths")?, take("definitions")?, take("parameters")?);
    let used = |paths: &Map<String, Value>| {
        let mut used = BTreeSet::new();
        for value in paths.values().chain(definitions.values()).chain(parameters.values()) {
            references(value, &mut |reference| {
                if let Some(name) = reference.strip_prefix(DEFINITIONS) {
                    used.insert(name.to_string());
                }
            });
        }
        used
    };
    let before = used(&paths);
    paths.retain(|path, _| path.starts_with(prefix));
    let after = used(&paths);
    definitions.retain(|name, _| after.contains(name) || !before.contains(name));
    let part = json!({"paths": paths, "definitions": definitions, "parameters": parameters});
    serde_json::to_vec(&part).map_err(|error| PartError(error.to_string()))
}

/// Calls `found` with every reference.
pub(super) fn references(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(reference) if name == "$ref" => found(reference),
                    value => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str) -> Value {
        json!({"schema": {"$ref": format!("{DEFINITIONS}{name}")}})
    }

    #[test]
    fn what_other_paths_need_is_left_out() {
        let document = json!({
            "swagger": "2.0", "info": {"title": "x"},
            "paths": {"/apis/a/v1/": {"get": reference("List")}, "/apis/a/v1/things": {"get": reference("Thing")},
                "/apis/a/v10/things": {"get": reference("Other")}, "/version": {"get": reference("Version")}},
            "definitions": {"List": {}, "Thing": {"properties": {"x": reference("Inner")}}, "Inner": {}, "Other": {},
                "Version": {"properties": {"y": reference("Deep")}}, "Deep": {}, "Free": {}},
            "parameters": {"p": {"name": "p"}},
        });
        let found = part(document.to_string().as_bytes(), "/apis/a/v1/").unwrap();
        let found: Value = serde_json::from_slice(&found).unwrap();
        let names = |field: &str| found[field].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(names("paths"), "/apis/a/v1/ /apis/a/v1/things");
        // What is used by a definition only is not looked into further, as in the reference.
        assert_eq!(names("definitions"), "Deep Free Inner List Thing");
        assert_eq!(names("parameters"), "p");
    }

    #[test]
    fn nonsense_is_an_error() {
        for (document, why) in [
            ("", "EOF while parsing"),
            ("[]", "it is no object"),
            (r#"{"paths": 1}"#, "paths is no object"),
            (r#"{"definitions": []}"#, "definitions is no object"),
        ] {
            let error = part(document.as_bytes(), "/").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let found = part(br#"{"paths": null}"#, "/").unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&found).unwrap()["paths"], json!({}));
    }
}
