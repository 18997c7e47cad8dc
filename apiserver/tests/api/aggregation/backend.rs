//! A small server of an aggregated API: over TLS, and only for who shows the front proxy's certificate.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::Object;
use apiserver::certificates::{Authority, CertificateRequest, Pki, Usage, certified_chain, client_verifier};
use apiserver::clock::SystemClock;
use apiserver::front_proxy::{FrontProxy, FrontProxyOptions};
use apiserver::registry::key;
use apiserver::{ApiServer, Config};
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use store::{Operation, Transaction};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::harness::Server;

pub(super) const ALL: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
pub(super) const THINGS: &str = "/apis/ex.com/v1/namespaces/a/things";
const WHOLE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// What the server has counted.
#[derive(Default)]
pub(super) struct Counts {
    /// Questions for the whole of its discovery that were answered with a document, and with that it is as before.
    pub whole: AtomicUsize,
    pub unchanged: AtomicUsize,
    /// Answers under way that nobody ends.
    pub hanging: AtomicUsize,
    pub connections: AtomicUsize,
}

/// The server of the API, and the API server before it.
pub(super) struct Aggregated {
    pub server: Server,
    pub pki: Pki,
    pub address: SocketAddr,
    pub counts: Arc<Counts>,
    bundle: String,
    stop_backend: CancellationToken,
    _stop: DropGuard,
}

impl Aggregated {
    pub(super) async fn start() -> Self {
        let now = SystemClock::shared().now();
        let pki = Pki::in_memory(now).unwrap();
        let mut config = Config::new(store::Memory::new());
        config.plugins.strategy_of = apiserver::strategy::of;
        crate::wire::plug(&mut config);
        let front_proxy = Arc::new(FrontProxy::new(&pki, &FrontProxyOptions::default(), now).unwrap());
        front_proxy.plug_into(&mut config.plugins);
        let server = Server(ApiServer::new(config));
        let (stop, background) = (CancellationToken::new(), server.0.clone());
        let token = stop.clone();
        tokio::spawn(async move { background.run(token).await });
        let authority = Authority::generate("extension", now).unwrap();
        let counts = Arc::new(Counts::default());
        let stop_backend = CancellationToken::new();
        let address = serve(&authority, pki.front_proxy_pem(), counts.clone(), stop_backend.clone()).await;
        let bundle = STANDARD.encode(authority.certificate_pem());
        let all = Self { server, pki, address, counts, bundle, stop_backend, _stop: stop.drop_guard() };
        all.put_service(address.port()).await;
        all
    }

    /// Stores an object as it is: what the server itself would not take leads to this machine.
    pub(super) async fn store(&self, group: &str, resource: &str, object: Value) {
        let object = Object::from_value(object).unwrap();
        let key = key(group, resource, object.namespace(), object.name());
        let operations = vec![Operation::Put(key.into(), object.encode())];
        let store = self.server.0.registry().store();
        store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
    }

    /// The service `s`, with its endpoint at a port of this machine.
    pub(super) async fn put_service(&self, port: u16) {
        let metadata = json!({"namespace": "n", "name": "s"});
        let spec = json!({"type": "ClusterIP", "ports": [{"port": 443}]});
        self.store("", "services", json!({"metadata": metadata, "spec": spec})).await;
        self.put_slice(port, true).await;
    }

    pub(super) async fn put_slice(&self, port: u16, ready: bool) {
        let metadata = json!({"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}});
        let endpoints = json!([{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}]);
        let ports = json!([{"name": "", "port": port}]);
        let slice = json!({"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports});
        self.store("discovery.k8s.io", "endpointslices", slice).await;
    }

    pub(super) fn api_service(&self) -> Value {
        json!({"metadata": {"name": "v1.ex.com"}, "spec": {"group": "ex.com", "version": "v1",
            "groupPriorityMinimum": 2000, "versionPriority": 10, "caBundle": self.bundle,
            "service": {"namespace": "n", "name": "s"}}})
    }

    /// Registers the API and waits until it is available.
    pub(super) async fn register(&self) {
        let made = self.server.post(ALL, self.api_service()).await;
        assert_eq!(made.code, 201, "{:?}", made.json());
        self.becomes(["True", "Passed"]).await;
    }

    /// Waits until the condition of the APIService is this one, of status and reason; its message.
    pub(super) async fn becomes(&self, wanted: [&str; 2]) -> String {
        let url = format!("{ALL}/v1.ex.com");
        let found = self.eventually(&url, |found| {
            let condition = &found["status"]["conditions"][0];
            condition["status"] == wanted[0] && condition["reason"] == wanted[1]
        });
        found.await["status"]["conditions"][0]["message"].as_str().unwrap().to_string()
    }

    /// Waits until the answer is as it should be.
    pub(super) async fn eventually(&self, url: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..5_000 {
            let found = self.server.get(url).await;
            last = serde_json::from_slice(&found.bytes).unwrap_or_default();
            if fits(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{url}: {last}");
    }

    /// What the aggregated form of discovery has of the group.
    pub(super) async fn whole(&self) -> Value {
        let request = Request::builder().uri("/apis").header("accept", WHOLE);
        let request = request.extension(api::UserInfo::new("admin", &["system:masters"])).body(Body::empty()).unwrap();
        let found = self.server.request(request).await.json();
        let items = found["items"].as_array().unwrap();
        items.iter().find(|item| item["metadata"]["name"] == "ex.com").cloned().unwrap_or_default()
    }

    pub(super) async fn whole_becomes(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..5_000 {
            last = self.whole().await;
            if fits(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{last}");
    }

    pub(super) fn stop_backend(&self) {
        self.stop_backend.cancel();
    }
}

async fn serve(authority: &Authority, front_proxy: &str, counts: Arc<Counts>, stop: CancellationToken) -> SocketAddr {
    let names = vec!["s.n.svc".to_string()];
    let request = CertificateRequest { usage: Usage::Server, names, ..CertificateRequest::client("s", None) };
    let pems = authority.issue(&request, SystemClock::shared().now()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_client_cert_verifier(client_verifier(front_proxy).unwrap());
    let shown = Arc::new(certified_chain(&pems.certificate_pem, &pems.key_pem).unwrap());
    let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(Ok((tcp, _))) = stop.run_until_cancelled(listener.accept()).await {
            let (acceptor, counts, stop) = (acceptor.clone(), counts.clone(), stop.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(tcp).await else { return };
                counts.connections.fetch_add(1, Ordering::Relaxed);
                let is_proxy = stream.get_ref().1.peer_certificates().is_some();
                let service = service_fn(move |request| answer(request, is_proxy, counts.clone()));
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http1();
                let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                let _ = stop.run_until_cancelled(serving).await;
            });
        }
    });
    address
}

fn json_answer(code: u16, document: &Value) -> Response<Body> {
    let builder = Response::builder().status(code).header("content-type", "application/json");
    builder.body(Body::from(document.to_string())).unwrap()
}

async fn answer(request: Request<Incoming>, is_proxy: bool, counts: Arc<Counts>) -> Result<Response<Body>, Infallible> {
    if !is_proxy {
        return Ok(json_answer(401, &json!({})));
    }
    let (head, body) = request.into_parts();
    let things = json!({"resource": "things", "scope": "Namespaced", "singularResource": "thing", "verbs": ["get", "list"],
        "responseKind": {"group": "ex.com", "version": "v1", "kind": "Thing"}});
    Ok(match head.uri.path() {
        "/apis" if head.headers.get("if-none-match").is_some_and(|tag| tag == "\"1\"") => {
            counts.unchanged.fetch_add(1, Ordering::Relaxed);
            Response::builder().status(304).body(Body::empty()).unwrap()
        }
        "/apis" => {
            counts.whole.fetch_add(1, Ordering::Relaxed);
            let items =
                json!([{"metadata": {"name": "ex.com"}, "versions": [{"version": "v1", "resources": [things]}]}]);
            let body = json!({"kind": "APIGroupDiscoveryList", "items": items}).to_string();
            let builder = Response::builder().header("content-type", WHOLE).header("etag", "\"1\"");
            builder.body(Body::from(body)).unwrap()
        }
        "/apis/ex.com/v1" => json_answer(200, &json!({"kind": "APIResourceList", "resources": [{"name": "things"}]})),
        "/openapi/v2" => {
            let reference = |name: &str| json!({"get": {"schema": {"$ref": format!("#/definitions/{name}")}}});
            let object_meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
            let thing = json!({"properties": {"metadata": {"$ref": format!("#/definitions/{object_meta}")}}});
            json_answer(
                200,
                &json!({"swagger": "2.0", "paths": {THINGS: reference("com.ex.Thing"), "/version": reference("V")},
                "definitions": {"com.ex.Thing": thing, object_meta: {"description": "another"}, "V": {}}}),
            )
        }
        "/openapi/v3" => json_answer(
            200,
            &json!({"paths": {
            "apis/ex.com/v1": {"serverRelativeURL": "/openapi/v3/apis/ex.com/v1?hash=AB12"},
            "apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=FALSE"}}}),
        ),
        "/openapi/v3/apis/ex.com/v1" => json_answer(200, &json!({"openapi": "3.0.0", "paths": {THINGS: {}}})),
        path if path.ends_with("/redirect") => {
            Response::builder().status(302).header("location", "https://elsewhere/").body(Body::empty()).unwrap()
        }
        path if path.ends_with("/hang") => {
            struct Gone(Arc<Counts>);
            impl Drop for Gone {
                fn drop(&mut self) {
                    self.0.hanging.fetch_sub(1, Ordering::Relaxed);
                }
            }
            counts.hanging.fetch_add(1, Ordering::Relaxed);
            let held = Gone(counts);
            let first = futures::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"first\n")) });
            let rest = futures::stream::pending();
            let body = first.chain(rest).inspect(move |_| _ = &held);
            Response::new(Body::from_stream(body))
        }
        path if path.ends_with("/echo") && head.headers.contains_key("upgrade") => {
            let request = Request::from_parts(head, body);
            tokio::spawn(async move {
                let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
            let builder = Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "echo");
            builder.body(Body::empty()).unwrap()
        }
        path if path.ends_with("/large") => Response::new(Body::new(body)),
        path => {
            let headers: Vec<String> = head
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
                .collect();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let told = json!({"method": head.method.as_str(), "path": path, "query": head.uri.query(), "headers": headers,
                "body": String::from_utf8_lossy(&body)});
            let mut response = json_answer(if path.ends_with("/missing") { 404 } else { 200 }, &told);
            response.headers_mut().insert("access-control-allow-origin", "*".parse().unwrap());
            response
        }
    })
}
