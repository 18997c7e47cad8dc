//! Custom objects as their definition has them now: defaults when they are read, and other versions.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::definitions::until;
use crate::harness::{Answer, Server};

const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.ex.com";
const V1: &str = "/apis/ex.com/v1/namespaces/a/gadgets";
const V2: &str = "/apis/ex.com/v2/namespaces/a/gadgets";
const APPLY: &str = "application/apply-patch+yaml";

/// Two versions with a field each that the other has not, and a status that has defaults.
fn definition(phase: &str) -> Value {
    let version = |name: &str, own: &str| {
        json!({"name": name, "served": true, "storage": name == "v1",
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer"}, own: {"type": "string"}}},
            "status": {"type": "object", "default": {"phase": phase}, "properties": {
                "phase": {"type": "string"}, "size": {"type": "integer"}, "n": {"type": "integer", "default": 7}}},
        }}}})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.ex.com"},
        "spec": {"group": "ex.com", "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
            "versions": [version("v1", "one"), version("v2", "two")]}})
}

fn gadget(version: &str, name: &str) -> Value {
    json!({"apiVersion": format!("ex.com/{version}"), "kind": "Gadget", "metadata": {"name": name}, "spec": {"size": 1}})
}

/// A server with the definition, and what keeps it going.
async fn start() -> (Server, CancellationToken, JoinHandle<()>) {
    let server = Server::new();
    let stop = CancellationToken::new();
    let (background, token) = (server.0.clone(), stop.clone());
    let running = tokio::spawn(async move { background.run(token).await });
    let all = DEFINITION.rsplit_once('/').unwrap().0;
    let made = server.post(all, definition("Pending")).await;
    assert_eq!(made.code, 201, "{:?}", made.json());
    until(&server, V1, 200).await;
    (server, stop, running)
}

/// What a watch tells at first.
async fn watched(server: &Server, place: &str) -> Vec<Value> {
    let frames = server.get(&format!("{place}?watch=1&timeoutSeconds=1")).await;
    let text = String::from_utf8(frames.bytes.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_status_gets_its_defaults_when_it_is_read() {
    let (server, stop, running) = start().await;
    let pending = json!({"phase": "Pending", "n": 7});
    let url = format!("{V1}/a");
    let made = server.post(V1, gadget("v1", "a")).await;
    assert_eq!((made.code, made.at("status")), (201, pending.clone()));
    let dry = server.post(&format!("{V1}?dryRun=All"), gadget("v1", "dry")).await;
    assert_eq!((dry.code, dry.at("status")), (201, pending.clone()));
    let applied = server.send("PATCH", &format!("{V1}/b?fieldManager=m"), APPLY, gadget("v1", "b")).await;
    assert_eq!((applied.code, applied.at("status")), (201, pending.clone()));
    let other = server.post(V2, gadget("v2", "c")).await;
    assert_eq!((other.code, other.at("status"), other.at("apiVersion")), (201, pending.clone(), "ex.com/v2".into()));
    for place in [V1, V2] {
        assert_eq!(server.get(&format!("{place}/a")).await.at("status"), pending);
        let list = server.get(place).await;
        let items = list.at("items").as_array().cloned().unwrap();
        assert_eq!(items.iter().filter(|item| item["status"] == pending).count(), 3, "{items:?}");
        let frames = watched(&server, place).await;
        assert_eq!(frames.iter().filter(|frame| frame["object"]["status"] == pending).count(), 3, "{frames:?}");
    }
    // What was not written follows the definition.
    let mut changed = definition("Waiting");
    changed["metadata"]["resourceVersion"] = server.get(DEFINITION).await.at("metadata.resourceVersion");
    assert_eq!(server.put(DEFINITION, changed).await.code, 200);
    let started = Instant::now();
    while server.get(&url).await.at("status.phase") != "Waiting" {
        assert!(started.elapsed() < Duration::from_secs(5), "the old default stays");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let waiting = json!({"phase": "Waiting", "n": 7});
    // Any write writes it, and that is no change of what is wanted.
    let labelled = server.merge(&url, json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!((labelled.at("status"), labelled.at("metadata.generation")), (waiting.clone(), 1.into()));
    assert_eq!(server.get(&url).await.json(), labelled.json());
    let counted = server.merge(&format!("{url}/status"), json!({"status": {"n": 8}})).await;
    assert_eq!(counted.at("status"), json!({"phase": "Waiting", "n": 8}));
    let gone = server.delete(&format!("{V1}/b"), Value::Null).await;
    assert_eq!(gone.code, 200);
    stop.cancel();
    running.await.unwrap();
}

/// The definition leaves conversion to a webhook from now on.
async fn convert_by_webhook(server: &Server) {
    let client = json!({"url": "https://127.0.0.1:9/convert"});
    let webhook = json!({"conversionReviewVersions": ["v1"], "clientConfig": client});
    let patch = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": webhook}}});
    let changed = server.merge(DEFINITION, patch).await;
    assert_eq!(changed.code, 200, "{:?}", changed.json());
    until(server, &format!("{V2}/a"), 500).await;
}

fn assert_refused(answer: &Answer, from: &str, what: &str) {
    assert_eq!((answer.code, answer.at("reason")), (500, Value::Null), "{what}: {:?}", answer.json());
    let message = answer.at("message").as_str().unwrap_or_default().to_string();
    let expected = format!("conversion webhook for ex.com/{from}, Kind=Gadget failed: ");
    assert!(message.starts_with(&expected), "{what}: {message}");
}

#[tokio::test]
async fn what_only_a_webhook_converts_is_served_in_no_other_version() {
    let (server, stop, running) = start().await;
    let mut object = gadget("v1", "a");
    object["spec"]["one"] = "kept".into();
    assert_eq!(server.post(V1, object).await.code, 201);
    convert_by_webhook(&server).await;
    let merge = "application/merge-patch+json";
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let url = format!("{V2}/a");
    for (what, answer) in [
        ("get", server.get(&url).await),
        ("list", server.get(V2).await),
        ("page", server.get(&format!("{V2}?limit=1")).await),
        ("update", server.put(&url, gadget("v2", "a")).await),
        ("patch", server.merge(&url, json!({"metadata": {"labels": {"x": "y"}}})).await),
        ("status", server.merge(&format!("{url}/status"), json!({"status": {"n": 1}})).await),
        ("scale", server.get(&format!("{url}/scale")).await),
        ("scaling", server.send("PATCH", &format!("{url}/scale"), merge, json!({"spec": {"replicas": 3}})).await),
        ("apply", server.send("PATCH", &format!("{url}?fieldManager=m"), APPLY, gadget("v2", "a")).await),
        ("delete", server.delete(&url, Value::Null).await),
        ("dry delete", server.delete(&format!("{url}?dryRun=All"), Value::Null).await),
        ("delete all", server.delete(V2, Value::Null).await),
        ("table", server.request(accepting(&url, table)).await),
    ] {
        assert_refused(&answer, "v1", what);
    }
    // The reference's cache cannot begin.
    let watch = server.get(&format!("{V2}?watch=1&timeoutSeconds=1")).await;
    assert_eq!((watch.code, watch.at("message")), (429, "storage is (re)initializing".into()));
    for (what, answer) in [
        ("create", server.post(V2, gadget("v2", "n")).await),
        ("dry create", server.post(&format!("{V2}?dryRun=All"), gadget("v2", "n")).await),
        ("create what exists", server.post(V2, gadget("v2", "a")).await),
        ("apply anew", server.send("PATCH", &format!("{V2}/n?fieldManager=m"), APPLY, gadget("v2", "n")).await),
    ] {
        assert_refused(&answer, "v2", what);
    }
    // What is wrong in other ways, or not there, is told as ever.
    let mut wrong = gadget("v2", "n");
    wrong["spec"]["two"] = 5.into();
    assert_eq!(server.post(V2, wrong).await.code, 422);
    assert_eq!(server.get(&format!("{V2}/n")).await.code, 404);
    assert_eq!(server.put(&format!("{V2}/n"), gadget("v2", "n")).await.code, 404);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_webhook_is_not_asked_where_nothing_is_converted() {
    let (server, stop, running) = start().await;
    let mut object = gadget("v1", "a");
    object["spec"]["one"] = "kept".into();
    assert_eq!(server.post(V1, object).await.code, 201);
    convert_by_webhook(&server).await;
    assert_eq!(server.get(&format!("{V1}/a")).await.at("spec.one"), "kept");
    assert_eq!(server.get(V1).await.at("items.0.spec.one"), "kept");
    assert_eq!(watched(&server, V1).await[0]["object"]["spec"]["one"], "kept");
    let labelled = server.merge(&format!("{V1}/a"), json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!((labelled.code, labelled.at("spec.one")), (200, "kept".into()));
    // Once the other version is stored, the old object is still had in its own.
    let mut changed = server.get(DEFINITION).await.json();
    for version in changed["spec"]["versions"].as_array_mut().unwrap() {
        version["storage"] = (version["name"] == "v2").into();
    }
    assert_eq!(server.put(DEFINITION, changed).await.code, 200);
    let started = Instant::now();
    while server.post(V2, gadget("v2", "b")).await.code != 201 {
        assert!(started.elapsed() < Duration::from_secs(5), "the new version is not stored");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(server.get(&format!("{V1}/a")).await.at("spec.one"), "kept");
    assert_refused(&server.get(&format!("{V1}/b")).await, "v2", "get");
    assert_refused(&server.merge(&format!("{V1}/a"), json!({"spec": {"size": 2}})).await, "v1", "patch");
    // Neither keeps the definition from going.
    server.delete(DEFINITION, Value::Null).await;
    until(&server, DEFINITION, 404).await;
    stop.cancel();
    running.await.unwrap();
}

fn accepting(url: &str, accept: &str) -> http::Request<axum::body::Body> {
    let user = api::UserInfo::new("admin", &["system:masters"]);
    let request = http::Request::builder().uri(url).header("accept", accept).extension(user);
    request.body(axum::body::Body::empty()).unwrap()
}
