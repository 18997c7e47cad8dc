//! Addresses and ports are taken once and come back.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::registry::prefix;
use crate::strategy::tests::Server;

const SERVICES: &str = "/api/v1/namespaces/a/services";

fn service(name: &str, kind: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}})
}

fn held(server: &Server) -> (usize, usize) {
    let snapshot = server.0.registry().snapshot();
    let addresses = prefix("networking.k8s.io", "ipaddresses", "");
    let ports = snapshot.list("/registry/ranges/servicenodeports/", None).count();
    (snapshot.list(&addresses, None).count(), ports)
}

#[tokio::test]
async fn what_a_service_held_is_free_again_when_it_is_gone() {
    let server = Server::new().await;
    let before = held(&server);
    let (code, made) = server.post(SERVICES, service("s", "NodePort")).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(held(&server), (before.0 + 1, before.1 + 1));
    let address = made["spec"]["clusterIP"].as_str().unwrap().to_string();
    let port = made["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((super::NODE_PORT_MIN..=super::NODE_PORT_MAX).contains(&port));
    let path = format!("{SERVICES}/s");
    // A whole update that leaves out what was allocated keeps it.
    let mut again = service("s", "NodePort");
    again["kind"] = "Service".into();
    again["apiVersion"] = "v1".into();
    let (code, kept) = server.send("PUT", &path, again).await;
    assert_eq!(code, 200, "{kept}");
    assert_eq!(kept["spec"]["clusterIP"], address.as_str());
    assert_eq!(kept["spec"]["ports"][0]["nodePort"], port);
    let (_, inner) = server.send("PATCH", &path, json!({"spec": {"type": "ClusterIP"}})).await;
    assert!(inner["spec"]["ports"][0]["nodePort"].is_null(), "{inner}");
    assert_eq!(held(&server), (before.0 + 1, before.1));
    let outer = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
    let (code, outer) = server.send("PATCH", &path, outer).await;
    assert_eq!((code, outer["spec"]["clusterIP"].is_null()), (200, true), "{outer}");
    assert_eq!(held(&server), before);
    server.send("PATCH", &path, json!({"spec": {"type": "NodePort"}})).await;
    assert_eq!(held(&server), (before.0 + 1, before.1 + 1));
    server.send("DELETE", &path, Value::Null).await;
    assert_eq!(held(&server), before);
}

#[tokio::test]
async fn many_at_once_get_one_each_and_the_range_can_be_used_up() {
    let server = std::sync::Arc::new(Server::new().await);
    let making = (0..60).map(|n| {
        let server = server.clone();
        tokio::spawn(async move { server.post(SERVICES, service(&format!("s{n}"), "NodePort")).await })
    });
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for made in making.collect::<Vec<_>>() {
        let (code, made) = made.await.unwrap();
        assert_eq!(code, 201, "{made}");
        assert!(addresses.insert(made["spec"]["clusterIP"].to_string()));
        assert!(ports.insert(made["spec"]["ports"][0]["nodePort"].to_string()));
    }
    let mut made = 60;
    while server.post(SERVICES, service(&format!("s{made}"), "ClusterIP")).await.0 == 201 {
        made += 1;
        assert!(made < 300, "the range has 254 addresses");
    }
    // 254 addresses, of which one is that of the service `kubernetes`.
    assert_eq!(made, 253);
}

#[tokio::test]
async fn what_is_taken_or_out_of_range_is_refused() {
    let server = Server::new().await;
    let check = async |spec: Value, expected: &str| {
        let (code, answer) = server.post(SERVICES, json!({"metadata": {"name": "bad"}, "spec": spec})).await;
        assert_eq!(code, 422, "{answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    };
    let ports = json!([{"port": 80}]);
    check(json!({"clusterIP": "10.43.0.1", "ports": ports}), "provided IP is already allocated").await;
    check(json!({"clusterIP": "10.43.0.0", "ports": ports}), "does not match the current range").await;
    check(json!({"clusterIP": "10.44.0.1", "ports": ports}), "does not match the current range").await;
    let port = |number: i64| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": number}]});
    check(port(80), "The range of valid ports is 30000-32767").await;
    let taken = json!({"metadata": {"name": "s"}, "spec": port(30_500)});
    assert_eq!(server.post(SERVICES, taken).await.0, 201);
    check(port(30_500), "provided port is already allocated").await;
    let two = json!({"type": "NodePort", "ports": [
        {"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]});
    let (_, shared) = server.post(SERVICES, json!({"metadata": {"name": "dns"}, "spec": two})).await;
    assert_eq!(shared["spec"]["ports"][0]["nodePort"], shared["spec"]["ports"][1]["nodePort"]);
    let headless = json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "selector": {"a": "b"}}});
    let (code, headless) = server.post(SERVICES, headless).await;
    assert_eq!((code, headless["spec"]["clusterIPs"].clone()), (201, json!(["None"])), "{headless}");
}

#[tokio::test]
async fn of_two_that_saw_the_same_state_one_is_turned_away() {
    let server = Server::new().await;
    let registry = server.0.registry();
    let ctx = crate::Context::internal(registry);
    let snapshot = registry.snapshot();
    let accompany = |spec: Value| {
        let service = json!({"metadata": {"name": "s", "namespace": "a"}, "spec": spec});
        let mut service = api::Object::from_value(service).unwrap();
        super::accompany(&ctx, Some(&mut service), None, &snapshot).unwrap()
    };
    let addressed = json!({"ipFamilies": ["IPv4"], "clusterIPs": ["10.43.0.77"]});
    let ported = json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80, "nodePort": 30_999}]});
    for spec in [addressed, ported] {
        let (first, second) = (accompany(spec.clone()), accompany(spec));
        registry.store().commit(first).await.unwrap();
        let refused = registry.store().commit(second).await;
        assert!(matches!(refused, Err(store::StoreError::ConditionFailed { .. })));
    }
}
