//! Requests that mean harm or make no sense: each gets the reference's answer, and the server goes on. The texts are
//! what a reference server answered to the same requests.

use std::time::Duration;

use api::UserInfo;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use serde_json::json;

use crate::harness::{Answer, Server};

const MAPS: &str = "/api/v1/namespaces/a/configmaps";
const MAP: &str = "/api/v1/namespaces/a/configmaps/m";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// A server with the namespace `a` and the map `m` in it.
async fn server() -> Server {
    let server = Server::new();
    assert_eq!(server.post("/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await.code, 201);
    assert_eq!(server.post(MAPS, json!({"metadata": {"name": "m"}, "data": {"a": "b"}})).await.code, 201);
    server
}

/// The code, and the reason and message of a status or else the text.
fn told(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
    let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    match (status["kind"].as_str(), status["message"].as_str()) {
        (Some("Status"), Some(message)) => format!("{} {message}", answer.code),
        (Some(kind), _) => format!("{} {kind}", answer.code),
        _ => format!("{} {text}", answer.code),
    }
}

/// Sends a request and compares the beginning of what [`told`] says.
async fn check(server: &Server, method: &str, url: &str, content: &str, body: impl Into<Bytes>, expected: &str) {
    let body: Bytes = body.into();
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", content)
        .extension(UserInfo::new("admin", &["system:masters"]))
        .body(Body::from(body.clone()))
        .unwrap();
    let answer = server.request(request).await;
    let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    let got = told(&answer);
    assert!(got.starts_with(expected), "{method} {url:.200} {shown}\n got {got:.600}\nwant {expected}");
    assert_eq!(server.get("/livez/ping").await.code, 200, "after {method} {url:.200} {shown}");
}

const UNREADABLE: &str = "400 the object provided is unrecognized (must be of type ConfigMap): ";

fn map(more: &str) -> String {
    format!("{{\"metadata\":{{\"name\":\"n\"}}{more}}}")
}

#[tokio::test]
async fn bodies() {
    let server = server().await;
    let json = format!("{UNREADABLE}couldn't get version/kind; json parse error: ");
    let cases: Vec<(&str, Vec<u8>, String)> = vec![
        (JSON, b"{\"a\":".into(), format!("{json}unexpected end of JSON input ({{\"a\":)")),
        (JSON, b"".into(), format!("{json}unexpected end of JSON input (<empty>)")),
        (JSON, format!("{0}{0}", map("")).into(), format!("{json}invalid character '{{' after top-level value")),
        (JSON, b"{\"a\":NaN}".into(), format!("{json}invalid character 'N' looking for beginning of value")),
        (JSON, b"\xff\xfe{\0}\0".into(), format!("{json}invalid character '\u{ff}' looking for beginning of value")),
        (JSON, b"{\"a\":\"\0\"}".into(), format!("{json}invalid character '\\x00' in string literal")),
        (JSON, b"[]".into(), format!("{json}json: cannot unmarshal array into Go value of type struct")),
        (JSON, "[".repeat(3 << 20).into(), format!("{json}invalid character '[' exceeded max depth")),
        (JSON, "{\"a\":".repeat(500_000).into(), format!("{json}invalid character '{{' exceeded max depth")),
        (JSON, map(&format!(",\"x\":{}{}", "[".repeat(9999), "]".repeat(9999))).into(), "201 ConfigMap".into()),
        (JSON, map(&format!(",\"x\":{}{}", "[".repeat(10_000), "]".repeat(10_000))).into(), json.clone()),
        (
            JSON,
            map(",\"data\":{\"a\":1e999}").into(),
            "400 ConfigMap in version \"v1\" cannot be handled as a ConfigMap: \
            json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
                .into(),
        ),
        (JSON, vec![b' '; (3 << 20) + 1], "413 Request entity too large: limit is 3145728".into()),
        (YAML, format!("x:\n{}1", "- ".repeat(1000)).into(), "422 ConfigMap \"\" is invalid: metadata.name".into()),
        (
            YAML,
            format!("x:\n{}1", "- ".repeat(100_000)).into(),
            format!("{UNREADABLE}yaml: line 2: exceeded max depth of 10000"),
        ),
        (YAML, b"a: &a [*a]".into(), format!("{UNREADABLE}yaml: anchor 'a' value contains itself")),
        (YAML, b"a: \xff".into(), format!("{UNREADABLE}yaml: invalid leading UTF-8 octet")),
        (YAML, b"metadata: {name: x}\n---\n{{{".into(), "201 ConfigMap".into()),
        (";;;", b"{}".into(), "415 the body of the request was in an unknown format".into()),
        (
            "application/vnd.kubernetes.protobuf",
            b"k8s\0\x0a\xff\xff\xff\xff\x0f".into(),
            format!("{UNREADABLE}unexpected EOF"),
        ),
        ("application/vnd.kubernetes.protobuf", b"k8s\0\x0b".into(), format!("{UNREADABLE}proto: illegal tag")),
        (
            "application/vnd.kubernetes.protobuf",
            b"nope".into(),
            format!("{UNREADABLE}provided data does not appear to be"),
        ),
    ];
    for (content, body, expected) in cases {
        check(&server, "POST", &format!("{MAPS}?dryRun=All"), content, body, &expected).await;
    }
    let huge = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(3 << 20));
    let too_large = "413 Request entity too large: limit is 3145728";
    for content in [JSON_PATCH, APPLY, "application/merge-patch+json", "application/strategic-merge-patch+json"] {
        check(&server, "PATCH", &format!("{MAP}?fieldManager=x"), content, huge.clone(), too_large).await;
    }
    check(&server, "PUT", MAP, JSON, huge.clone(), too_large).await;
    check(&server, "DELETE", MAP, JSON, huge, too_large).await;
    assert_eq!(server.get(MAP).await.at("data.a"), "b", "nothing is lost");
}

#[tokio::test]
async fn patches() {
    let server = server().await;
    let many = |count: usize| json!(vec![json!({"op": "add", "path": "/data/a", "value": "x"}); count]).to_string();
    check(&server, "PATCH", MAP, JSON_PATCH, many(10_000), "200 ConfigMap").await;
    let too_many = "413 Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    check(&server, "PATCH", MAP, JSON_PATCH, many(10_001), too_many).await;
    let mut copies = vec![json!({"op": "add", "path": "/data/a", "value": "x".repeat(100_000)})];
    copies.extend((0..100).map(|i| json!({"op": "copy", "from": "/data/a", "path": format!("/data/c{i}")})));
    let refused = "422 the server rejected our request due to an error in our request";
    check(&server, "PATCH", MAP, JSON_PATCH, json!(copies).to_string(), refused).await;
    let nest = json!(vec![json!({"op": "copy", "from": "/data", "path": "/data/a"}); 10_000]).to_string();
    check(&server, "PATCH", MAP, JSON_PATCH, nest, refused).await;
    let far = json!([{"op": "add", "path": "/metadata/managedFields/-99999999999999999999", "value": 1}]).to_string();
    check(&server, "PATCH", MAP, JSON_PATCH, far, refused).await;
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_string();
    for (name, before) in ('b'..='l').zip('a'..) {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(",")));
    }
    let expected = "400 error decoding YAML: error converting YAML to JSON: yaml: document contains excessive aliasing";
    check(&server, "PATCH", &format!("{MAP}?fieldManager=x"), APPLY, bomb, expected).await;
    let manager = |name: &str| format!("{MAPS}?dryRun=All&fieldManager={name}");
    let long = "422 CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes";
    check(&server, "POST", &manager(&"x".repeat(129)), JSON, map(""), long).await;
    let bad = "422 CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"\\n\": invalid character U+000A \
               (at position 0)";
    check(&server, "POST", &manager("%0a"), JSON, map(""), bad).await;
    assert_eq!(server.get(MAP).await.at("data.a"), "x");
}

#[tokio::test]
async fn paths_and_queries() {
    let server = server().await;
    let token = |text: &[u8]| format!("/api/v1/pods?continue={}", URL_SAFE_NO_PAD.encode(text));
    let long = format!("{MAP}{}", "x".repeat(5000));
    let missing = format!("404 configmaps \"m{}\" not found", "x".repeat(5000));
    let cases: &[(&str, &str, &str)] = &[
        ("GET", "/api/v1/namespaces/../secrets", "500 invalid key: \"/secrets/..\""),
        ("GET", "/api/v1/namespaces/%2e%2e/pods", "500 invalid key: \"/pods/..\""),
        ("GET", "//api/v1/pods", "404 404 page not found"),
        ("GET", "/api/v1/namespaces/a/pods//log", "400 name must be provided"),
        ("GET", "/api/v1/namespaces/a/pods/%", "400 400 Bad Request"),
        ("GET", "/api/v1/namespaces/a/pods/%zz", "400 400 Bad Request"),
        ("GET", "/api/v1/namespaces/a/pods/.", "400 Name parameter invalid: \".\": may not be '.'"),
        ("DELETE", "/api/v1/namespaces/a/pods/..", "400 Name parameter invalid: \"..\": may not be '..'"),
        ("GET", "/api/v1/namespaces/a/pods/x%25y", "400 Name parameter invalid: \"x%y\": may not contain '%'"),
        ("GET", "/api/v1/namespaces/a/pods/%00", "404 pods "),
        ("GET", "/api/v1/namespaces/a/pods/%ff", "404 pods "),
        ("GET", &long, &missing),
        ("PUT", MAPS, "405 the server does not allow this method on the requested resource"),
        ("POST", MAP, "405 the server does not allow this method on the requested resource"),
        ("HEAD", MAP, "405 "),
        (
            "GET",
            "/api/v1/watch",
            "500 Internal Server Error: \"/api/v1/watch\": failed to create RequestInfo: unable to \
                                  determine kind and namespace from url, /api/v1/watch\n",
        ),
        ("GET", "/api/v1/pods?limit=abc", "400 strconv.ParseInt: parsing \"abc\": invalid syntax"),
        (
            "GET",
            "/api/v1/pods?limit=99999999999999999999",
            "400 strconv.ParseInt: parsing \"99999999999999999999\": value \
                                                            out of range",
        ),
        (
            "GET",
            "/api/v1/pods?resourceVersion=99999999999999999999",
            "400 invalid resource version: resourceVersion: \
            Invalid value: \"99999999999999999999\": strconv.ParseUint: parsing \"99999999999999999999\": value out of range",
        ),
        (
            "GET",
            "/api/v1/pods?continue=bogus",
            "400 invalid continue token: continue key is not valid: illegal base64 data \
                                                at input byte 4",
        ),
        ("GET", &token(b"["), "400 invalid continue token: continue key is not valid: unexpected end of JSON input"),
        (
            "GET",
            &token(br#"{"v":"meta.k8s.io/v9","rv":1,"start":"x"}"#),
            "400 invalid continue token: continue key is not \
            valid: server does not recognize this encoded version meta.k8s.io/v9",
        ),
        ("GET", &token(br#"{"v":"meta.k8s.io/v1","rv":1,"start":"../../x"}"#), "400 invalid continue token"),
        (
            "GET",
            &token(br#"{"v":"meta.k8s.io/v1","rv":99999999999,"start":"x"}"#),
            "504 Timeout: Too large resource version",
        ),
        ("GET", &token(br#"{"v":"meta.k8s.io/v1","rv":-5,"start":"x"}"#), "200 PodList"),
    ];
    for (method, url, expected) in cases {
        check(&server, method, url, JSON, "", expected).await;
    }
    let terms = |term: &str, count: usize, separator: &str| vec![term; count].join(separator);
    let selectors = [
        ("labelSelector", terms("a!=b", 5_000, ",")),
        ("labelSelector", format!("a in ({})", terms("v", 9_000, ","))),
        ("fieldSelector", terms("metadata.name!=x", 3_000, ",")),
    ];
    for (name, selector) in selectors {
        let selector: String = selector.replace(' ', "%20");
        check(&server, "GET", &format!("{MAPS}?{name}={selector}"), JSON, "", "200 ConfigMapList").await;
    }
    let brackets = format!("{MAPS}?labelSelector=a%20in%20{}", "(".repeat(20_000));
    check(&server, "GET", &brackets, JSON, "", "400 unable to parse requirement").await;
}

#[tokio::test]
async fn a_slow_watcher_is_closed_and_slows_nobody() {
    let mut config = apiserver::Config::new(store::Memory::with_limits(store::HistoryLimits {
        events_max: 200,
        ..store::HistoryLimits::default()
    }));
    config.plugins.strategy_of = apiserver::strategy::of;
    let server = Server(apiserver::ApiServer::new(config));
    assert_eq!(server.post("/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await.code, 201);
    let watch = || {
        let request = Request::get(format!("{MAPS}?watch=1")).extension(UserInfo::new("admin", &["system:masters"]));
        let response = server.0.handle(request.body(Body::empty()).unwrap());
        async { response.await.into_body().into_data_stream() }
    };
    let (mut slow, mut quick) = (watch().await, watch().await);
    let mut seen = 0;
    for number in 0..600 {
        let map = json!({"metadata": {"name": format!("m{number}")}});
        assert_eq!(server.post(MAPS, map).await.code, 201);
        while seen <= number {
            let bytes = tokio::time::timeout(Duration::from_secs(5), quick.next()).await.expect("in time");
            seen += bytes.expect("it is not closed").unwrap().iter().filter(|byte| **byte == b'\n').count();
        }
    }
    let mut left = Vec::new();
    while let Some(bytes) = tokio::time::timeout(Duration::from_secs(5), slow.next()).await.expect("it is closed") {
        left.extend_from_slice(&bytes.unwrap());
    }
    let events = left.iter().filter(|byte| **byte == b'\n').count();
    assert!(events < 600, "{events} events for one that did not read");
    // It may come back with what it saw last, or is told that this is gone.
    assert_eq!(server.get(&format!("{MAPS}?limit=1")).await.code, 200);
}
