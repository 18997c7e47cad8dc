//! Lists, pages, selectors, versions, and what is not there.

use serde_json::{Value, json};

use crate::harness::Server;

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

async fn seeded(count: usize) -> Server {
    let server = Server::new();
    for i in 0..count {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("l{i}"), "labels": {"even": (i % 2 == 0).to_string()}}});
        assert_eq!(server.post(MAPS, object).await.code, 201);
    }
    server
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    items.iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_string()).collect()
}

#[tokio::test]
async fn pages_are_of_one_state() {
    let server = seeded(5).await;
    let first = server.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(names(&first.json()), ["l0", "l1"]);
    assert_eq!(first.at("metadata.remainingItemCount"), 3);
    server.delete(&format!("{MAPS}/l2"), Value::Null).await;
    let token = first.at("metadata.continue").as_str().unwrap().to_string();
    let second = server.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&second.json()), ["l2", "l3"]);
    assert_eq!(second.at("metadata.resourceVersion"), first.at("metadata.resourceVersion"));
    server.0.registry().store().compact(server.0.registry().snapshot().revision()).unwrap();
    let expired = server.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!((expired.code, expired.at("reason")), (410, "Expired".into()));
    let fresh = expired.at("metadata.continue").as_str().unwrap().to_string();
    let rest = server.get(&format!("{MAPS}?continue={fresh}")).await;
    assert_eq!(names(&rest.json()), ["l3", "l4"]);
}

#[tokio::test]
async fn selectors_select() {
    let server = seeded(4).await;
    for (query, expected) in [
        ("labelSelector=even%3Dtrue", vec!["l0", "l2"]),
        ("labelSelector=even+notin+(true)", vec!["l1", "l3"]),
        ("fieldSelector=metadata.name%3Dl3", vec!["l3"]),
        ("fieldSelector=metadata.name!%3Dl3", vec!["l0", "l1", "l2"]),
        ("fieldSelector=metadata.namespace%3Db", vec![]),
    ] {
        let list = server.get(&format!("{MAPS}?{query}")).await;
        assert_eq!(names(&list.json()), expected, "{query}");
    }
    assert_eq!(server.get(&format!("{MAPS}?fieldSelector=spec.x%3D1")).await.code, 400);
    assert_eq!(names(&server.get("/api/v1/configmaps").await.json()).len(), 4);
}

#[tokio::test]
async fn versions_of_lists() {
    let server = seeded(1).await;
    let check = async |query: &str, code: u16, reason: &str| {
        let answer = server.get(&format!("{MAPS}?{query}")).await;
        let found = answer.at("reason");
        assert_eq!((answer.code, found.as_str().unwrap_or("")), (code, reason), "{query}");
    };
    check("resourceVersion=0", 200, "").await;
    check("resourceVersion=abc", 400, "BadRequest").await;
    check("resourceVersionMatch=Exact", 422, "Invalid").await;
    check("resourceVersion=0&resourceVersionMatch=Exact", 422, "Invalid").await;
    check("resourceVersion=2&resourceVersionMatch=Exact", 200, "").await;
    check("limit=x", 400, "BadRequest").await;
    check("continue=bogus", 400, "BadRequest").await;
}

#[tokio::test]
async fn what_is_not_there() {
    let server = Server::new();
    let check = async |url: &str, code: u16, text: &str| {
        let answer = server.get(url).await;
        let body = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert!(answer.code == code && body.contains(text), "{url}: {} {body}", answer.code);
    };
    check("/nope", 404, "404 page not found\n").await;
    check("/apis/nope.example/v1", 404, "404 page not found\n").await;
    check("/apis/apps/v9/deployments", 404, "the server could not find the requested resource").await;
    check("/api/v1/namespaces/a/nopes", 404, "the server could not find the requested resource").await;
    check("/api/v1/namespaces/a/pods/x", 404, "pods \\\"x\\\" not found").await;
    check("/healthz/ping", 200, "ok").await;
    check("/readyz", 500, "readyz check failed").await;
    check("/readyz/ping", 200, "ok").await;
    check("/version", 200, "v1.36").await;
    check(
        "/metrics",
        200,
        "apiserver_request_total{code=\"404\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"pods\"",
    )
    .await;
}
