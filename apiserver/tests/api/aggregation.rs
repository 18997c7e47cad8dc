//! APIs that another server serves: asked, told of and looked after.

#[path = "aggregation/backend.rs"]
mod backend;

use std::sync::atomic::Ordering;
use std::time::Duration;

use api::UserInfo;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::wire::Wire;
use backend::{ALL, Aggregated, THINGS};

fn as_jane(method: &str, url: &str) -> http::request::Builder {
    let mut jane = UserInfo::new("jane", &["system:masters", "dev"]);
    jane.uid = "7".into();
    jane.extra.insert("example.com/scope".into(), vec!["some".into()]);
    Request::builder().method(method).uri(url).extension(jane)
}

fn headers(told: &Value) -> Vec<&str> {
    told["headers"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn requests_of_every_verb_are_answered_by_the_service() {
    let all = Aggregated::start().await;
    all.register().await;
    for (method, url, path, query) in [
        (
            "GET",
            format!("{THINGS}?limit=5&labelSelector=a%3Db"),
            THINGS.to_string(),
            json!("labelSelector=a%3Db&limit=5"),
        ),
        ("GET", format!("{THINGS}/x%2fy/../z"), format!("{THINGS}/x/y/../z"), Value::Null),
        ("POST", THINGS.to_string(), THINGS.to_string(), Value::Null),
        ("PUT", format!("{THINGS}/x/status"), format!("{THINGS}/x/status"), Value::Null),
        ("PATCH", format!("{THINGS}/x"), format!("{THINGS}/x"), Value::Null),
        ("DELETE", format!("{THINGS}/x"), format!("{THINGS}/x"), Value::Null),
        ("POST", "/apis/ex.com/v1".into(), "/apis/ex.com/v1/".into(), Value::Null),
    ] {
        let url = if method == "POST" && url.ends_with("v1") { format!("{url}/") } else { url };
        let body = if method == "GET" { "" } else { "{\"a\":1}" };
        let request = as_jane(method, &url)
            .header("authorization", "Bearer secret")
            .header("x-remote-user", "somebody")
            .header("x-remote-group", "system:masters")
            .header("x-remote-extra-a", "b")
            .header("audit-id", "number")
            .body(Body::from(body))
            .unwrap();
        let answer = all.server.request(request).await;
        let told = answer.json();
        assert_eq!((answer.code, &told["method"], &told["path"]), (200, &json!(method), &json!(path)), "{url}");
        assert_eq!((&told["query"], &told["body"]), (&query, &json!(body)));
        let headers = headers(&told);
        for expected in [
            "x-remote-user: jane",
            "x-remote-uid: 7",
            "x-remote-group: dev",
            "x-remote-group: system:authenticated",
            "x-remote-extra-example.com%2fscope: some",
            "audit-id: number",
        ] {
            assert!(headers.contains(&expected), "{expected} in {headers:?}");
        }
        assert!(!headers.iter().any(|header| header.contains("secret") || header.contains("somebody")), "{headers:?}");
        assert!(!headers.contains(&"x-remote-extra-a: b"));
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        assert_eq!(answer.headers["audit-id"], "number");
    }
    let missing = all.server.get(&format!("{THINGS}/missing")).await;
    assert_eq!((missing.code, missing.at("path")), (404, json!(format!("{THINGS}/missing"))));
    assert!(all.counts.connections.load(Ordering::Relaxed) < 10, "connections are kept");
}

#[tokio::test]
async fn who_may_not_does_not_get_there() {
    let all = Aggregated::start().await;
    all.register().await;
    let request =
        Request::builder().uri(THINGS).extension(UserInfo::new("system:anonymous", &[])).body(Body::empty()).unwrap();
    let refused = all.server.request(request).await;
    assert_eq!((refused.code, refused.at("reason")), (403, json!("Forbidden")));
    let message = refused.at("message");
    assert_eq!(
        message,
        "things.ex.com is forbidden: User \"system:anonymous\" cannot list resource \"things\" in API group \"ex.com\" in the namespace \"a\""
    );
}

#[tokio::test]
async fn redirects_are_refused_and_bodies_stream() {
    let all = Aggregated::start().await;
    all.register().await;
    let redirected = all.server.get(&format!("{THINGS}/redirect")).await;
    let why = "the backend attempted to redirect this request, which is not permitted";
    assert_eq!((redirected.code, &redirected.bytes[..]), (502, why.as_bytes()));
    // More than any buffer, both ways.
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 24;
    let chunks = futures::stream::iter((0..CHUNKS).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; CHUNK]))));
    let request = as_jane("POST", &format!("{THINGS}/large")).body(Body::from_stream(chunks)).unwrap();
    let answer = all.server.request(request).await;
    assert_eq!((answer.code, answer.bytes.len()), (200, CHUNK * CHUNKS));
    // What is there comes before the end does, and who goes ends it.
    let request = as_jane("GET", &format!("{THINGS}/hang?watch=true")).body(Body::empty()).unwrap();
    let mut body = all.server.0.handle(request).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((&first[..], all.counts.hanging.load(Ordering::Relaxed)), (&b"first\n"[..], 1));
    drop(body);
    while all.counts.hanging.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn what_there_is_is_told_with_what_is_served_here() {
    let all = Aggregated::start().await;
    all.register().await;
    let groups = all.server.get("/apis").await.json();
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().filter_map(|group| group["name"].as_str()).collect();
    assert_eq!((names.first(), names.last()), (Some(&"apiregistration.k8s.io"), Some(&"ex.com")));
    let group = all.server.get("/apis/ex.com").await;
    assert_eq!(group.at("preferredVersion.groupVersion"), "ex.com/v1");
    assert_eq!(all.server.get("/apis/ex.com/v1").await.at("resources.0.name"), "things");
    assert_eq!(all.server.get("/apis/ex.com/v2").await.code, 404);
    let whole = all.whole_becomes(|found| found["versions"][0]["freshness"] == "Current").await;
    assert_eq!(whole["versions"][0]["resources"][0]["resource"], "things");
    assert!(all.counts.whole.load(Ordering::Relaxed) >= 1);
    let paths = all.server.get("/").await.at("paths");
    assert!(paths.as_array().unwrap().contains(&json!("/apis/ex.com/v1")));
}

#[tokio::test]
async fn how_it_looks_is_told_and_kept_while_it_is_gone() {
    let all = Aggregated::start().await;
    all.register().await;
    let v3 = all.eventually("/openapi/v3", |found| !found["paths"]["apis/ex.com/v1"].is_null()).await;
    assert_eq!(v3["paths"]["apis/ex.com/v1"]["serverRelativeURL"], "/openapi/v3/apis/ex.com/v1?hash=AB12");
    let apps = v3["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(!apps.ends_with("FALSE"), "of others it says nothing");
    let document = all.server.get("/openapi/v3/apis/ex.com/v1?hash=AB12").await;
    assert_eq!((document.code, &document.headers["etag"]), (200, &"\"AB12\"".parse().unwrap()));
    assert!(!document.json()["paths"][THINGS].is_null());
    let check = |found: &Value| {
        let paths = &found["paths"];
        assert_eq!(paths[THINGS]["get"]["schema"]["$ref"], "#/definitions/com.ex.Thing");
        assert!(!paths["/api/v1/namespaces"].is_null() && paths["/version"].is_null());
        let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        let renamed = format!("{meta}_v2");
        let thing = &found["definitions"]["com.ex.Thing"]["properties"]["metadata"]["$ref"];
        assert_eq!(*thing, format!("#/definitions/{renamed}"));
        assert_eq!(found["definitions"][renamed.as_str()]["description"], "another");
        assert!(found["definitions"][meta]["properties"].is_object());
    };
    check(&all.eventually("/openapi/v2", |found| !found["paths"][THINGS].is_null()).await);
    all.put_slice(all.address.port(), false).await;
    let message = all.becomes(["False", "MissingEndpoints"]).await;
    assert_eq!(message, "endpointslices for service/s in \"n\" have no addresses with port name \"\"");
    let gone = all.server.get(THINGS).await;
    assert_eq!((gone.code, &gone.bytes[..]), (503, &b"service unavailable\n"[..]));
    check(&all.server.get("/openapi/v2").await.json());
    assert_eq!(all.server.get("/openapi/v3/apis/ex.com/v1").await.code, 200);
    let whole = all.whole_becomes(|found| found["versions"][0]["freshness"] == "Stale").await;
    assert_eq!(whole["versions"], json!([{"version": "v1", "freshness": "Stale"}]));
    all.put_slice(all.address.port(), true).await;
    all.becomes(["True", "Passed"]).await;
    all.whole_becomes(|found| found["versions"][0]["freshness"] == "Current").await;
    assert!(all.counts.unchanged.load(Ordering::Relaxed) >= 1, "what is known is not sent again");
    // With its APIService all of it goes.
    assert_eq!(all.server.delete(&format!("{ALL}/v1.ex.com"), Value::Null).await.code, 200);
    assert_eq!(all.server.get(THINGS).await.code, 404);
    assert_eq!(all.server.get("/apis/ex.com").await.code, 404);
    assert!(all.whole().await.is_null());
    assert_eq!(all.server.get("/openapi/v3/apis/ex.com/v1").await.code, 404);
    assert!(all.server.get("/openapi/v2").await.json()["paths"][THINGS].is_null());
}

#[tokio::test]
async fn why_a_service_is_not_available() {
    let all = Aggregated::start().await;
    let mut api_service = all.api_service();
    api_service["spec"]["service"]["name"] = "none".into();
    assert_eq!(all.server.post(ALL, api_service).await.code, 201);
    let message = all.becomes(["False", "ServiceNotFound"]).await;
    assert_eq!(message, "service/none in \"n\" is not present");
    let url = format!("{ALL}/v1.ex.com");
    let point = |service: Value| json!({"spec": {"service": service}});
    all.server.merge(&url, point(json!({"name": "s", "port": 444}))).await;
    let message = all.becomes(["False", "ServicePortError"]).await;
    assert_eq!(message, "service/s in \"n\" is not listening on port 444");
    // Another's certificate.
    let other = all.pki.authority_pem().as_bytes();
    let other = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, other);
    all.server.merge(&url, json!({"spec": {"caBundle": other, "service": {"port": 443}}})).await;
    let message = all.becomes(["False", "FailedDiscoveryCheck"]).await;
    let asked = format!("https://{}/apis/ex.com/v1", all.address);
    let expected = format!(
        "failing or missing response from {asked}: Get {asked:?}: tls: failed to verify certificate: x509: certificate \
         signed by unknown authority"
    );
    assert_eq!(message, expected);
    all.server.merge(&url, json!({"spec": {"caBundle": null, "insecureSkipTLSVerify": true}})).await;
    assert_eq!(all.becomes(["True", "Passed"]).await, "all checks passed");
    let written = all.server.get(&url).await.at("metadata.resourceVersion");
    all.put_slice(all.address.port(), true).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(all.server.get(&url).await.at("metadata.resourceVersion"), written, "nothing is written for nothing");
    all.stop_backend();
    all.put_slice(1, true).await;
    let message = all.becomes(["False", "FailedDiscoveryCheck"]).await;
    assert!(message.ends_with("dial tcp 127.0.0.1:1: connect: connection refused"), "{message}");
    let metrics = all.server.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.bytes).into_owned();
    let counted = "aggregator_unavailable_apiservice_total{name=\"v1.ex.com\",reason=\"FailedDiscoveryCheck\"} 1";
    assert!(metrics.contains(counted));
    assert!(metrics.contains("aggregator_unavailable_apiservice{name=\"v1.ex.com\"} 1"));
    // A local one is what it is from its beginning.
    all.server.merge(&url, json!({"spec": {"service": null, "insecureSkipTLSVerify": null}})).await;
    assert_eq!(all.becomes(["True", "Local"]).await, "Local APIServices are always available");
    let local = json!({"metadata": {"name": "v2.ex.com"}, "spec": {"group": "ex.com", "version": "v2",
        "groupPriorityMinimum": 1, "versionPriority": 1}});
    assert_eq!(all.server.post(ALL, local).await.at("status.conditions.0.reason"), "Local");
}

#[tokio::test]
async fn a_service_that_does_not_answer_costs_its_time_and_no_more() {
    let all = Aggregated::start().await;
    all.register().await;
    let url = format!("{ALL}/v1.ex.com");
    // It is still said to be available when its server is gone.
    all.stop_backend();
    let refused = all.server.get(&format!("{THINGS}/x")).await;
    let text = String::from_utf8_lossy(&refused.bytes).into_owned();
    let is_told = text.starts_with("error trying to reach service: ") || text == "service unavailable\n";
    assert!(refused.code == 503 && is_told, "{text}");
    assert_eq!(all.server.get(&url).await.code, 200);
    let silent = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    all.put_slice(silent.local_addr().unwrap().port(), true).await;
    let body =
        json!({"status": {"conditions": [{"type": "Available", "status": "True", "reason": "x", "message": "y"}]}});
    assert_eq!(all.server.merge(&format!("{url}/status"), body).await.code, 200);
    let late = all.server.get(&format!("{THINGS}/x?timeout=50ms")).await;
    let text = String::from_utf8_lossy(&late.bytes).into_owned();
    assert_eq!((late.code, text.as_str()), (503, "error trying to reach service: context deadline exceeded\n"));
}

/// The steps of the conformance test of the aggregator that are about APIServices.
#[tokio::test]
async fn api_services_are_read_patched_replaced_and_deleted_together() {
    let all = Aggregated::start().await;
    all.register().await;
    let (url, status) = (format!("{ALL}/v1.ex.com"), format!("{ALL}/v1.ex.com/status"));
    let before = all.server.get(&status).await;
    assert_eq!(before.at("status.conditions.0.message"), "all checks passed");
    let patched = all
        .server
        .merge(&url, json!({"spec": {"versionPriority": 400}, "metadata": {"labels": {"e2e": "patched"}}}))
        .await;
    assert_eq!((patched.code, patched.at("spec.versionPriority")), (200, json!(400)));
    let conditions =
        json!([before.at("status.conditions.0"), {"type": "StatusPatched", "status": "True", "reason": "E2E"}]);
    let written = all.server.merge(&status, json!({"status": {"conditions": conditions}})).await;
    assert_eq!((written.code, written.at("status.conditions.1.type")), (200, json!("StatusPatched")));
    // The condition that is the server's own stays beside it.
    all.put_slice(all.address.port(), false).await;
    all.becomes(["False", "MissingEndpoints"]).await;
    assert_eq!(all.server.get(&status).await.at("status.conditions.1.reason"), "E2E");
    let deleted = all.server.delete(&format!("{ALL}?labelSelector=e2e%3Dpatched"), Value::Null).await;
    assert_eq!(deleted.code, 200);
    assert_eq!(all.server.get(&url).await.code, 404);
}

#[tokio::test]
async fn a_watch_is_over_when_the_service_ends_it() {
    let all = Aggregated::start().await;
    all.register().await;
    let request = as_jane("GET", &format!("{THINGS}/hang?watch=true")).body(Body::empty()).unwrap();
    let mut body = all.server.0.handle(request).await.into_body().into_data_stream();
    assert!(body.next().await.unwrap().is_ok());
    all.stop_backend();
    assert!(body.next().await.is_none_or(|end| end.is_err()));
}

#[tokio::test]
async fn an_upgrade_passes_bytes_both_ways() {
    let all = Aggregated::start().await;
    all.register().await;
    let wire = Wire::serve(all.server.0.clone()).await;
    let mut connection = wire.http1().await;
    let head = "host: x\r\nauthorization: Bearer admin\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";
    connection.send(format!("GET {THINGS}/echo HTTP/1.1\r\n{head}")).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.extend(connection.read(1).await);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: echo"), "{answer}");
    connection.send("hello").await;
    assert_eq!(connection.read(5).await, b"hello");
    // One that does not change it is no answer to the question.
    let mut plain = wire.http1().await;
    plain.send(format!("GET {THINGS}/x HTTP/1.1\r\nconnection: close, upgrade\r\n{head}")).await;
    let answer = String::from_utf8(plain.read_to_end().await).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("invalid upgrade response: status code 200"),
        "{answer}"
    );
}

/// Headers that a client names in `Connection` stay behind: of its own, and never of those that say who asks.
#[tokio::test]
async fn a_client_cannot_take_back_who_it_is() {
    let all = Aggregated::start().await;
    all.register().await;
    let wire = Wire::serve(all.server.0.clone()).await;
    for (connection, upgrade) in [("close", ""), ("close, Upgrade", "upgrade: echo\r\n")] {
        let mut asked = wire.http1().await;
        let named = "X-Remote-User, X-Remote-Group, X-Remote-Uid, Audit-Id, X-Forwarded-Uri, X-Mine";
        let head = format!("host: x\r\nauthorization: Bearer admin\r\nx-mine: 1\r\nconnection: {connection}, {named}");
        asked.send(format!("GET {THINGS}/missing HTTP/1.1\r\n{head}\r\n{upgrade}\r\n")).await;
        let answer = String::from_utf8(asked.read_to_end().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        for there in ["x-remote-user: admin", "x-remote-group: system:masters", "audit-id: ", "x-forwarded-uri: "] {
            assert!(answer.contains(there), "{upgrade}: no {there} in {answer}");
        }
        assert!(!answer.contains("x-mine"), "{answer}");
    }
}

/// An APIService whose service is this server itself is not available, and if somebody says that it is, it leads nowhere.
#[tokio::test]
async fn a_service_that_is_the_server_itself_leads_nowhere() {
    let all = Aggregated::start().await;
    let wire = Wire::serve(all.server.0.clone()).await;
    all.put_service(wire.address.port()).await;
    let mut api_service = all.api_service();
    let spec = api_service["spec"].as_object_mut().unwrap();
    spec.remove("caBundle");
    spec.insert("insecureSkipTLSVerify".into(), true.into());
    assert_eq!(all.server.post(ALL, api_service).await.code, 201);
    let message = all.becomes(["False", "FailedDiscoveryCheck"]).await;
    let url = format!("https://{}/apis/ex.com/v1", wire.address);
    assert_eq!(message, format!("failing or missing response from {url}: bad status from {url}: 503"));
    let body =
        json!({"status": {"conditions": [{"type": "Available", "status": "True", "reason": "x", "message": "y"}]}});
    assert_eq!(all.server.merge(&format!("{ALL}/v1.ex.com/status"), body).await.code, 200);
    let looped = all.server.get(THINGS).await;
    assert_eq!((looped.code, &looped.bytes[..]), (503, &b"service unavailable\n"[..]));
}
