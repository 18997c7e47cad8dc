//! Strict field validation of custom resources.

use http::Method;
use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::custom_resources::{Definition, anything};
use crate::plane::{Answer, Plane};

const APPLY: &str = "application/apply-patch+yaml";

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test(
            "[sig-api-machinery] FieldValidation should create/apply a CR with unknown fields for CRD with no \
             validation schema [Conformance]",
            without_schema,
        ),
        test(
            "[sig-api-machinery] FieldValidation should create/apply a valid CR for CRD with validation schema \
             [Conformance]",
            valid,
        ),
        test(
            "[sig-api-machinery] FieldValidation should create/apply an invalid CR with extra properties for CRD with \
             validation schema [Conformance]",
            extra,
        ),
        test(
            "[sig-api-machinery] FieldValidation should detect duplicates in a CR when preserving unknown fields \
             [Conformance]",
            duplicates,
        ),
        test(
            "[sig-api-machinery] FieldValidation should detect unknown metadata fields in both the root and embedded \
             object of a CR [Conformance]",
            metadata,
        ),
    ]
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "foo": {"type": "string"}, "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
            "items": {"type": "object", "required": ["containerPort", "protocol"], "properties": {
                "containerPort": {"type": "integer", "format": "int32"}, "hostPort": {"type": "integer"},
                "protocol": {"type": "string"}, "name": {"type": "string"}}}}}}}})
}

async fn apply(plane: &Plane, definition: &Definition, name: &str, object: &Value) -> Answer {
    let path = format!("{}/{name}?fieldManager=test&fieldValidation=Strict", path(plane, definition));
    plane.request_of(Method::PATCH, &path, APPLY, Some(object)).await
}

fn path(plane: &Plane, definition: &Definition) -> String {
    format!("/apis/{}/v1/namespaces/{}/foos", definition.group(), plane.namespace())
}

async fn without_schema(plane: Plane) {
    let definition = Definition::new(&plane, "free", &[("v1", anything())]).create().await;
    let unknown = json!({"spec": {"replicas": 3, "whatever": {"x": [1]}}, "more": "x"});
    let object = definition.object("v1", "one", unknown);
    let made = apply(&plane, &definition, "one", &object).await.ok();
    assert_eq!(made["spec"]["whatever"]["x"], json!([1]));
    assert_eq!(made["more"], "x");
    definition.delete().await;
}

async fn valid(plane: Plane) {
    let definition = Definition::new(&plane, "valid", &[("v1", schema())]).create().await;
    let spec = json!({"spec": {"cronSpec": "* * * * */5", "foo": "foo1",
        "ports": [{"name": "x", "containerPort": 8080, "protocol": "TCP"}]}});
    let object = definition.object("v1", "one", spec);
    apply(&plane, &definition, "one", &object).await.ok();
    definition.delete().await;
}

async fn extra(plane: Plane) {
    let definition = Definition::new(&plane, "extra", &[("v1", schema())]).create().await;
    let spec = json!({"spec": {"cronSpec": "* * * * */5", "extraProperty": "arbitrary-value",
        "ports": [{"name": "x", "containerPort": 8080, "protocol": "TCP"}]}});
    let object = definition.object("v1", "one", spec);
    let answer = apply(&plane, &definition, "one", &object).await;
    assert!(answer.code >= 400, "{}", answer.body);
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(message.contains(".spec.extraProperty: field not declared in schema"), "{message}");
    definition.delete().await;
}

async fn duplicates(plane: Plane) {
    let definition = Definition::new(&plane, "twice", &[("v1", anything())]).create().await;
    let text = format!(
        r#"{{"apiVersion": "{}/v1", "kind": "Foo", "metadata": {{"name": "one"}}, "spec": {{"unknown": "x", "foo": "a", "foo": "b"}}}}"#,
        definition.group()
    );
    let path = format!("{}?fieldValidation=Strict", path(&plane, &definition));
    let answer = plane.raw(Method::POST, &path, "application/json", text.clone().into_bytes()).await;
    answer.refused(400, r#"strict decoding error: duplicate field "spec.foo""#);
    let yaml = format!(
        "apiVersion: {}/v1\nkind: Foo\nmetadata:\n  name: one\nspec:\n  unknown: x\n  foo: a\n  foo: b\n",
        definition.group()
    );
    let answer = plane.raw(Method::POST, &path, "application/yaml", yaml.into_bytes()).await;
    answer.refused(400, r#"key "foo" already set in map"#);
    definition.delete().await;
}

async fn metadata(plane: Plane) {
    let embedded = json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "embedded": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}});
    let definition = Definition::new(&plane, "meta", &[("v1", embedded)]).create().await;
    let mut object = definition.object(
        "v1",
        "one",
        json!({"spec": {"foo": "a"}, "embedded": {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "my-pod", "unknownSubMeta": "x"}}}),
    );
    object["metadata"]["unknownMeta"] = json!("x");
    let path = format!("{}?fieldValidation=Strict", path(&plane, &definition));
    let answer = plane.request(Method::POST, &path, Some(&object)).await;
    answer.clone().refused(400, r#"unknown field "metadata.unknownMeta""#);
    answer.refused(400, r#"unknown field "embedded.metadata.unknownSubMeta""#);
    definition.delete().await;
}
