//! Calls against webhooks that behave and that do not.

use std::time::{Duration, Instant};

use api::decode::Target;
use bytes::Bytes;
use http::Version;
use serde_json::{Value, json};
use store::Memory;

use super::testing::{Hook, Reply};
use super::{CallError, Place};
use crate::{ApiServer, Config, Registry};

const LONG: Duration = Duration::from_secs(20);

fn registry() -> Registry {
    ApiServer::new(Config::new(Memory::new())).registry().clone()
}

async fn call(registry: &Registry, client_config: &Value, time: Duration, most: usize) -> Result<Value, CallError> {
    let (place, bundle) = Place::of(client_config).unwrap();
    let webhook = registry.webhooks().at(registry, &place, &bundle, None).unwrap();
    let told = Duration::from_secs(10);
    let answer = webhook.post(Bytes::from_static(b"{}"), told, time, most).await?;
    let target = Target::builtin("admission.k8s.io", "v1", "AdmissionReview").unwrap();
    answer.object(&target).map(api::Object::into_value)
}

fn good(_: &str, _: Value) -> Reply {
    Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "response": {"uid": "u", "allowed": true}}))
}

#[tokio::test]
async fn connections_are_kept() {
    let (registry, hook) = (registry(), Hook::start(&["127.0.0.1"], good).await);
    for _ in 0..5 {
        let answer = call(&registry, &hook.client_config("/a"), LONG, 1 << 20).await.unwrap();
        assert_eq!(answer["response"]["allowed"], true);
    }
    assert_eq!(hook.connections(), 1);
    let seen = hook.seen();
    assert_eq!((seen.len(), seen[0].path.as_str()), (5, "/a?timeout=10s"));
    assert!(seen.iter().all(|seen| seen.version == Version::HTTP_2), "it is on this machine");
}

#[tokio::test]
async fn a_service_is_reached_under_its_name() {
    let (registry, hook) = (registry(), Hook::start(&["s.a.svc"], good).await);
    let put = async |group: &str, resource: &str, object: Value| {
        let object = api::Object::from_value(object).unwrap();
        let key = crate::registry::key(group, resource, "a", object.name());
        let operations = vec![store::Operation::Put(key.into(), object.encode())];
        registry.store().commit(store::Transaction { operations, ..Default::default() }).await.unwrap();
    };
    let of =
        |name: &str| json!({"service": {"namespace": "a", "name": name, "path": "/p"}, "caBundle": hook.ca_bundle()});
    let refused = call(&registry, &of("s"), LONG, 1 << 20).await.unwrap_err().to_string();
    assert_eq!(refused, "Post \"https://s.a.svc:443/p?timeout=10s\": service \"s\" not found");
    for name in ["s", "t"] {
        let spec = json!({"type": "ClusterIP", "ports": [{"port": 443}]});
        put("", "services", json!({"metadata": {"namespace": "a", "name": name}, "spec": spec})).await;
        let labels = json!({"kubernetes.io/service-name": name});
        let slice = json!({"metadata": {"namespace": "a", "name": name, "labels": labels}, "addressType": "IPv4",
            "endpoints": [{"addresses": [hook.address.ip().to_string()]}],
            "ports": [{"name": "", "port": hook.address.port()}]});
        put("discovery.k8s.io", "endpointslices", slice).await;
    }
    call(&registry, &of("s"), LONG, 1 << 20).await.unwrap();
    assert_eq!(hook.seen()[0].version, Version::HTTP_11, "a service has several ends");
    let refused = call(&registry, &of("t"), LONG, 1 << 20).await.unwrap_err().to_string();
    let why = "tls: failed to verify certificate: x509: certificate is valid for s.a.svc, not t.a.svc";
    assert_eq!(refused, format!("Post \"https://t.a.svc:443/p?timeout=10s\": {why}"));
}

#[tokio::test]
async fn the_server_itself_is_asked_without_a_connection() {
    let server = crate::strategy::tests::Server::new().await;
    let registry = server.0.registry();
    let at = |path: &str| json!({"service": {"namespace": "default", "name": "kubernetes", "path": path}});
    let reviews = at("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
    let refused = call(registry, &reviews, LONG, 1 << 20).await.unwrap_err();
    let CallError::Answered(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{status:?}");
    let url = json!({"url": "https://kubernetes.default.svc/healthz"});
    let refused = call(registry, &url, LONG, 1 << 20).await.unwrap_err().to_string();
    assert!(!refused.starts_with("Post "), "{refused}");
    // Elsewhere in the namespace it is looked for.
    let other = json!({"service": {"namespace": "default", "name": "kubernetes", "port": 6443}});
    let refused = call(registry, &other, LONG, 1 << 20).await.unwrap_err().to_string();
    assert!(refused.starts_with("Post \"https://kubernetes.default.svc:6443/?timeout=10s\": "), "{refused}");
}

#[tokio::test]
async fn strangers_are_not_trusted() {
    let (registry, hook, other) =
        (registry(), Hook::start(&["localhost"], good).await, Hook::start(&["127.0.0.1"], good).await);
    let url = format!("https://{}/", hook.address);
    for (config, why) in [
        (json!({"url": url}), "tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        (
            json!({"url": url, "caBundle": other.ca_bundle()}),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority (possibly because of \"x509: \
             invalid signature: parent certificate cannot sign this kind of certificate\" while trying to verify candidate \
             authority certificate \"rcgen self signed cert\")",
        ),
        (
            hook.client_config("/"),
            "tls: failed to verify certificate: x509: cannot validate certificate for 127.0.0.1 because it doesn't \
             contain any IP SANs",
        ),
    ] {
        let refused = call(&registry, &config, LONG, 1 << 20).await.unwrap_err().to_string();
        let authority = hook.address.to_string();
        assert_eq!(refused, format!("Post \"https://{authority}/?timeout=10s\": {why}"));
    }
    assert!(hook.seen().is_empty());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = call(&registry, &json!({"url": format!("https://127.0.0.1:{port}/x")}), LONG, 1).await;
    let why = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(refused.unwrap_err().to_string(), format!("Post \"https://127.0.0.1:{port}/x?timeout=10s\": {why}"));
}

#[tokio::test]
async fn answers_that_are_none_are_told() {
    let registry = registry();
    let hook = Hook::start(&["127.0.0.1"], |path, _| {
        let raw = |code: u16, body: &str| Reply::Raw(code, Vec::new(), Bytes::from(body.to_string()));
        match path.split('?').next().unwrap() {
            "/empty" => raw(200, ""),
            "/missing" => raw(404, "x"),
            "/broken" => raw(500, " oh \"no\" "),
            "/moved" => Reply::Raw(302, vec![("location", "/good".into())], Bytes::new()),
            "/status" => Reply::Raw(
                403,
                Vec::new(),
                json!({"status": "Failure", "message": "go", "code": 403}).to_string().into(),
            ),
            "/other" => {
                Reply::Json(json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not so"}))
            }
            "/long" => raw(200, &"x".repeat(5000)),
            "/typed" => Reply::Json(
                json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"allowed": "yes"}}),
            ),
            "/hang" => Reply::Hang,
            _ => good("", Value::Null),
        }
    })
    .await;
    for (path, why) in [
        ("/good", ""),
        ("/empty", "0-length response with status code: 200 and content type: application/json"),
        ("/missing", "the server could not find the requested resource"),
        ("/broken", "an error on the server (\"oh \\\"no\\\"\") has prevented the request from succeeding"),
        ("/moved", "the server responded with the status code 302 but did not return more information"),
        ("/status", "go"),
        ("/other", "converting (v1.Status) to (v1.AdmissionReview): unknown conversion"),
        (
            "/long",
            "unexpected error when reading response body. Please retry. Original error: the answer is longer than 4096 \
             bytes",
        ),
        (
            "/typed",
            "json: cannot unmarshal string into Go struct field AdmissionResponse.response.allowed of type bool",
        ),
    ] {
        let found = call(&registry, &hook.client_config(path), LONG, 4096).await;
        let found = found.map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(found, why, "{path}");
    }
    assert!(hook.seen().iter().filter(|seen| seen.path.starts_with("/good")).count() == 1, "nobody is led elsewhere");
    let started = Instant::now();
    let hangs = call(&registry, &hook.client_config("/hang"), Duration::from_millis(50), 4096).await.unwrap_err();
    assert!(hangs.to_string().ends_with("/hang?timeout=10s\": context deadline exceeded"), "{hangs}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_webhook_may_ask_for_another_moment() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let (registry, hook) = (
        registry(),
        Hook::start(&["127.0.0.1"], move |_, _| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 1 => Reply::Raw(503, vec![("retry-after", "0".into())], Bytes::new()),
            2 => good("", Value::Null),
            _ => Reply::Raw(429, vec![("retry-after", "0".into())], Bytes::new()),
        })
        .await,
    );
    call(&registry, &hook.client_config("/"), LONG, 4096).await.unwrap();
    assert_eq!(hook.seen().len(), 3);
    let refused = call(&registry, &hook.client_config("/"), LONG, 4096).await.unwrap_err().to_string();
    assert_eq!(refused, "the server has received too many requests and has asked us to try again later");
    assert_eq!(hook.seen().len(), 1 + super::RETRIES_MAX);
}
