//! Webhooks about custom resources and about their definitions.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/ex.com/v1/namespaces/a/gadgets";
const V2: &str = "/apis/ex.com/v2/namespaces/a/gadgets";

fn definition(storage: &str) -> Value {
    let text = json!({"type": "string"});
    let version = |name: &str| {
        json!({"name": name, "served": true, "storage": name == storage, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "data": {"type": "object", "properties": {"k": text, "one": text, "two": text,
                "late": {"type": "string", "default": "filled"},
                "free": {"x-kubernetes-preserve-unknown-fields": true}}},
            "status": {"type": "object", "properties": {"phase": text}}}}}})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.ex.com"},
        "spec": {"group": "ex.com", "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
            "versions": [version("v1"), version("v2")]}})
}

fn gadget(version: &str, name: &str) -> Value {
    json!({"apiVersion": format!("ex.com/{version}"), "kind": "Gadget", "metadata": {"name": name}, "data": {"k": "v"}})
}

fn gadgets(versions: &[&str]) -> Value {
    json!([{"operations": ["*"], "apiGroups": ["ex.com"], "apiVersions": versions, "resources": ["gadgets", "gadgets/*"]}])
}

async fn start() -> (Server, CancellationToken, JoinHandle<()>) {
    start_with(definition("v1")).await
}

async fn start_with(definition: Value) -> (Server, CancellationToken, JoinHandle<()>) {
    let server = Server::new().await;
    let stop = CancellationToken::new();
    let (running, token) = (server.0.clone(), stop.clone());
    let background = tokio::spawn(async move { running.run(token).await });
    let (code, made) = server.send("POST", DEFINITIONS, definition).await;
    assert_eq!(code, 201, "{made}");
    let started = Instant::now();
    while server.send("GET", V1, Value::Null).await.0 != 200 {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (server, stop, background)
}

#[tokio::test]
async fn custom_resources_are_changed_pruned_and_filled_in() {
    let (server, stop, background) = start().await;
    let at = Hook::start(&["127.0.0.1"], |path, asked| {
        let stage = path[1..].split('?').next().unwrap();
        let add = |path: &str| json!({"op": "add", "path": path, "value": "yes"});
        patch(&asked, json!([add(&format!("/data/{stage}")), add("/data/unknown")]))
    })
    .await;
    let creates =
        json!([{"operations": ["CREATE"], "apiGroups": ["ex.com"], "apiVersions": ["v1"], "resources": ["gadgets"]}]);
    mutate(&server, "m", json!([hook(&at, "/one", creates.clone(), json!({})), hook(&at, "/two", creates, json!({}))]))
        .await;
    let (code, made) = server.send("POST", V1, gadget("v1", "a")).await;
    assert_eq!((code, &made["data"]), (201, &json!({"k": "v", "one": "yes", "two": "yes", "late": "filled"})));
    at.seen();
    // In another version it is the same object.
    let (code, made) = server.send("POST", V2, gadget("v2", "b")).await;
    assert_eq!((code, &made["apiVersion"], &made["data"]["one"]), (201, &"ex.com/v2".into(), &"yes".into()));
    let request = at.seen()[0].json()["request"].clone();
    assert_eq!(request["object"]["apiVersion"], "ex.com/v1");
    assert_eq!((&request["kind"]["version"], &request["requestKind"]["version"]), (&"v1".into(), &"v2".into()));
    stop.cancel();
    background.await.unwrap();
}

#[tokio::test]
async fn a_null_of_a_webhook_is_for_validation_to_tell() {
    let mut without_defaults = definition("v1");
    for version in without_defaults["spec"]["versions"].as_array_mut().unwrap() {
        let late = &mut version["schema"]["openAPIV3Schema"]["properties"]["data"]["properties"]["late"];
        late.as_object_mut().unwrap().remove("default");
    }
    for (definition, filled) in [(definition("v1"), true), (without_defaults, false)] {
        let (server, stop, background) = start_with(definition).await;
        let at = Hook::start(&["127.0.0.1"], |_, asked| {
            let path = format!("/data/{}", asked["request"]["name"].as_str().unwrap());
            patch(&asked, json!([{"op": "add", "path": path, "value": null}]))
        })
        .await;
        mutate(&server, "m", json!([hook(&at, "/m", gadgets(&["v1"]), json!({}))])).await;
        let null = |name: &str| {
            let why =
                format!("data.{name}: Invalid value: \"null\": data.{name} in body must be of type string: \"null\"");
            format!("Gadget.ex.com {name:?} is invalid: {why}")
        };
        let data = if filled { json!({"k": "v", "late": "filled"}) } else { json!({"k": "v"}) };
        // One that has a default gets it, and one that may be anything is there for validation only.
        for (name, is_told) in [("one", true), ("late", !filled), ("free", false)] {
            let (code, made) = server.send("POST", V1, gadget("v1", name)).await;
            if is_told {
                assert_eq!((code, made["message"].as_str()), (422, Some(null(name).as_str())));
                continue;
            }
            assert_eq!((code, &made["data"]), (201, &data), "{name}");
            let (_, read) = server.send("GET", &format!("{V2}/{name}"), Value::Null).await;
            assert_eq!(read["data"], data, "{name}");
        }
        let (_, list) = server.send("GET", V1, Value::Null).await;
        assert_eq!(list["items"][0]["data"], data);
        stop.cancel();
        background.await.unwrap();
    }
}

#[tokio::test]
async fn custom_resources_are_refused() {
    let (server, stop, background) = start().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| {
        let request = &asked["request"];
        let kept = request["operation"] == "DELETE" && request["oldObject"]["data"]["k"] == "kept";
        let bad = request["object"]["data"]["k"] == "bad" || request["object"]["status"]["phase"] == "Bad";
        if kept || bad { deny(&asked, "no") } else { allow(&asked) }
    })
    .await;
    validate(&server, "v", json!([hook(&at, "/v", gadgets(&["v1"]), json!({}))])).await;
    let why = "admission webhook \"v.example.com\" denied the request: no";
    let mut bad = gadget("v1", "a");
    bad["data"]["k"] = "bad".into();
    assert_eq!(told(&server.send("POST", V1, bad).await), (400, why));
    assert_eq!(server.send("POST", V1, gadget("v1", "a")).await.0, 201);
    let one = format!("{V1}/a");
    for version in [V1, V2] {
        let refused = server.send("PATCH", &format!("{version}/a"), json!({"data": {"k": "bad"}})).await;
        assert_eq!(told(&refused), (400, why), "{version}");
    }
    let refused = server.send("PATCH", &format!("{one}/status"), json!({"status": {"phase": "Bad"}})).await;
    assert_eq!(told(&refused), (400, why));
    assert_eq!(server.send("PATCH", &one, json!({"data": {"k": "kept"}})).await.0, 200);
    assert_eq!(told(&server.send("DELETE", &one, Value::Null).await), (400, why));
    // With its definition it goes unasked.
    at.seen();
    assert_eq!(server.send("DELETE", &format!("{DEFINITIONS}/gadgets.ex.com"), Value::Null).await.0, 200);
    let started = Instant::now();
    while server.send("GET", &format!("{DEFINITIONS}/gadgets.ex.com"), Value::Null).await.0 != 404 {
        assert!(started.elapsed() < Duration::from_secs(20), "the definition does not go");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(at.seen().is_empty());
    stop.cancel();
    background.await.unwrap();
}

#[tokio::test]
async fn what_a_webhook_makes_of_a_custom_object_is_of_its_kind() {
    let (server, stop, background) = start().await;
    let at = Hook::start(&["127.0.0.1"], |path, asked| {
        let set = |path: &str, value: Value| patch(&asked, json!([{"op": "replace", "path": path, "value": value}]));
        match path.split('?').next().unwrap() {
            "/kind" => set("/kind", "Other".into()),
            "/version" => set("/apiVersion", "ex.com/v9".into()),
            "/type" => set("/data", "text".into()),
            _ => allow(&asked),
        }
    })
    .await;
    for (path, code) in [("/kind", 500), ("/version", 500), ("/type", 422), ("/good", 201)] {
        mutate(&server, "m", json!([hook(&at, path, gadgets(&["v1"]), json!({}))])).await;
        let (found, answer) = server.send("POST", V1, gadget("v1", "a")).await;
        assert_eq!(found, code, "{path}: {answer}");
        server.send("DELETE", &format!("{GROUP}/mutatingwebhookconfigurations/m"), Value::Null).await;
    }
    stop.cancel();
    background.await.unwrap();
}

#[tokio::test]
async fn definitions_are_refused() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| deny(&asked, "no definitions here")).await;
    let rules = json!([{"operations": ["CREATE"], "apiGroups": ["apiextensions.k8s.io"], "apiVersions": ["*"],
        "resources": ["customresourcedefinitions"]}]);
    validate(&server, "v", json!([hook(&at, "/v", rules, json!({}))])).await;
    let refused = server.send("POST", DEFINITIONS, definition("v1")).await;
    assert_eq!(told(&refused), (400, "admission webhook \"v.example.com\" denied the request: no definitions here"));
}
