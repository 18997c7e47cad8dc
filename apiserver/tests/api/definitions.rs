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

async fn until(server: &Server, url: &str, code: u16) {
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
