//! The definitions of custom resources in the OpenAPI documents, published and withdrawn live.

use std::collections::HashMap;

use http::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::custom_resources::{Definition, anything, definitions};
use crate::plane::{Plane, eventually};

/// The name of a test on what is published.
macro_rules! publish {
    ($rest:literal) => {
        concat!("[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] ", $rest, " [Conformance]")
    };
}

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test(publish!("works for CRD with validation schema"), with_schema),
        test(publish!("works for CRD without validation schema"), |plane| preserving(plane, "plain", anything())),
        test(publish!("works for CRD preserving unknown fields at the schema root"), |plane| {
            let fields = json!({"known": {"type": "object"}, "status": {"type": "object"}});
            preserving(
                plane,
                "root",
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": fields, "description": "preserve-unknown-properties at root for Testing"}),
            )
        }),
        test(publish!("works for CRD preserving unknown fields in an embedded object"), |plane| {
            let field = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "description": "Specification of Waldo"});
            preserving(plane, "nested", json!({"type": "object", "properties": {"spec": field}}))
        }),
        test(publish!("works for multiple CRDs of different groups"), |plane| several(plane, Several::Groups)),
        test(publish!("works for multiple CRDs of same group but different versions"), |plane| {
            several(plane, Several::Versions)
        }),
        test(publish!("works for multiple CRDs of same group and version but different kinds"), |plane| {
            several(plane, Several::Kinds)
        }),
        test(publish!("updates the published spec when one version gets renamed"), renamed),
        test(publish!("removes definition from spec when one version gets changed to not be served"), unserved),
    ]
}

fn waldo() -> Value {
    let bars = json!({"type": "array", "description": "List of Bars and their specs.", "items": {"type": "object",
        "required": ["name"], "properties": {"name": {"type": "string", "description": "Name of Bar."},
            "age": {"type": "string"}, "feeling": {"type": "string", "enum": ["Great", "Down"]}}}});
    json!({"type": "object", "description": "Foo CRD for Testing", "properties": {
        "spec": {"type": "object", "description": "Specification of Foo", "properties": {"bars": bars}},
        "status": {"type": "object", "description": "Status of Foo"}}})
}

/// The second version's document, of which only the definitions are looked at.
#[derive(serde::Deserialize)]
struct Document {
    definitions: HashMap<String, Box<RawValue>>,
}

/// The name of a kind's definition in the documents.
fn name_of(definition: &Definition, version: &str) -> String {
    let group: Vec<&str> = definition.group().rsplit('.').collect();
    let kind = definition.object["spec"]["names"]["kind"].as_str().expect("a kind");
    format!("{}.{version}.{kind}", group.join("."))
}

/// The schema of a kind in the second version's document; none if it is not there.
async fn published(plane: &Plane, definition: &Definition, version: &str) -> Option<Value> {
    let bytes = plane.bytes("/openapi/v2").await;
    let document: Document = serde_json::from_slice(&bytes).expect("a document");
    let found = document.definitions.get(&name_of(definition, version))?;
    let schema: Value = serde_json::from_str(found.get()).expect("a schema");
    let kind = &definition.object["spec"]["names"]["kind"];
    let tag = json!([{"group": definition.group(), "version": version, "kind": kind}]);
    assert_eq!(schema["x-kubernetes-group-version-kind"], tag);
    Some(schema)
}

/// Waits until a version is in both documents, or in neither.
async fn until_published(plane: &Plane, definition: &Definition, version: &str, there: bool) {
    let path = format!("/openapi/v3/apis/{}/{version}", definition.group());
    eventually("the document to follow the definition", async || {
        let document = plane.request(Method::GET, &path, None).await.body;
        let schema = &document["components"]["schemas"][name_of(definition, version)];
        schema.is_object() == there
    })
    .await;
    assert_eq!(published(plane, definition, version).await.is_some(), there, "{version} of {}", definition.name());
}

async fn with_schema(plane: Plane) {
    let definition = Definition::new(&plane, "schema", &[("v1", waldo())]).create().await;
    until_published(&plane, &definition, "v1", true).await;
    let schema = published(&plane, &definition, "v1").await.expect("it is published");
    assert_eq!(schema["description"], "Foo CRD for Testing");
    let bars = &schema["properties"]["spec"]["properties"]["bars"];
    assert_eq!(bars["description"], "List of Bars and their specs.");
    assert_eq!(bars["items"]["required"], json!(["name"]));
    assert!(schema["properties"]["metadata"].is_object() && schema["properties"]["kind"].is_object());
    let three = plane.get(&format!("/openapi/v3/apis/{}/v1", definition.group())).await;
    assert!(three["components"]["schemas"].as_object().is_some_and(|all| all.keys().any(|k| k.ends_with(".v1.Foo"))));
    let objects = definition.objects("v1");
    let good = definition.object("v1", "one", json!({"spec": {"bars": [{"name": "b"}]}}));
    objects.create(good).await;
    let bad = definition.object("v1", "two", json!({"spec": {"bars": [{"age": "10"}]}}));
    objects.try_create(&bad).await.refused(422, "spec.bars[0].name: Required value");
    let bad = definition.object("v1", "two", json!({"spec": {"bars": [{"name": "b", "feeling": "NonExistent"}]}}));
    objects
        .try_create(&bad)
        .await
        .refused(422, r#"Unsupported value: "NonExistent": supported values: "Great", "Down""#);
    let path = format!("/apis/{}/v1/namespaces/{}/foos?fieldValidation=Strict", definition.group(), plane.namespace());
    let unknown = definition.object("v1", "two", json!({"spec": {"foo": true}}));
    plane.request(Method::POST, &path, Some(&unknown)).await.refused(400, r#"unknown field "spec.foo""#);
    definition.delete().await;
}

/// Unknown fields are kept, and the document says that they may be there.
async fn preserving(plane: Plane, group: &str, schema: Value) {
    let definition = Definition::new(&plane, group, &[("v1", schema)]).create().await;
    until_published(&plane, &definition, "v1", true).await;
    let schema = published(&plane, &definition, "v1").await.expect("it is published");
    assert_eq!(schema["type"], "object");
    let spec = json!({"spec": {"a": null, "b": [{"c": "d"}]}});
    let path = format!("/apis/{}/v1/namespaces/{}/foos?fieldValidation=Strict", definition.group(), plane.namespace());
    let object = definition.object("v1", "one", spec);
    let made = plane.request(Method::POST, &path, Some(&object)).await.ok();
    assert_eq!(made["spec"]["b"], json!([{"c": "d"}]));
    definition.delete().await;
}

#[derive(Clone, Copy)]
enum Several {
    Groups,
    Versions,
    Kinds,
}

async fn several(plane: Plane, which: Several) {
    let two = match which {
        Several::Groups => {
            vec![Definition::new(&plane, "one", &[("v1", waldo())]), Definition::new(&plane, "two", &[("v1", waldo())])]
        }
        Several::Versions => vec![Definition::new(&plane, "versions", &[("v2", waldo()), ("v3", waldo())])],
        Several::Kinds => vec![
            Definition::new(&plane, "kinds", &[("v4", waldo())]),
            Definition::new(&plane, "kinds", &[("v4", waldo())]).named("bars", "Bar"),
        ],
    };
    let mut made = Vec::new();
    for definition in two {
        made.push(definition.create().await);
    }
    for definition in &made {
        for version in definition.object["spec"]["versions"].as_array().expect("versions") {
            until_published(&plane, definition, version["name"].as_str().expect("a name"), true).await;
        }
    }
    for definition in made {
        definition.delete().await;
    }
}

async fn renamed(plane: Plane) {
    let definition = Definition::new(&plane, "renamed", &[("v2", waldo()), ("v3", waldo())]).create().await;
    until_published(&plane, &definition, "v3", true).await;
    let patch = json!([{"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]);
    definitions(&plane).try_patch(definition.name(), "application/json-patch+json", &patch).await.ok();
    until_published(&plane, &definition, "v4", true).await;
    until_published(&plane, &definition, "v3", false).await;
    until_published(&plane, &definition, "v2", true).await;
    definition.delete().await;
}

async fn unserved(plane: Plane) {
    let definition = Definition::new(&plane, "unserved", &[("v5", waldo()), ("v6alpha1", waldo())]).create().await;
    until_published(&plane, &definition, "v6alpha1", true).await;
    let patch = json!([{"op": "replace", "path": "/spec/versions/1/served", "value": false}]);
    definitions(&plane).try_patch(definition.name(), "application/json-patch+json", &patch).await.ok();
    until_published(&plane, &definition, "v6alpha1", false).await;
    until_published(&plane, &definition, "v5", true).await;
    assert_eq!(definition.objects("v6alpha1").try_get("one").await.code, 404);
    definition.delete().await;
}
