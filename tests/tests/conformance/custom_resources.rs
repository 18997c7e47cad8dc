//! Custom resource definitions and their objects: life, status, defaults, discovery, watches, selectable fields.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, condition};
use crate::resource::Resource;

const DEFINITIONS: &str = "apiextensions.k8s.io/v1";

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test(
            "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple \
             CustomResourceDefinition creating/deleting custom resource definition objects works [Conformance]",
            create_and_delete,
        ),
        test(
            "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple \
             CustomResourceDefinition listing custom resource definition objects works [Conformance]",
            listing,
        ),
        test(
            "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple \
             CustomResourceDefinition getting/updating/patching custom resource definition status sub-resource works \
             [Conformance]",
            status,
        ),
        test(
            "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom \
             resource definition resources in discovery documents [Conformance]",
            in_discovery,
        ),
        test(
            "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] custom resource \
             defaulting for requests and from storage works [Conformance]",
            defaulting,
        ),
        test(
            "[sig-api-machinery] CustomResourceDefinition Watch [Privileged:ClusterAdmin] CustomResourceDefinition \
             Watch watch on custom resource definition objects [Conformance]",
            watching,
        ),
        test(
            "[sig-api-machinery] CustomResourceFieldSelectors [Privileged:ClusterAdmin] CustomResourceFieldSelectors \
             MUST list and watch custom resources matching the field selector [Conformance]",
            field_selectors,
        ),
    ]
}

/// A definition with a group of the test's own.
pub(crate) struct Definition {
    plane: Plane,
    /// The definition as it is created.
    pub object: Value,
}

impl Definition {
    /// A definition of the kind `Foo` with versions that have these schemas; the first is stored.
    pub(crate) fn new(plane: &Plane, group: &str, versions: &[(&str, Value)]) -> Self {
        let group = format!("{group}.{}.example.com", plane.namespace());
        let version = |(i, (name, schema)): (usize, &(&str, Value))| json!({"name": name, "served": true, "storage": i == 0, "schema": {"openAPIV3Schema": schema}});
        let versions: Vec<Value> = versions.iter().enumerate().map(version).collect();
        let names = json!({"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"});
        let object = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("foos.{group}")},
            "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
        });
        Self { plane: plane.clone(), object }
    }

    /// The same with other names.
    pub(crate) fn named(mut self, plural: &str, kind: &str) -> Self {
        self.object["metadata"]["name"] = json!(format!("{plural}.{}", self.group()));
        self.object["spec"]["names"] = json!({
            "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
        });
        self
    }

    /// Creates it, and waits until its objects are served.
    pub(crate) async fn create(self) -> Self {
        definitions(&self.plane).create(self.object.clone()).await;
        let served = |d: &Value| condition(d, "Established")["status"] == "True";
        definitions(&self.plane).until(self.name(), "it is established", served).await;
        self
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().expect("a name")
    }

    /// Its group.
    pub(crate) fn group(&self) -> &str {
        self.object["spec"]["group"].as_str().expect("a group")
    }

    /// Its objects in the test's namespace.
    pub(crate) fn objects(&self, version: &str) -> Resource {
        let plural = self.object["spec"]["names"]["plural"].as_str().expect("a plural");
        self.plane.of(&format!("{}/{version}", self.group()), plural)
    }

    /// An object.
    pub(crate) fn object(&self, version: &str, name: &str, rest: Value) -> Value {
        let kind = &self.object["spec"]["names"]["kind"];
        let mut object = json!({
            "apiVersion": format!("{}/{version}", self.group()), "kind": kind, "metadata": {"name": name},
        });
        for (field, value) in rest.as_object().expect("an object") {
            object[field] = value.clone();
        }
        object
    }

    /// Deletes it, and waits until it is gone.
    pub(crate) async fn delete(self) {
        definitions(&self.plane).delete(self.name()).await;
        definitions(&self.plane).until_gone(self.name()).await;
    }
}

/// The resource of definitions.
pub(crate) fn definitions(plane: &Plane) -> Resource {
    plane.wide(DEFINITIONS, "customresourcedefinitions")
}

/// A schema that keeps everything.
pub(crate) fn anything() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

async fn create_and_delete(plane: Plane) {
    let definition = Definition::new(&plane, "simple", &[("v1", anything())]).create().await;
    let objects = definition.objects("v1");
    let path = definition.objects("v1");
    objects.create(definition.object("v1", "one", json!({}))).await;
    definition.delete().await;
    assert_eq!(path.try_get("one").await.code, 404);
}

async fn listing(plane: Plane) {
    let label = format!("labelSelector=set%3D{}", plane.namespace());
    for i in 0..10 {
        let mut definition = Definition::new(&plane, &format!("list{i}"), &[("v1", anything())]);
        definition.object["metadata"]["labels"] = json!({"set": plane.namespace()});
        definition.create().await;
    }
    let other = Definition::new(&plane, "other", &[("v1", anything())]).create().await;
    assert_eq!(definitions(&plane).list(&label).await.len(), 10);
    definitions(&plane).delete_all(&label).await;
    definitions(&plane).until_all(&label, "they are gone", <[Value]>::is_empty).await;
    definitions(&plane).get(other.name()).await;
    other.delete().await;
}

async fn status(plane: Plane) {
    let definition = Definition::new(&plane, "status", &[("v1", anything())]).create().await;
    let of_status = definitions(&plane).status();
    let mine = |message: &str| {
        json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": message,
            "lastTransitionTime": "2024-01-01T00:00:00Z"})
    };
    let updated = of_status
        .change(definition.name(), |object| {
            let conditions = object["status"]["conditions"].as_array_mut().expect("conditions");
            conditions.push(mine("updated"));
        })
        .await;
    assert_eq!(condition(&updated, "StatusUpdate")["message"], "updated");
    assert_eq!(condition(&of_status.get(definition.name()).await, "StatusUpdate")["message"], "updated");
    let patched = of_status.merge(definition.name(), json!({"status": {"conditions": [mine("patched")]}})).await;
    assert_eq!(condition(&patched, "StatusUpdate")["message"], "patched");
    // What is served stays so: the other conditions come back.
    let again = |d: &Value| condition(d, "Established")["status"] == "True";
    definitions(&plane).until(definition.name(), "it is established", again).await;
    definition.delete().await;
}

async fn in_discovery(plane: Plane) {
    let named = |list: &Value, field: &str, value: &str| {
        let all = list.as_array().expect("a list");
        all.iter().find(|entry| entry[field] == value).cloned().unwrap_or_else(|| panic!("{value} in {list}"))
    };
    let groups = plane.get("/apis").await;
    let group = named(&groups["groups"], "name", "apiextensions.k8s.io");
    named(&group["versions"], "groupVersion", DEFINITIONS);
    let group = plane.get("/apis/apiextensions.k8s.io").await;
    named(&group["versions"], "groupVersion", DEFINITIONS);
    let resources = plane.get("/apis/apiextensions.k8s.io/v1").await;
    named(&resources["resources"], "name", "customresourcedefinitions");
}

async fn defaulting(plane: Plane) {
    let schema = |a: Value, b: Value| json!({"type": "object", "properties": {"a": a, "b": b}});
    let text = json!({"type": "string"});
    let definition = Definition::new(&plane, "defaults", &[("v1", schema(text.clone(), text.clone()))]).create().await;
    let objects = definition.objects("v1");
    let first = objects.create(definition.object("v1", "first", json!({}))).await;
    assert!(first.get("a").is_none());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties";
    let add = json!([{"op": "add", "path": format!("{path}/a/default"), "value": "A"}]);
    definitions(&plane).try_patch(definition.name(), "application/json-patch+json", &add).await.ok();
    objects.until("first", "the default", |object| object["a"] == "A").await;
    let second = objects.create(definition.object("v1", "second", json!({}))).await;
    assert_eq!(second["a"], "A");
    let change = json!([
        {"op": "remove", "path": format!("{path}/a/default")},
        {"op": "add", "path": format!("{path}/b/default"), "value": "B"},
    ]);
    definitions(&plane).try_patch(definition.name(), "application/json-patch+json", &change).await.ok();
    let second = objects.until("second", "the new default", |object| object["b"] == "B").await;
    assert_eq!(second["a"], "A", "what was stored stays");
    assert!(objects.get("first").await.get("a").is_none(), "what was only read does not");
    definition.delete().await;
}

async fn watching(plane: Plane) {
    let definition = Definition::new(&plane, "watched", &[("v1", anything())]).create().await;
    let objects = definition.objects("v1");
    let mut watch = objects.watch("").await;
    for name in ["one", "two"] {
        objects.create(definition.object("v1", name, json!({}))).await;
        watch.expect("ADDED", name).await;
    }
    for name in ["one", "two"] {
        objects.merge(name, json!({"content": {"dummy": "test"}})).await;
        watch.expect("MODIFIED", name).await;
    }
    // The watch lives through a change of the definition.
    definitions(&plane).merge(definition.name(), json!({"spec": {"names": {"shortNames": ["fo"]}}})).await;
    for name in ["one", "two"] {
        objects.delete(name).await;
        watch.expect("DELETED", name).await;
    }
    definition.delete().await;
}

/// The conformance test converts by a webhook; here both versions have the same fields.
async fn field_selectors(plane: Plane) {
    let field = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {"hostPort": field, "host": field, "port": field}});
    let mut definition = Definition::new(&plane, "selected", &[("v1", schema.clone()), ("v2", schema)]);
    definition.object["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".hostPort"}]);
    definition.object["spec"]["versions"][1]["selectableFields"] =
        json!([{"jsonPath": ".host"}, {"jsonPath": ".port"}]);
    let definition = definition.create().await;
    let (one, two) = (definition.objects("v1"), definition.objects("v2"));
    let mut by_whole = one.watch("fieldSelector=hostPort%3Dhost1%3A80").await;
    let mut by_parts = two.watch("fieldSelector=host%3Dhost1%2Cport%3D80").await;
    for (name, host, port) in [("a", "host1", "80"), ("b", "host1", "8080"), ("c", "host2", "80")] {
        let fields = json!({"hostPort": format!("{host}:{port}"), "host": host, "port": port});
        one.create(definition.object("v1", name, fields)).await;
    }
    by_whole.expect("ADDED", "a").await;
    assert_eq!(by_parts.expect("ADDED", "a").await["apiVersion"], format!("{}/v2", definition.group()));
    let names = |all: Vec<Value>| -> Vec<String> {
        all.iter().map(|o| o["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(one.list("fieldSelector=hostPort%3Dhost1%3A80").await), ["a"]);
    assert_eq!(names(two.list("fieldSelector=host%3Dhost1").await), ["a", "b"]);
    assert_eq!(names(two.list("fieldSelector=host!%3Dhost1").await), ["c"]);
    let refused = format!("{}?fieldSelector=host%3Dhost1", path_of(&plane, &definition, "v1"));
    plane.request(http::Method::GET, &refused, None).await.refused(400, "field label not supported");
    // What no longer matches is gone for the watch, what matches now is new.
    two.merge("a", json!({"hostPort": "host1:8080", "port": "8080"})).await;
    by_whole.expect("DELETED", "a").await;
    by_parts.expect("DELETED", "a").await;
    two.merge("b", json!({"hostPort": "host1:80", "port": "80"})).await;
    by_whole.expect("ADDED", "b").await;
    by_parts.expect("ADDED", "b").await;
    one.delete_all("fieldSelector=hostPort%3Dhost1%3A80").await;
    by_whole.expect("DELETED", "b").await;
    assert_eq!(names(one.list("").await), ["a", "c"]);
    assert!(by_parts.within(Duration::ZERO).await.is_none_or(|event| event.kind == "DELETED"));
    two.until_all("", "only two are left", |all| all.len() == 2).await;
    definition.delete().await;
}

fn path_of(plane: &Plane, definition: &Definition, version: &str) -> String {
    format!("/apis/{}/{version}/namespaces/{}/foos", definition.group(), plane.namespace())
}
