//! What servers say that they have.

use axum::body::Bytes;
use serde_json::json;

use super::*;

fn fetched(code: u16, media_type: &str, body: Value) -> Fetched {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
    headers.insert(ETAG, "\"t\"".parse().unwrap());
    let body = Bytes::from(body.to_string());
    Fetched { code: StatusCode::from_u16(code).unwrap(), headers, body }
}

const WHOLE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[test]
fn the_whole_is_read_by_group_and_version() {
    let resource = json!({"resource": "things", "scope": "Namespaced", "singularResource": "thing", "verbs": ["get"],
        "shortNames": ["t"], "unknown": 1, "subresources": [{"subresource": "status", "verbs": ["update"]}]});
    let document = json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "ex.com"}, "versions": [
        {"version": "v1", "resources": [resource], "freshness": "Current"}, {"version": "v2"}]}]});
    for media_type in [WHOLE, &WHOLE.replace("v=v2", "v=v2beta1")] {
        let Ok(Whole::Changed(versions, tag)) = read_whole(&fetched(200, media_type, document.clone())) else {
            panic!("{media_type}")
        };
        assert_eq!(tag.as_deref(), Some("\"t\""));
        assert_eq!(versions.len(), 2);
        let none = json!({"group": "", "version": "", "kind": ""});
        let expected = json!({"version": "v1", "freshness": "Stale", "resources": [{"resource": "things",
            "responseKind": none, "scope": "Namespaced", "singularResource": "thing", "verbs": ["get"],
            "shortNames": ["t"], "subresources": [{"subresource": "status", "responseKind": none, "verbs": ["update"]}]}]});
        assert_eq!(versions[&("ex.com".into(), "v1".into())].clone().told(false), expected);
        let bare = versions[&("ex.com".into(), "v2".into())].clone().told(true);
        assert_eq!(bare, json!({"version": "v2", "freshness": "Current"}));
    }
}

#[test]
fn other_answers() {
    let of = |code, media_type: &str, body: Value| read_whole(&fetched(code, media_type, body));
    assert!(matches!(of(304, WHOLE, json!(1)), Ok(Whole::Unchanged)));
    assert!(of(503, WHOLE, json!({})).is_err());
    assert!(of(200, WHOLE, json!("x")).is_err() && of(200, WHOLE, json!({"items": [{"versions": 1}]})).is_err());
    for (code, media_type) in [
        (200, "application/json"),
        (200, "application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList"),
        (200, "nonsense"),
        (404, WHOLE),
        (403, WHOLE),
    ] {
        assert!(matches!(of(code, media_type, json!({})), Ok(Whole::Unknown)), "{code} {media_type}");
    }
}

#[test]
fn the_plain_form_becomes_the_other() {
    let plain = |name: &str, namespaced: bool, kind: &str| json!({"name": name, "namespaced": namespaced, "kind": kind, "verbs": ["get"]});
    let document = json!({"resources": [plain("orphans/status", true, ""), plain("things", true, "Thing"),
        plain("things/scale", true, "Scale"), plain("nodes", false, "Node")]});
    let found = read_plain("v1", &fetched(200, "application/json", document)).unwrap().told(true);
    let kind = |kind: &str| json!({"group": "", "version": "", "kind": kind});
    let names = |value: &Value, field: &str| {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item[field].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(&found["resources"], "resource"), "things nodes orphans");
    let things = &found["resources"][0];
    assert_eq!((&things["scope"], &things["responseKind"]), (&json!("Namespaced"), &kind("Thing")));
    assert_eq!(
        things["subresources"][0],
        json!({"subresource": "scale", "responseKind": kind("Scale"), "verbs": ["get"]})
    );
    assert_eq!(found["resources"][1]["scope"], "Cluster");
    let mixed = json!({"resources": [plain("things", true, "Thing"), plain("things/scale", false, "Scale")]});
    let error = read_plain("v1", &fetched(200, "application/json", mixed)).unwrap_err();
    assert!(error.ends_with("scope do not match"), "{error}");
    assert!(read_plain("v1", &fetched(404, "application/json", json!({}))).is_err());
    assert!(read_plain("v1", &fetched(200, "application/json", json!([1]))).is_err());
}
