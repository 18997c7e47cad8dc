//! What is found of services that cannot be asked, and who is looked at when something happens.

use store::{Memory, Operation, Transaction};

use super::*;
use crate::Config;
use crate::group_versions::ServiceReference;

async fn put(registry: &Registry, group: &str, resource: &str, object: Value) {
    let object = Object::from_value(object).unwrap();
    let key = crate::registry::key(group, resource, object.namespace(), object.name());
    let operations = vec![Operation::Put(key.into(), object.encode())];
    registry.store().commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
}

fn remote(name: &str, port: u16) -> Remote {
    Remote {
        api_service: format!("v1.{name}.com"),
        group: format!("{name}.com"),
        version: "v1".into(),
        service: ServiceReference { namespace: "n".into(), name: name.into(), port },
        ca_bundle: Vec::new(),
        insecure: true,
        available: false,
    }
}

async fn slice(registry: &Registry, name: &str, service: &str, ready: bool, port: Value) {
    let metadata = json!({"namespace": "n", "name": name, "labels": {SERVICE_NAME_LABEL: service}});
    let endpoints = json!([{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}]);
    let slice = json!({"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": [port]});
    put(registry, "discovery.k8s.io", "endpointslices", slice).await;
}

#[tokio::test]
async fn why_a_service_cannot_serve() {
    let server = ApiServer::new(Config::new(Memory::new()));
    let registry = server.registry();
    let bad = |reason, why: &str| Found::Bad(reason, why.into());
    let missing = bad("ServiceNotFound", "service/s in \"n\" is not present");
    assert_eq!(find(registry, &remote("s", 443)).await, missing);
    let spec = json!({"type": "ClusterIP", "ports": [{"port": 443, "name": "https"}]});
    put(registry, "", "services", json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec})).await;
    let port = bad("ServicePortError", "service/s in \"n\" is not listening on port 444");
    assert_eq!(find(registry, &remote("s", 444)).await, port);
    let none = bad("EndpointsNotFound", "cannot find endpointslices for service/s in \"n\"");
    assert_eq!(find(registry, &remote("s", 443)).await, none);
    let idle =
        bad("MissingEndpoints", "endpointslices for service/s in \"n\" have no addresses with port name \"https\"");
    slice(registry, "a", "s", false, json!({"name": "https", "port": 1})).await;
    assert_eq!(find(registry, &remote("s", 443)).await, idle);
    slice(registry, "a", "s", true, json!({"name": "http", "port": 1})).await;
    assert_eq!(find(registry, &remote("s", 443)).await, idle);
    // Nobody listens there.
    slice(registry, "a", "s", true, json!({"name": "https", "port": 1})).await;
    let url = "https://127.0.0.1:1/apis/s.com/v1";
    let why = format!(
        "failing or missing response from {url}: Get {url:?}: dial tcp 127.0.0.1:1: connect: connection refused"
    );
    assert_eq!(find(registry, &remote("s", 443)).await, Found::Silent(why));
    let broken = Remote { insecure: false, ca_bundle: b"nothing".to_vec(), ..remote("s", 443) };
    let found = find(registry, &broken).await;
    let why = "unable to load root certificates: unable to parse bytes as PEM block";
    assert_eq!(found, Found::Misconfigured(why.into()));
    // Of other types only an answer counts.
    let spec = json!({"type": "ExternalName", "externalName": "localhost"});
    put(registry, "", "services", json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec})).await;
    assert!(matches!(find(registry, &remote("s", 1)).await, Found::Silent(_)));
}

#[tokio::test]
async fn news_of_a_service_are_of_its_api_services() {
    let server = ApiServer::new(Config::new(Memory::new()));
    let registry = server.registry();
    let api_service = |name: &str, service: Value| {
        let (version, group) = name.split_once('.').unwrap();
        json!({"metadata": {"name": name}, "spec": {"group": group, "version": version, "service": service}})
    };
    let of = |name: &str| json!({"namespace": "n", "name": name});
    for (name, service) in
        [("v1.a.com", of("s")), ("v2.a.com", of("s")), ("v1.b.com", of("t")), ("v1.c.com", Value::Null)]
    {
        put(registry, GROUP, PLURAL, api_service(name, service)).await;
    }
    let prefixes = [KEYS.to_string(), prefix("", "services", ""), prefix("discovery.k8s.io", "endpointslices", "")];
    let mut followed = prefixes.map(|prefix| registry.follow(prefix));
    let mut states = Vec::new();
    for (place, followed) in followed.iter_mut().enumerate() {
        states.push(concerned(registry, place, followed.next().await.unwrap()).join(" "));
    }
    assert_eq!(
        states,
        ["v1.a.com v1.b.com v1.c.com v2.a.com", "v1.a.com v2.a.com v1.b.com", "v1.a.com v2.a.com v1.b.com"]
    );
    put(registry, GROUP, PLURAL, api_service("v1.c.com", of("t"))).await;
    put(registry, "", "services", json!({"metadata": {"namespace": "n", "name": "s"}})).await;
    slice(registry, "x", "t", true, json!({"port": 1})).await;
    let mut told = Vec::new();
    for (place, followed) in followed.iter_mut().enumerate() {
        told.push(concerned(registry, place, followed.next().await.unwrap()).join(" "));
    }
    assert_eq!(told, ["v1.c.com", "v1.a.com v2.a.com", "v1.b.com v1.c.com"]);
    put(registry, "", "services", json!({"metadata": {"namespace": "other", "name": "s"}})).await;
    assert!(concerned(registry, 1, followed[1].next().await.unwrap()).is_empty());
}
