//! A webhook for tests: a small TLS server whose answers a test chooses, one for each request.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the webhook answers.
pub(crate) enum Reply {
    /// 200 with this.
    Json(Value),
    /// A code, headers and a body.
    Raw(u16, Vec<(&'static str, String)>, Bytes),
    /// Nothing, ever.
    Hang,
}

/// A request as the webhook got it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub path: String,
    pub text: String,
    pub version: Version,
    /// What it says of who asks.
    pub authorization: String,
    /// The certificate that is shown; empty if none is.
    pub certificate: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("a test can rely on it")
    }
}

type Answering = Arc<dyn Fn(&str, Value) -> Reply + Send + Sync>;

/// The webhook; it ends with the test's runtime.
pub(crate) struct Hook {
    pub address: SocketAddr,
    /// Its certificate in PEM.
    pub certificate: String,
    /// A certificate and its key in PEM that it takes from clients.
    pub client: [String; 2],
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
}

impl Hook {
    /// One whose certificate is for these names, that answers as told by path and body.
    pub(crate) async fn start(names: &[&str], answer: impl Fn(&str, Value) -> Reply + Send + Sync + 'static) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
        let pair = rcgen::generate_simple_self_signed(names).expect("a test can rely on it");
        let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = rcgen::generate_simple_self_signed(vec!["client".into()]).expect("a test can rely on it");
        let mut known = rustls::RootCertStore::empty();
        known.add(client.cert.der().clone()).expect("a test can rely on it");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(known), provider.clone());
        let verifier = verifier.allow_unauthenticated().build().expect("a test can rely on it");
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("a test can rely on it")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![pair.cert.der().clone()], key)
            .expect("a test can rely on it");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a test can rely on it");
        let hook = Self {
            address: listener.local_addr().expect("a test can rely on it"),
            certificate: pair.cert.pem(),
            client: [client.cert.pem(), client.signing_key.serialize_pem()],
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, connections, answer): (_, _, Answering) =
            (hook.seen.clone(), hook.connections.clone(), Arc::new(answer));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen, answer, connections) =
                    (acceptor.clone(), seen.clone(), answer.clone(), connections.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    *connections.lock() += 1;
                    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                    let shown = shown.map(|shown| shown.to_vec()).unwrap_or_default();
                    let service =
                        service_fn(move |request| reply(request, shown.clone(), seen.clone(), answer.clone()));
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        hook
    }

    /// The `clientConfig` of the webhook at a path of its URL.
    pub(crate) fn client_config(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.ca_bundle()})
    }

    /// The certificate as a configuration has it.
    pub(crate) fn ca_bundle(&self) -> String {
        STANDARD.encode(&self.certificate)
    }

    /// What was asked so far, which is taken.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock())
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock()
    }
}

type Replying = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, hyper::Error>> + Send>>;

fn reply(request: Request<Incoming>, certificate: Vec<u8>, seen: Arc<Mutex<Vec<Seen>>>, answer: Answering) -> Replying {
    Box::pin(async move {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let version = request.version();
        let sent = request.headers().get(http::header::AUTHORIZATION);
        let authorization = sent.and_then(|sent| sent.to_str().ok()).unwrap_or_default().to_string();
        let body = request.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        let asked = serde_json::from_str(&text).unwrap_or(Value::Null);
        seen.lock().push(Seen { path: path.clone(), text, version, authorization, certificate });
        let response = match answer(&path, asked) {
            Reply::Json(value) => {
                let body = Full::new(Bytes::from(value.to_string()));
                Response::builder().header("content-type", "application/json").body(body)
            }
            Reply::Raw(code, headers, body) => {
                let mut response = Response::builder().status(code);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(Full::new(body))
            }
            Reply::Hang => std::future::pending().await,
        };
        Ok(response.expect("a test can rely on it"))
    })
}
