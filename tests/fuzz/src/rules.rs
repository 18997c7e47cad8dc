//! Definitions of custom resources with rules and patterns of any kind: both validating the definition and
//! validating an object by it end, within what the fuzzer allows of time and memory.

use api::{Object, catalogue, crd};
use serde_json::{Value, json};

/// A rule, and after a newline a pattern, a format and an object.
pub fn cel(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let rule = lines.next().unwrap_or("");
    let pattern = lines.next().unwrap_or("^[a-z]*$");
    let spec: Value =
        lines.next().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(json!({"a": "x", "n": 3}));
    let definition = definition(rule, pattern);
    let errors = crd::validate(&definition, None);
    let Ok(rows) = catalogue::custom::rows(&definition) else { return };
    if !errors.is_empty() {
        return;
    }
    let object = |spec: Value| {
        let metadata = json!({"name": "w"});
        Object::from_value(json!({"apiVersion": "f.example/v1", "kind": "W", "metadata": metadata, "spec": spec}))
    };
    let (new, old) = (object(spec.clone()).expect("an object"), object(json!({"a": "y", "n": 1})).expect("an object"));
    let version = rows[0].definition.as_ref().expect("it comes from a definition");
    let validate = || {
        let mut warnings = Vec::new();
        let errors = version.validate(&new, Some(&old), &mut warnings, &mut |evaluate| evaluate());
        (errors.iter().map(ToString::to_string).collect::<Vec<String>>(), warnings)
    };
    assert_eq!(validate(), validate(), "{rule}");
}

fn definition(rule: &str, pattern: &str) -> Object {
    let spec = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
        "a": {"type": "string", "maxLength": 64, "pattern": pattern},
        "n": {"type": "integer"},
        "l": {"type": "array", "maxItems": 32, "items": {"type": "string", "maxLength": 64}},
        "m": {"type": "object", "maxProperties": 32, "additionalProperties": {"type": "integer"}},
        "f": {"type": "string", "format": "uuid4"}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    let names = json!({"plural": "ws", "singular": "w", "kind": "W", "listKind": "WList"});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ws.f.example"},
        "status": {"storedVersions": ["v1"]}, "spec": {"group": "f.example", "scope": "Namespaced", "names": names, "versions": [version]}});
    Object::from_value(definition).expect("an object")
}
