//! A server elsewhere, over TLS, which the API server asks.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use apiserver::certificates::{CertificateRequest, Pki};
use apiserver::clock::SystemClock;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What is answered to a path and a body.
pub(crate) type Answers = Arc<dyn Fn(&str, &[u8]) -> (u16, String) + Send + Sync>;

/// How often it was asked, and with which headers at last.
type Calls = Arc<Mutex<(usize, HeaderMap)>>;

/// The server. It ends when this is dropped.
pub(crate) struct Elsewhere {
    pub address: SocketAddr,
    /// The certificate of its authority.
    pub authority_pem: String,
    calls: Calls,
    _stop: DropGuard,
}

impl Elsewhere {
    pub(crate) async fn start(answers: Answers) -> Self {
        let pki = Pki::in_memory(SystemClock::shared().now()).unwrap();
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let request = CertificateRequest::apiserver(&["localhost".into()], &[here]);
        let leaf = pki.authority().issue(&request, SystemClock::shared().now()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind((here, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (calls, stop) = (Calls::default(), CancellationToken::new());
        let (counted, ended, acceptor) = (calls.clone(), stop.clone(), TlsAcceptor::from(Arc::new(tls)));
        tokio::spawn(ended.run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, calls, acceptor) = (answers.clone(), counted.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = service_fn(move |request| answer(answers.clone(), calls.clone(), request));
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        }));
        let authority_pem = pki.authority_pem().to_string();
        Self { address, authority_pem, calls, _stop: stop.drop_guard() }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How often it was asked.
    pub(crate) fn calls(&self) -> usize {
        self.calls.lock().0
    }

    /// With which headers it was asked at last.
    pub(crate) fn last_headers(&self) -> HeaderMap {
        self.calls.lock().1.clone()
    }

    /// A kubeconfig that leads there.
    pub(crate) fn kubeconfig(&self, path: &str) -> String {
        let authority = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &self.authority_pem);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: w\nclusters:\n- name: c\n  cluster:\n    server: {}{path}\n    \
             certificate-authority-data: {authority}\nusers:\n- name: u\n  user:\n    token: secret\ncontexts:\n- name: w\n  \
             context:\n    cluster: c\n    user: u\n",
            self.url()
        )
    }
}

async fn answer(
    answers: Answers,
    calls: Calls,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    {
        let mut calls = calls.lock();
        *calls = (calls.0 + 1, request.headers().clone());
    }
    let path = request.uri().path().to_string();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (code, text) = answers(&path, &body);
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    Ok(response)
}
