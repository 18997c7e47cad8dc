//! Load over TLS: one HTTP/1.1 connection a worker, as lean as a client can be, because it shares the machine's cores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::Failure;
use crate::server::{Server, TOKEN};

/// What a load did.
pub struct Load {
    pub latencies: Vec<Duration>,
    elapsed: Duration,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// The bench measures the server, not its certificate.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

type Connection = SendRequest<Full<Bytes>>;

async fn connect(port: u16) -> Result<Connection, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::new(config)).connect("localhost".try_into()?, stream).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    connection: &mut Connection,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Response<Incoming>, Failure> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    connection.ready().await?;
    Ok(connection.send_request(request).await?)
}

async fn whole(response: Response<Incoming>, path: &str) -> Result<Bytes, Failure> {
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    if status.is_success() {
        return Ok(bytes);
    }
    Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&bytes)).into())
}

/// Whether the server says that it is ready.
pub async fn ready(server: &Server) -> bool {
    let Ok(mut connection) = connect(server.port).await else { return false };
    let answer = send(&mut connection, Method::GET, "/readyz", Bytes::new()).await;
    answer.is_ok_and(|response| response.status().is_success())
}

/// One GET on a connection of its own.
pub async fn get(server: &Server, path: &str) -> Result<Bytes, Failure> {
    let mut connection = connect(server.port).await?;
    whole(send(&mut connection, Method::GET, path, Bytes::new()).await?, path).await
}

/// One POST on a connection of its own.
pub async fn post(server: &Server, path: &str, body: String) -> Result<Bytes, Failure> {
    let mut connection = connect(server.port).await?;
    whole(send(&mut connection, Method::POST, path, body.into()).await?, path).await
}

/// Creates `each_total` pods on `connections` connections.
pub async fn creates(server: &Server, connections: usize, each_total: usize, prefix: &str) -> Result<Load, Failure> {
    let mut workers = JoinSet::new();
    let begin = Instant::now();
    for worker in 0..connections {
        let (port, prefix) = (server.port, prefix.to_string());
        workers.spawn(async move {
            let mut connection = connect(port).await?;
            let mut latencies = Vec::new();
            for number in (worker..each_total).step_by(connections) {
                let body = pod(&format!("{prefix}-{number}"), true);
                let start = Instant::now();
                let path = "/api/v1/namespaces/bench/pods";
                whole(send(&mut connection, Method::POST, path, body).await?, path).await?;
                latencies.push(start.elapsed());
            }
            Ok::<_, Failure>(latencies)
        });
    }
    collect(workers, begin).await
}

/// GETs one path on `connections` connections for a time.
pub async fn gets(server: &Server, connections: usize, path: &'static str, time: Duration) -> Result<Load, Failure> {
    let mut workers = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..connections {
        let port = server.port;
        workers.spawn(async move {
            let mut connection = connect(port).await?;
            let mut latencies = Vec::new();
            while begin.elapsed() < time {
                let start = Instant::now();
                whole(send(&mut connection, Method::GET, path, Bytes::new()).await?, path).await?;
                latencies.push(start.elapsed());
            }
            Ok::<_, Failure>(latencies)
        });
    }
    collect(workers, begin).await
}

async fn collect(mut workers: JoinSet<Result<Vec<Duration>, Failure>>, begin: Instant) -> Result<Load, Failure> {
    let mut latencies = Vec::new();
    while let Some(worker) = workers.join_next().await {
        latencies.extend(worker??);
    }
    Ok(Load { latencies, elapsed: begin.elapsed() })
}

/// Deliveries a second: `watchers` watch one namespace's config maps while `events` of them are created.
pub async fn watchers(server: &Server, watchers: usize, events: usize, round: usize) -> Result<f64, Failure> {
    let path = "/api/v1/namespaces/bench/configmaps";
    let list: Value = serde_json::from_slice(&get(server, path).await?)?;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_string();
    let ready = Arc::new(tokio::sync::Barrier::new(watchers + 1));
    let mut workers = JoinSet::new();
    for _ in 0..watchers {
        let (port, version, ready) = (server.port, version.clone(), ready.clone());
        workers.spawn(async move {
            let mut connection = connect(port).await?;
            let path = format!("/api/v1/namespaces/bench/configmaps?watch=1&resourceVersion={version}");
            let mut body = send(&mut connection, Method::GET, &path, Bytes::new()).await?.into_body();
            ready.wait().await;
            let mut seen = 0;
            while seen < events {
                let frame = body.frame().await.ok_or("the watch ended")??;
                seen += frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
            }
            Ok::<_, Failure>(Vec::new())
        });
    }
    ready.wait().await;
    let begin = Instant::now();
    let mut connection = connect(server.port).await?;
    for number in 0..events {
        let body = json!({"metadata": {"name": format!("event-{round}-{number}")}, "data": {"k": "v".repeat(200)}});
        whole(send(&mut connection, Method::POST, path, body.to_string().into()).await?, path).await?;
    }
    collect(workers, begin).await?;
    Ok((watchers * events) as f64 / begin.elapsed().as_secs_f64())
}

/// Creates nodes that nobody runs.
pub async fn nodes(server: &Server, count: usize) -> Result<(), Failure> {
    let mut connection = connect(server.port).await?;
    let room = json!({"cpu": "32", "memory": "128Gi", "pods": "110"});
    for number in 0..count {
        let name = format!("node-{number:04}");
        let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}});
        let path = "/api/v1/nodes";
        whole(send(&mut connection, Method::POST, path, node.to_string().into()).await?, path).await?;
        let path = format!("/api/v1/nodes/{name}");
        // A node starts with the taint of one that is not ready; here nobody runs to take it away.
        let untaint = Request::builder()
            .method(Method::PATCH)
            .uri(&path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/merge-patch+json")
            .body(Full::new(Bytes::from_static(br#"{"spec":{"taints":null}}"#)))?;
        connection.ready().await?;
        whole(connection.send_request(untaint).await?, &path).await?;
    }
    Ok(())
}

/// Pods a second, from the first create to the last binding.
pub async fn bind(server: &Server, count: usize) -> Result<f64, Failure> {
    let mut connection = connect(server.port).await?;
    let path = "/api/v1/namespaces/bench/pods?watch=1&fieldSelector=spec.nodeName!%3D";
    let mut body = send(&mut connection, Method::GET, path, Bytes::new()).await?.into_body();
    let begin = Instant::now();
    let creating = {
        let port = server.port;
        tokio::spawn(async move {
            let mut workers = JoinSet::new();
            for worker in 0..16 {
                workers.spawn(async move {
                    let mut connection = connect(port).await?;
                    for number in (worker..count).step_by(16) {
                        let path = "/api/v1/namespaces/bench/pods";
                        let body = pod(&format!("p-{number}"), false);
                        whole(send(&mut connection, Method::POST, path, body).await?, path).await?;
                    }
                    Ok::<_, Failure>(())
                });
            }
            while let Some(worker) = workers.join_next().await {
                worker??;
            }
            Ok::<_, Failure>(())
        })
    };
    let mut bound = 0;
    while bound < count {
        let frame = body.frame().await.ok_or("the watch ended")??;
        let data = frame.data_ref().cloned().unwrap_or_default();
        bound += count_of(&data, b"{\"type\":\"ADDED\"");
    }
    let elapsed = begin.elapsed();
    creating.await??;
    Ok(count as f64 / elapsed.as_secs_f64())
}

fn count_of(data: &[u8], wanted: &[u8]) -> usize {
    data.windows(wanted.len()).filter(|window| *window == wanted).count()
}

/// A pod as controllers make them; with `large`, of the size that the figures name.
fn pod(name: &str, large: bool) -> Bytes {
    let filler = if large { "x".repeat(1500) } else { String::new() };
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench"}, "annotations": {"filler": filler}},
        "spec": {"containers": [{"name": "c", "image": "busybox", "command": ["sleep", "3600"],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}]},
    });
    pod.to_string().into()
}
