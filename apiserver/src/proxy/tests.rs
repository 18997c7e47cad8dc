//! A node's server and a pod at the other end of real connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use api::{Object, UserInfo};
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use store::{Memory, Operation, Transaction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::certificates::Pki;
use crate::registry::key;
use crate::{ApiServer, Config};

/// Nodes that lead to where nobody may be led.
const FORGED: [(&str, &str); 6] = [
    ("loopback", "127.0.0.1"),
    ("mapped", "::ffff:127.0.0.1"),
    ("named", "localhost"),
    ("link", "169.254.169.254"),
    ("unspecified", "0.0.0.0"),
    ("six", "::1"),
];

async fn put(server: &ApiServer, resource: &str, object: Value) {
    let object = Object::from_value(object).unwrap();
    let key: Arc<str> = key("", resource, object.namespace(), object.name()).into();
    let operations = vec![Operation::Put(key, object.encode())];
    let store = server.registry().store();
    store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
}

fn pod(name: &str, node: &str, containers: &[&str]) -> Value {
    let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name})).collect();
    let mut spec = json!({"containers": containers});
    if !node.is_empty() {
        spec["nodeName"] = node.into();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": name}, "spec": spec})
}

/// Answers a log with its own request line, refuses what it does not know, and echoes what is upgraded.
async fn node_server(pki: &Pki) -> SocketAddr {
    let now = jiff::Timestamp::now();
    let serving = pki.node_serving("n", &[], now).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(pki.server_config(&serving).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut stream = acceptor.accept(tcp).await.unwrap();
            assert!(stream.get_ref().1.peer_certificates().is_some());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                for secret in ["authorization", "impersonate", "x-remote"] {
                    assert!(!head.to_ascii_lowercase().contains(secret), "{head}");
                }
                let line = head.lines().next().unwrap().to_string();
                if line.contains("/exec/") {
                    let told = head.lines().find_map(|line| line.strip_prefix("x-forwarded-for: ")).unwrap_or_default();
                    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n";
                    let answer = format!("{answer}X-Told: {told}\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    let (mut read, mut write) = tokio::io::split(stream);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    return;
                }
                let code = if line.contains("missing") { "404 Not Found" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {code}\r\nContent-Length: {}\r\n\r\n{line}", line.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

async fn server() -> (ApiServer, Pki) {
    let pki = Pki::in_memory(jiff::Timestamp::now()).unwrap();
    let mut config = Config::new(Memory::new());
    let identity = pki.kubelet_client(jiff::Timestamp::now()).unwrap();
    super::endpoints(&mut config.plugins.endpoints, pki.client_config(&identity).unwrap());
    let server = ApiServer::new(config);
    let address = node_server(&pki).await;
    put(
        &server,
        "nodes",
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {
            "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}}}}),
    )
    .await;
    server.registry().state().set_agent("n", address);
    let forged = |name: &str, host: &str| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {
            "addresses": [{"type": "InternalIP", "address": host}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}}}})
    };
    for (name, host) in FORGED {
        put(&server, "nodes", forged(name, host)).await;
        put(&server, "pods", pod(name, name, &["c"])).await;
    }
    put(&server, "pods", pod("one", "n", &["c"])).await;
    put(&server, "pods", pod("two", "n", &["c", "d"])).await;
    put(&server, "pods", pod("missing", "n", &["c"])).await;
    put(&server, "pods", pod("waiting", "", &["c"])).await;
    (server, pki)
}

async fn check(server: &ApiServer, path: &str, code: u16, expected: &str) {
    let request = Request::builder()
        .uri(format!("/api/v1/{path}"))
        .header("authorization", "Bearer secret")
        .header("x-remote-user", "admin")
        .header("x-remote-extra-a", "b")
        .header("impersonate-user", "somebody")
        .header("impersonate-group", "system:masters")
        .extension(UserInfo::new("admin", &["system:masters"]))
        .body(Body::empty())
        .unwrap();
    let response = server.handle(request).await;
    let found = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body);
    let shown = serde_json::from_str::<Value>(&text).ok().and_then(|v| v["message"].as_str().map(String::from));
    assert_eq!((found, shown.unwrap_or(text.into_owned()).as_str()), (code, expected), "{path}");
}

#[tokio::test]
async fn logs_come_from_the_node_and_mistakes_are_told() {
    let (server, _) = server().await;
    let of = |pod: &str| format!("namespaces/a/pods/{pod}/log");
    let line = "GET /containerLogs/a/one/c?follow=true&tailLines=3 HTTP/1.1";
    check(&server, &format!("{}?tailLines=3&follow=true&x=y", of("one")), 200, line).await;
    check(&server, &format!("{}?container=d", of("two")), 200, "GET /containerLogs/a/two/d HTTP/1.1").await;
    let choose = "a container name must be specified for pod two, choose one of: [c d]";
    check(&server, &of("two"), 400, choose).await;
    check(&server, &format!("{}?container=x", of("one")), 400, "container x is not valid for pod one").await;
    check(&server, &of("waiting"), 204, "").await;
    let negative = "PodLogOptions \"one\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0";
    check(&server, &format!("{}?tailLines=-1", of("one")), 422, negative).await;
    check(&server, &of("none"), 404, "pods \"none\" not found").await;
    check(&server, &of("missing"), 404, "GET /containerLogs/a/missing/c HTTP/1.1").await;
    let unassigned = "pod waiting does not have a host assigned";
    check(&server, "namespaces/a/pods/waiting/exec?command=ls", 400, unassigned).await;
    check(&server, "namespaces/a/pods/waiting/portforward", 400, unassigned).await;
    check(&server, "namespaces/a/pods/one/proxy/x", 400, "address not allowed").await;
    check(&server, "nodes/n/proxy/stats/summary?a=b", 200, "GET /stats/summary?a=b HTTP/1.1").await;
    check(&server, "nodes/none/proxy/", 404, "nodes \"none\" not found").await;
}

#[tokio::test]
async fn nobody_is_led_to_this_machine() {
    let (server, _) = server().await;
    for (name, _) in FORGED {
        for path in ["nodes/NODE/proxy/x", "nodes/http:NODE:80/proxy/x", "namespaces/a/pods/NODE/log"] {
            check(&server, &path.replace("NODE", name), 400, "address not allowed").await;
        }
        for path in ["exec?command=ls", "attach", "portforward"] {
            check(&server, &format!("namespaces/a/pods/{name}/{path}"), 400, "address not allowed").await;
        }
    }
    // What listens beside the own agent is not the agent.
    check(&server, "nodes/n:1/proxy/x", 400, "address not allowed").await;
    check(&server, "nodes/https:n:1/proxy/x", 400, "address not allowed").await;
    check(&server, "namespaces/a/pods/one/exec?command=ls", 400, "Upgrade request required").await;
}

/// Endpoints are no way to an address that is no pod's.
#[tokio::test]
async fn services_lead_to_pods_only() {
    let (server, _) = server().await;
    let mut backing = pod("backing", "n", &["c"]);
    backing["status"] = json!({"podIP": "192.0.2.1", "podIPs": [{"ip": "192.0.2.1"}, {"ip": "127.0.0.1"}]});
    put(&server, "pods", backing).await;
    for (name, ip, namespace) in
        [("other-ip", "192.0.2.2", "a"), ("loopback", "127.0.0.1", "a"), ("other-namespace", "192.0.2.1", "b")]
    {
        let target = json!({"kind": "Pod", "name": "backing", "namespace": namespace});
        let subset = json!({"addresses": [{"ip": ip, "targetRef": target}], "ports": [{"port": 80}]});
        let metadata = json!({"namespace": "a", "name": name});
        let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset]});
        put(&server, "endpoints", endpoints).await;
        let expected = format!("no endpoints available for service {name:?}");
        check(&server, &format!("namespaces/a/services/{name}/proxy/x"), 503, &expected).await;
    }
}

/// A node that names another's address reaches the other's server with the other's certificate.
#[tokio::test]
async fn a_node_is_known_by_its_certificate() {
    let (server, _) = server().await;
    let address = server.registry().state().agent("n").unwrap();
    server.registry().state().set_agent("m", address);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "m"}});
    put(&server, "nodes", node).await;
    let why = format!("{address} shows the certificate of \"system:node:n\" and not of node \"m\"");
    check(&server, "nodes/m/proxy/x", 503, &format!("error trying to reach service: {why}")).await;
}

#[tokio::test]
async fn a_connection_into_a_pod_needs_create() {
    use crate::authorization::{Rbac, authorizers};
    let (server, _) = server().await;
    let mut config = server.registry().config().clone();
    config.plugins.authorizers = authorizers(&Arc::new(Rbac::default()));
    let agent = server.registry().state().agent("n").unwrap();
    let server = ApiServer::new(config);
    server.registry().state().set_agent("n", agent);
    let group = "rbac.authorization.k8s.io";
    let store = server.registry().store();
    for verb in ["get", "create"] {
        let resources = ["pods/exec", "pods/attach", "pods/portforward", "pods/log", "pods/proxy"];
        let role = json!({"metadata": {"name": verb},
            "rules": [{"apiGroups": [""], "resources": resources, "verbs": [verb]}]});
        let binding = json!({"metadata": {"name": verb}, "roleRef": {"kind": "ClusterRole", "name": verb},
            "subjects": [{"kind": "User", "name": verb}, {"kind": "User", "name": "both"}]});
        let operations = [("clusterroles", role), ("clusterrolebindings", binding)].map(|(resource, object)| {
            let object = Object::from_value(object).unwrap();
            Operation::Put(key(group, resource, "", object.name()).into(), object.encode())
        });
        store.commit(Transaction { operations: operations.into(), ..Transaction::default() }).await.unwrap();
    }
    for (user, method, subresource, code) in [
        ("get", "GET", "exec?command=ls", 403),
        ("get", "GET", "attach", 403),
        ("get", "GET", "portforward", 403),
        ("create", "GET", "exec?command=ls", 403),
        // Both are let through to where they are told that they do not upgrade.
        ("create", "POST", "exec?command=ls", 400),
        ("both", "GET", "exec?command=ls", 400),
        ("both", "GET", "attach", 400),
        ("both", "GET", "portforward", 400),
        ("get", "GET", "log", 200),
        ("create", "POST", "log", 405),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/namespaces/a/pods/one/{subresource}"))
            .extension(UserInfo::new(user, &[]))
            .body(Body::empty())
            .unwrap();
        assert_eq!(server.handle(request).await.status().as_u16(), code, "{user} {method} {subresource}");
    }
}

#[tokio::test]
async fn an_upgrade_passes_bytes_both_ways() {
    let (server, pki) = server().await;
    let now = jiff::Timestamp::now();
    let (serving, admin) = (pki.serving(&[], &[], now).unwrap(), pki.admin(now).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut config = server.registry().config().clone();
    let certificates = crate::authentication::ClientCertificates::new(pki.client_verifier().unwrap());
    let identify = |tokens| Arc::new(crate::authentication::Authentication::new(certificates, Arc::new(tokens), None));
    let key = crate::authentication::SigningKey::from_pem(pki.service_account_key_pem()).unwrap();
    config.plugins.authenticators =
        vec![identify(crate::authentication::ServiceAccountTokens::new(key, "https://issuer"))];
    let agent = server.registry().state().agent("n").unwrap();
    let server = ApiServer::new(config);
    server.registry().state().set_agent("n", agent);
    let tls = pki.server_config(&serving).unwrap();
    let serve = tokio::spawn({
        let stop = stop.clone();
        async move { server.serve(listener, tls, stop).await }
    });
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::from(address.ip());
    let connector = tokio_rustls::TlsConnector::from(pki.client_config(&admin).unwrap());
    let stream = connector.connect(name, tcp).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::builder()
        .method("POST")
        .uri("/api/v1/namespaces/a/pods/one/exec?command=cat&stdin=true")
        .header("host", "x")
        .header("connection", "Upgrade")
        .header("upgrade", "echo")
        .header("x-forwarded-for", "10.1.1.1")
        .body(Body::empty())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["upgrade"], "echo");
    assert_eq!(response.headers()["x-told"], "10.1.1.1, 127.0.0.1");
    let mut upgraded = hyper_util::rt::TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    upgraded.write_all(b"hello").await.unwrap();
    let mut echoed = [0; 5];
    upgraded.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"hello");
    drop(upgraded);
    stop.cancel();
    serve.await.unwrap();
}
