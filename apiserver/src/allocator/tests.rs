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

/// Port, protocol, node port (or none).
type Entry = (i64, &'static str, i64);

/// The entries of a new service, and their node ports or the start of what is said against them.
type Case = (&'static [Entry], Result<&'static [i64], &'static str>);

fn entries(ports: &[Entry]) -> Value {
    let entry = |(index, (port, protocol, number)): (usize, &Entry)| {
        let mut entry = json!({"name": format!("p{index}"), "port": port, "protocol": protocol});
        if *number != 0 {
            entry["nodePort"] = (*number).into();
        }
        entry
    };
    ports.iter().enumerate().map(entry).collect()
}

fn balancer(name: &str, ports: &[Entry], health: i64) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": "LoadBalancer",
        "externalTrafficPolicy": "Local", "healthCheckNodePort": health, "ports": entries(ports)}})
}

fn node_service(name: &str, ports: &[Entry]) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "NodePort", "ports": entries(ports)}})
}

fn numbers(service: &Value) -> Vec<i64> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports.map(|port| port["nodePort"].as_i64().unwrap_or(0)).collect()
}

const TAKEN: &str = "provided port is already allocated";

#[tokio::test]
async fn entries_of_one_port_share_a_node_port_and_others_do_not() {
    let server = Server::new().await;
    let cases: [Case; 8] = [
        (&[(80, "TCP", 30_100), (81, "UDP", 30_100)], Err("spec.ports[1].nodePort: Invalid value: 30100: ")),
        (&[(80, "TCP", 30_101), (80, "UDP", 30_101)], Ok(&[30_101, 30_101])),
        (&[(80, "TCP", 0), (80, "UDP", 30_102)], Ok(&[30_102, 30_102])),
        (
            &[(80, "TCP", 30_103), (80, "UDP", 30_104), (80, "SCTP", 30_104)],
            Err("spec.ports[2].nodePort: Invalid value: 30104: "),
        ),
        (&[(80, "TCP", 30_103), (80, "UDP", 30_104), (80, "SCTP", 30_103)], Ok(&[30_103, 30_104, 30_103])),
        (&[(80, "TCP", 30_105), (80, "UDP", 30_106), (80, "SCTP", 0)], Ok(&[30_105, 30_106, 30_105])),
        (&[(80, "TCP", 30_110), (81, "TCP", 30_110)], Err("spec.ports[1].nodePort: Invalid value: 30110: ")),
        (&[(80, "TCP", 30_101)], Err("spec.ports[0].nodePort: Invalid value: 30101: ")),
    ];
    for (index, (ports, expected)) in cases.into_iter().enumerate() {
        let service = node_service(&format!("s{index}"), ports);
        for query in ["?dryRun=All", ""] {
            let (code, answer) = server.send("POST", &format!("{SERVICES}{query}"), service.clone()).await;
            match expected {
                Ok(expected) => assert_eq!((code, numbers(&answer)), (201, expected.to_vec()), "{ports:?}{query}"),
                Err(why) => {
                    assert_eq!(code, 422, "{ports:?}{query} {answer}");
                    assert!(answer["message"].as_str().unwrap().ends_with(&format!("{why}{TAKEN}")), "{answer}");
                }
            }
        }
    }
    // Whoever asks for a port by number hears of that before hearing of the name.
    let (code, answer) = server.post(SERVICES, node_service("s1", &[(80, "TCP", 30_101)])).await;
    assert_eq!(code, 422, "{answer}");
    assert_eq!(server.post(SERVICES, node_service("s1", &[(80, "TCP", 0)])).await.0, 409);
}

#[tokio::test]
async fn an_update_may_share_what_is_its_own() {
    let server = Server::new().await;
    let path = format!("{SERVICES}/s");
    let (code, made) = server.post(SERVICES, node_service("s", &[(80, "TCP", 30_200)])).await;
    assert_eq!(code, 201, "{made}");
    let (code, made) = server.post(SERVICES, balancer("b", &[(80, "TCP", 30_220)], 30_221)).await;
    assert_eq!(code, 201, "{made}");
    let put = async |ports: &[Entry]| server.send("PUT", &path, node_service("s", ports)).await;
    let (code, both) = put(&[(80, "TCP", 30_201), (81, "UDP", 30_201)]).await;
    assert_eq!((code, numbers(&both)), (200, vec![30_201, 30_201]), "{both}");
    // Inherited by name, whatever else changed.
    let (code, both) = put(&[(90, "TCP", 0), (90, "UDP", 0)]).await;
    assert_eq!((code, numbers(&both)), (200, vec![30_201, 30_201]), "{both}");
    let (code, twice) = put(&[(90, "TCP", 30_202), (91, "TCP", 30_202)]).await;
    assert_eq!((code, &twice["message"]), (500, &"duplicate nodePort: {TCP 30202}".into()));
    for query in ["?dryRun=All", ""] {
        let service = node_service("s", &[(90, "TCP", 30_221)]);
        let (code, taken) = server.send("PUT", &format!("{path}{query}"), service).await;
        assert_eq!(code, 422, "{taken}");
        assert!(taken["message"].as_str().unwrap().ends_with(TAKEN), "{taken}");
    }
    // New entries get ports of their own.
    let (code, apart) = put(&[(90, "TCP", 30_203), (91, "TCP", 0), (91, "UDP", 0)]).await;
    let apart = numbers(&apart);
    assert_eq!(code, 200);
    assert!(apart[1] == 30_201 && apart[2] != 0 && apart[2] != apart[1], "{apart:?}");
}

#[tokio::test]
async fn a_health_check_port_is_nobody_elses() {
    let server = Server::new().await;
    assert_eq!(server.post(SERVICES, node_service("s", &[(80, "TCP", 30_301)])).await.0, 201);
    for (query, health) in [("", 30_320), ("", 30_301), ("?dryRun=All", 30_301)] {
        let service = balancer("b", &[(80, "TCP", 30_320)], health);
        let (code, answer) = server.send("POST", &format!("{SERVICES}{query}"), service).await;
        let expected =
            format!("Internal error occurred: failed to allocate requested HealthCheck NodePort {health}: {TAKEN}");
        assert_eq!((code, &answer["message"]), (500, &expected.into()));
    }
    let before = held(&server);
    let (code, made) = server.post(SERVICES, balancer("b", &[(80, "TCP", 30_320)], 30_321)).await;
    assert_eq!(code, 201, "{made}");
    let path = format!("{SERVICES}/b");
    let (code, own) = server.send("PUT", &path, balancer("b", &[(80, "TCP", 30_321)], 30_321)).await;
    assert_eq!(code, 422, "{own}");
    let (code, inner) = server.send("PATCH", &path, json!({"spec": {"type": "ClusterIP"}})).await;
    assert_eq!((code, numbers(&inner)), (200, vec![0]), "{inner}");
    assert!(inner["spec"]["healthCheckNodePort"].is_null(), "{inner}");
    assert_eq!(held(&server), (before.0 + 1, before.1));
    assert_eq!(server.post(SERVICES, node_service("t", &[(80, "TCP", 30_321)])).await.0, 201);
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
