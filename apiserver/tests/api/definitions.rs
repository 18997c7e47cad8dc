//! Custom resources come and go with their definitions.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::Server;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/ex.com/v1/namespaces/a/widgets";

fn definition(plural: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.ex.com")},
        "spec": {
            "group": "ex.com", "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"size": {"type": "integer"}, "mode": {"type": "string", "default": "m"}}},
                    "status": {"type": "object", "properties": {"ready": {"type": "integer"}}},
                }}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.ready"}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            }],
        },
    })
}

pub(crate) async fn until(server: &Server, url: &str, code: u16) {
    let started = Instant::now();
    while server.get(url).await.code != code {
        assert!(started.elapsed() < Duration::from_secs(5), "{url} does not become {code}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_definition_is_served_until_it_is_deleted() {
    let server = Server::new();
    let stop = CancellationToken::new();
    let (background, token) = (server.0.clone(), stop.clone());
    let running = tokio::spawn(async move { background.run(token).await });
    let made = server.post(DEFINITIONS, definition("widgets", "Widget")).await;
    assert_eq!(made.code, 201, "{:?}", made.json());
    until(&server, WIDGETS, 200).await;
    let url = format!("{DEFINITIONS}/widgets.ex.com");
    until(&server, &url, 200).await;

    let object = json!({"apiVersion": "ex.com/v1", "kind": "Widget", "metadata": {"name": "w"},
        "spec": {"size": 3, "nope": 1}, "status": {"ready": 9}});
    let widget = server.post(WIDGETS, object).await;
    assert_eq!((widget.code, widget.at("spec")), (201, json!({"size": 3, "mode": "m"})), "{:?}", widget.json());
    assert_eq!((widget.at("status"), widget.at("metadata.generation")), (Value::Null, 1.into()));
    let ready =
        server.merge(&format!("{WIDGETS}/w/status"), json!({"status": {"ready": 1}, "spec": {"size": 7}})).await;
    assert_eq!((ready.at("status.ready"), ready.at("spec.size")), (1.into(), 3.into()));
    let scaled = server.merge(&format!("{WIDGETS}/w/scale"), json!({"spec": {"replicas": 5}})).await;
    assert_eq!((scaled.at("spec.replicas"), scaled.at("status.replicas")), (5.into(), 1.into()), "{:?}", scaled.json());
    assert_eq!(server.get(&format!("{WIDGETS}/w")).await.at("spec.size"), 5);

    // Another definition cannot take the same kind.
    server.post(DEFINITIONS, definition("others", "Widget")).await;
    let conflicting = format!("{DEFINITIONS}/others.ex.com");
    let started = Instant::now();
    while server.get(&conflicting).await.at("status.conditions.0.status") != "False" {
        assert!(started.elapsed() < Duration::from_secs(5), "the conflict is not told");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(server.get("/apis/ex.com/v1/namespaces/a/others").await.code, 404);

    let held = server.delete(&url, Value::Null).await;
    assert!(held.at("metadata.deletionTimestamp").is_string(), "{:?}", held.json());
    until(&server, &url, 404).await;
    until(&server, WIDGETS, 404).await;
    assert_eq!(server.0.registry().snapshot().list("/registry/ex.com/widgets/", None).count(), 0);
    stop.cancel();
    running.await.unwrap();
}

/// A client that finds the resource may change the definition without meeting the server's own write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_was_written_to_be_established() {
    let server = Server::new();
    let stop = CancellationToken::new();
    let (background, token) = (server.0.clone(), stop.clone());
    let running = tokio::spawn(async move { background.run(token).await });
    for number in 0..30 {
        let (plural, kind) = (format!("w{number}s"), format!("W{number}"));
        let made = server.post(DEFINITIONS, definition(&plural, &kind)).await;
        assert_eq!(made.code, 201, "{:?}", made.json());
        let started = Instant::now();
        while server.0.registry().catalogue().get("ex.com", "v1", &plural).is_none() {
            assert!(started.elapsed() < Duration::from_secs(5), "{plural} is not served");
            std::hint::spin_loop();
        }
        let name = format!("{plural}.ex.com");
        let stored = server.0.registry().get("apiextensions.k8s.io", "customresourcedefinitions", "", &name).unwrap();
        assert!(api::crd::is_established(&stored), "{number}: {stored:?}");
    }
    stop.cancel();
    running.await.unwrap();
}

/// Also of definitions that come at once only one gets a name.
#[tokio::test]
async fn definitions_that_come_together_share_no_name() {
    let server = Server::new();
    for plural in ["ones", "others", "thirds"] {
        assert_eq!(server.post(DEFINITIONS, definition(plural, "Widget")).await.code, 201);
    }
    let stop = CancellationToken::new();
    let (background, token) = (server.0.clone(), stop.clone());
    let running = tokio::spawn(async move { background.run(token).await });
    until(&server, "/apis/ex.com/v1/namespaces/a/ones", 200).await;
    for plural in ["others", "thirds"] {
        assert_eq!(
            condition(&server, &format!("{DEFINITIONS}/{plural}.ex.com"), "Established").await["status"],
            "False"
        );
        assert_eq!(server.get(&format!("/apis/ex.com/v1/namespaces/a/{plural}")).await.code, 404);
    }
    stop.cancel();
    running.await.unwrap();
}

/// The condition of a type that a definition has.
async fn condition(server: &Server, url: &str, kind: &str) -> Value {
    let conditions = server.get(url).await.at("status.conditions");
    let found = conditions.as_array().into_iter().flatten().find(|condition| condition["type"] == kind);
    found.cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_definition_that_goes_takes_no_objects_and_tells_how_far_it_is() {
    let server = Server::new();
    let stop = CancellationToken::new();
    let (background, token) = (server.0.clone(), stop.clone());
    let running = tokio::spawn(async move { background.run(token).await });
    server.post(DEFINITIONS, definition("widgets", "Widget")).await;
    until(&server, WIDGETS, 200).await;
    let object = |name: &str, finalizers: Value| json!({"apiVersion": "ex.com/v1", "kind": "Widget", "metadata": {"name": name, "finalizers": finalizers}});
    assert_eq!(server.post(WIDGETS, object("held", json!(["ex.com/hold"]))).await.code, 201);
    let url = format!("{DEFINITIONS}/widgets.ex.com");
    server.delete(&url, Value::Null).await;
    let started = Instant::now();
    while condition(&server, &url, "Terminating").await["reason"] != "InstanceDeletionInProgress" {
        assert!(started.elapsed() < Duration::from_secs(5), "the deletion does not begin");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let refused = server.post(WIDGETS, object("late", json!([]))).await;
    assert_eq!(refused.code, 403, "{:?}", refused.json());
    let why =
        "widgets.ex.com \"late\" is forbidden: create not allowed while custom resource definition is terminating";
    assert_eq!(refused.at("message"), why);
    // What is there can still be changed, and lets the definition go at last.
    let freed = server.merge(&format!("{WIDGETS}/held"), json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(freed.code, 200, "{:?}", freed.json());
    until(&server, &url, 404).await;
    stop.cancel();
    running.await.expect("it ends");
}

#[tokio::test]
async fn paths_and_lists_of_custom_objects_answer_in_their_own_way() {
    let server = Server::new();
    let stop = CancellationToken::new();
    let (background, token) = (server.0.clone(), stop.clone());
    let running = tokio::spawn(async move { background.run(token).await });
    let mut plain = definition("widgets", "Widget");
    plain["spec"]["versions"][0]["subresources"] = json!({});
    server.post(DEFINITIONS, plain).await;
    until(&server, WIDGETS, 200).await;
    let list = server.get(WIDGETS).await;
    assert_eq!(list.at("metadata.continue"), "");
    let no_status = server.get(&format!("{WIDGETS}/x/status")).await;
    assert_eq!((no_status.code, no_status.at("message")), (404, "widgets.ex.com \"x\" not found".into()));
    let object = json!({"apiVersion": "ex.com/v1", "kind": "Widget", "metadata": {"name": "w", "labels": {"a": 1}}});
    let wrong = server.post(WIDGETS, object).await;
    let why = "Widget in version \"v1\" cannot be handled as a Widget: json: cannot unmarshal number into Go struct field \
               ObjectMeta.labels of type string";
    assert_eq!((wrong.code, wrong.at("message")), (400, why.into()));
    let listed = server.post(WIDGETS, json!({"apiVersion": "ex.com/v1", "kind": "Widget", "metadata": []})).await;
    let why = "Widget in version \"v1\" cannot be handled as a Widget: json: cannot unmarshal array into Go value of type \
               v1.ObjectMeta";
    assert_eq!((listed.code, listed.at("message")), (400, why.into()));
    stop.cancel();
    running.await.expect("it ends");
}
