//! Tests of the documents.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Builtin, dangling, v2_document, v3_document, v3_hash, v3_index};
use crate::Object;
use crate::catalogue::Catalogue;

fn parsed(document: &[u8]) -> Value {
    serde_json::from_slice(document).unwrap()
}

#[track_caller]
fn check(document: &Value, pointer: &str, expected: Value) {
    assert_eq!(document.pointer(pointer), Some(&expected), "{pointer}");
}

#[test]
fn version_3_is_whole_and_says_how_to_merge() {
    let catalogue = Catalogue::builtin();
    let index = v3_index(&catalogue);
    assert!(index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().contains("?hash="));
    let core = parsed(&v3_document(&catalogue, "", "v1").unwrap());
    let schemas = core["components"]["schemas"].as_object().unwrap();
    assert_eq!(dangling(&core, "#/components/schemas/", schemas).len(), 0);
    let containers = "/components/schemas/io.k8s.api.core.v1.PodSpec/properties/containers";
    check(&core, &format!("{containers}/x-kubernetes-patch-merge-key"), json!("name"));
    check(&core, &format!("{containers}/x-kubernetes-list-map-keys"), json!(["name"]));
    check(&core, &format!("{containers}/items/$ref"), json!("#/components/schemas/io.k8s.api.core.v1.Container"));
    let description = core.pointer(&format!("{containers}/description")).and_then(Value::as_str).unwrap();
    assert!(description.contains("containers"), "{description}");
    let patch = "/paths/~1api~1v1~1namespaces~1{namespace}~1pods~1{name}/patch";
    check(&core, &format!("{patch}/operationId"), json!("patchCoreV1NamespacedPod"));
    check(
        &core,
        &format!("{patch}/x-kubernetes-group-version-kind"),
        json!({"group": "", "version": "v1", "kind": "Pod"}),
    );
    let parameters = core.pointer(&format!("{patch}/parameters")).unwrap().as_array().unwrap();
    assert!(parameters.iter().any(|p| p["name"] == "fieldValidation"));
    check(
        &core,
        "/components/schemas/io.k8s.api.core.v1.Pod/x-kubernetes-group-version-kind",
        json!([{"group": "", "version": "v1", "kind": "Pod"}]),
    );
    assert!(v3_document(&catalogue, "apps", "v2").is_none());
}

#[test]
fn every_definition_of_version_2_is_there_and_has_prose() {
    let catalogue = Catalogue::builtin();
    let document = parsed(&v2_document(&catalogue, &Builtin::write()));
    let definitions = document["definitions"].as_object().unwrap();
    assert_eq!(dangling(&document, "#/definitions/", definitions).len(), 0);
    let (mut fields, mut silent) = (0, Vec::new());
    for (name, definition) in definitions {
        for (field, schema) in definition["properties"].as_object().into_iter().flatten() {
            fields += 1;
            if schema.get("description").is_none() {
                silent.push(format!("{name}.{field}"));
            }
        }
    }
    assert!(fields > 2000 && silent.len() * 50 < fields, "{} of {fields}: {silent:?}", silent.len());
}

#[test]
fn custom_resources_are_in_the_documents() {
    let catalogue = |kind: &str| {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "description": "what is wanted", "properties": {"n": {"type": kind, "minimum": 1}}}}});
        let definition = json!({"spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
        let rows = crate::crd::rows(&Object(definition.as_object().unwrap().clone())).unwrap();
        Catalogue::builtin().with(rows.into_iter().map(Arc::new))
    };
    let document = parsed(&v3_document(&catalogue("integer"), "stable.example.com", "v1").unwrap());
    check(
        &document,
        "/components/schemas/com.example.stable.v1.Foo/properties/spec",
        json!({"type": "object",
        "description": "what is wanted", "properties": {"n": {"type": "integer", "minimum": 1}}}),
    );
    let path = "/paths/~1apis~1stable.example.com~1v1~1namespaces~1{namespace}~1foos";
    check(&document, &format!("{path}/get/operationId"), json!("listStableExampleComV1NamespacedFoo"));
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert_eq!(dangling(&document, "#/components/schemas/", schemas).len(), 0);
    let hash = |kind: &str| v3_hash(&catalogue(kind), "stable.example.com", "v1").unwrap();
    assert_eq!(hash("integer"), hash("integer"));
    assert_ne!(hash("integer"), hash("string"));
}
