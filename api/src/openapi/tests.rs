//! Tests of the documents.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Builtin, dangling, v2_document, v2_protobuf, v3_document, v3_hash, v3_index, v3_protobuf, v3_root_document,
    v3_root_hash,
};
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
        let rows = crate::catalogue::custom::rows(&Object(definition.as_object().unwrap().clone())).unwrap();
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

/// The text fields of a message at a path of field numbers, of which the last is text.
fn texts(message: &[u8], path: &[u64]) -> Vec<String> {
    let (wanted, rest) = path.split_first().unwrap();
    let (mut at, mut found) = (0, Vec::new());
    let varint = |at: &mut usize| {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = message[*at];
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    };
    while at < message.len() {
        let key = varint(&mut at);
        match key & 7 {
            0 => _ = varint(&mut at),
            1 => at += 8,
            _ => {
                let length = usize::try_from(varint(&mut at)).unwrap();
                let inner = &message[at..at + length];
                at += length;
                match rest {
                    _ if key >> 3 != *wanted => {}
                    [] => found.push(String::from_utf8(inner.to_vec()).unwrap()),
                    rest => found.extend(texts(inner, rest)),
                }
            }
        }
    }
    found
}

#[test]
fn the_documents_as_protobuf() {
    let catalogue = Catalogue::builtin();
    let v3 = parsed(&v3_document(&catalogue, "apps", "v1").unwrap());
    let bytes = v3_protobuf(&v3);
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(texts(&bytes, &[1]), ["3.0.0"]);
    assert_eq!(texts(&bytes, &[4, 1, 1]), names(&v3["paths"]));
    assert_eq!(texts(&bytes, &[5, 1, 1, 1]), names(&v3["components"]["schemas"]));
    // The code of an answer, what it is in, and the reference to its schema.
    let answer = [4, 1, 2, 4, 8, 2, 2, 1];
    assert!(texts(&bytes, &[&answer[..6], &[1]].concat()).contains(&"401".to_string()));
    assert!(texts(&bytes, &[&answer[..], &[3, 1, 1]].concat()).contains(&"application/json".to_string()));
    let list = "#/components/schemas/io.k8s.api.apps.v1.DeploymentList".to_string();
    assert!(texts(&bytes, &[&answer[..], &[3, 1, 2, 1, 2, 1]].concat()).contains(&list));
    let v2 = parsed(&v2_document(&catalogue, &Builtin::write()));
    let bytes = v2_protobuf(&v2);
    assert_eq!(texts(&bytes, &[8, 2, 1]), names(&v2["paths"]));
    assert_eq!(texts(&bytes, &[9, 1, 1]), names(&v2["definitions"]));
    assert!(texts(&bytes, &[8, 2, 2, 2, 9, 1, 1]).contains(&"200".to_string()));
}

#[test]
fn what_is_there_to_be_found_has_documents_of_its_own() {
    let catalogue = Catalogue::builtin();
    let index = v3_index(&catalogue);
    let places = [
        ("version", "/version/", "getCodeVersion"),
        ("api", "/api/", "getCoreAPIVersions"),
        ("apis", "/apis/", "getAPIVersions"),
        ("apis/rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/", "getRbacAuthorizationAPIGroup"),
        ("openid/v1/jwks", "/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset"),
    ];
    for (document, path, id) in places {
        let hash = v3_root_hash(&catalogue, document).unwrap();
        assert_eq!(index["paths"][document]["serverRelativeURL"], json!(format!("/openapi/v3/{document}?hash={hash}")));
        let document = parsed(&v3_root_document(&catalogue, document).unwrap());
        assert_eq!(document["paths"][path]["get"]["operationId"], json!(id));
        let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
        assert_eq!(dangling(&document, "#/components/schemas/", &schemas).len(), 0);
    }
    assert!(v3_root_document(&catalogue, "apis/none").is_none());
    let core = parsed(&v3_document(&catalogue, "", "v1").unwrap());
    let container = "/components/schemas/io.k8s.api.core.v1.Container/properties";
    check(&core, &format!("{container}/imagePullPolicy/enum"), json!(["Always", "IfNotPresent", "Never"]));
    check(&core, &format!("{container}/name/default"), json!(""));
    check(&core, &format!("{container}/resources/default"), json!({}));
    assert!(core.pointer(&format!("{container}/image/default")).is_none());
}

#[test]
fn paths_parameters_and_answers_are_those_of_the_reference() {
    let catalogue = Catalogue::builtin();
    let document = parsed(&v2_document(&catalogue, &Builtin::write()));
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(document["info"]["version"], "1.36");
    let watches = paths.keys().filter(|path| path.contains("/watch/")).count();
    assert!(watches > 100, "{watches}");
    let watch = &paths["/api/v1/watch/namespaces/{namespace}/pods/{name}"];
    assert_eq!(watch["get"]["x-kubernetes-action"], "watch");
    assert_eq!(watch["get"]["operationId"], "watchCoreV1NamespacedPod");
    let event = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
    assert_eq!(watch["get"]["responses"]["200"]["schema"]["$ref"], event);
    assert_eq!(paths["/api/v1/watch/pods"]["get"]["operationId"], "watchCoreV1PodListForAllNamespaces");
    let proxied = &paths["/api/v1/nodes/{name}/proxy/{path}"];
    assert_eq!(proxied["get"]["operationId"], "connectCoreV1GetNodeProxyWithPath");
    // Every reference to a parameter leads to one, and what old clients look for stands where it is used.
    let shared = document["parameters"].as_object().unwrap();
    let (mut links, mut inline) = (0, 0);
    for item in paths.values() {
        let all = std::iter::once(item).chain(item.as_object().unwrap().values());
        for parameter in all.filter_map(|place| place["parameters"].as_array()).flatten() {
            match parameter["$ref"].as_str() {
                Some(link) => {
                    links += 1;
                    assert!(shared.contains_key(link.trim_start_matches("#/parameters/")), "{link}");
                }
                None => inline += 1,
            }
        }
    }
    assert!(links > 2 * inline, "{links} {inline}");
    let list = "/paths/~1api~1v1~1pods";
    assert!(document.pointer(&format!("{list}/get/parameters")).is_none());
    assert!(document.pointer(&format!("{list}/parameters/0/$ref")).is_some());
    let put = document.pointer("/paths/~1api~1v1~1namespaces~1{namespace}~1configmaps~1{name}/put/parameters").unwrap();
    assert_eq!(put[0]["name"], "body");
    let deleted = |path: &str| paths[path]["delete"]["responses"]["200"]["schema"]["$ref"].clone();
    assert_eq!(deleted("/api/v1/namespaces/{namespace}/pods/{name}"), "#/definitions/io.k8s.api.core.v1.Pod");
    let status = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Status";
    assert_eq!(deleted("/api/v1/namespaces/{namespace}/configmaps/{name}"), status);
    check(
        &document,
        "/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference/required",
        json!(["apiVersion", "kind", "name", "uid"]),
    );
    let union =
        json!([{"discriminator": "type", "fields-to-discriminateBy": {"localhostProfile": "LocalhostProfile"}}]);
    check(&document, "/definitions/io.k8s.api.core.v1.SeccompProfile/x-kubernetes-unions", union);
    let policy = &document["definitions"]["io.k8s.api.core.v1.Container"]["properties"]["imagePullPolicy"];
    let told = policy["description"].as_str().unwrap();
    assert!(
        told.ends_with("\n\nPossible enum values:\n - `\"Always\"`\n - `\"IfNotPresent\"`\n - `\"Never\"`"),
        "{told}"
    );
    let fields = document["definitions"].as_object().unwrap().values().filter_map(|d| d["properties"].as_object());
    let texts = fields.flat_map(|fields| fields.values()).filter_map(|field| field["description"].as_str());
    let with_choices = texts.filter(|text| text.contains("\n\nPossible enum values:\n - `")).count();
    assert!(with_choices >= 87, "{with_choices}");
    let apps = parsed(&v3_document(&catalogue, "apps", "v1").unwrap());
    let options = "/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
    let kinds = apps.pointer(&format!("{options}/x-kubernetes-group-version-kind")).unwrap();
    assert_eq!(kinds[1], json!({"group": "apps", "version": "v1", "kind": "DeleteOptions"}));
    let exec = "/paths/~1api~1v1~1namespaces~1{namespace}~1pods~1{name}~1exec/parameters";
    let names: Vec<&Value> = document.pointer(exec).unwrap().as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 8, "{names:?}");
}
