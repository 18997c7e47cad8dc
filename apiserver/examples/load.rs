//! Measures a server that `serve` started: `load PORT TOKEN PODS` creates pods, reads one over 64 connections, lists
//! them all, and delivers events to 1 000 watchers. Prints one line for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const CONNECTIONS: usize = 64;
const WATCHERS: usize = 1_000;
const EVENTS: usize = 200;
const ROUND: Duration = Duration::from_secs(3);

/// Measuring needs no trust: the server is this machine's own.
#[derive(Debug)]
struct Any;

impl ServerCertVerifier for Any {
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

#[derive(Clone)]
struct Target {
    port: u16,
    token: String,
    connector: TlsConnector,
}

struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Target {
    async fn connect(&self) -> Result<Connection, Failure> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        tcp.set_nodelay(true)?;
        let stream = self.connector.connect(ServerName::try_from("localhost")?, tcp).await?;
        Ok(Connection { stream, buffer: vec![0; 256 * 1024] })
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )
        .into_bytes()
    }
}

impl Connection {
    /// Sends a request and reads the answer; returns its code and length.
    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, usize), Failure> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let head = loop {
            let n = self.stream.read(&mut self.buffer[filled..]).await?;
            if n == 0 {
                return Err("closed".into());
            }
            filled += n;
            if let Some(at) = self.buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_lowercase();
        let code = text[9..12].parse()?;
        let length = text.lines().find_map(|l| l.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        match length {
            Some(length) => {
                let mut body = filled - head;
                while body < length {
                    body += self.stream.read(&mut self.buffer).await?;
                }
                Ok((code, length))
            }
            None => {
                let mut body = filled - head;
                let mut ended = self.buffer[..filled].ends_with(b"0\r\n\r\n");
                while !ended {
                    let n = self.stream.read(&mut self.buffer).await?;
                    body += n;
                    ended = self.buffer[..n].ends_with(b"0\r\n\r\n") || n == 0;
                }
                Ok((code, body))
            }
        }
    }
}

fn pod(name: &str) -> String {
    let env: Vec<String> =
        (0..40).map(|i| format!("{{\"name\":\"VARIABLE_{i}\",\"value\":\"some value number {i} of many\"}}")).collect();
    format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{name}\",\"labels\":{{\"app\":\"load\"}}}},\
         \"spec\":{{\"containers\":[{{\"name\":\"c\",\"image\":\"busybox\",\"env\":[{}]}}]}}}}",
        env.join(",")
    )
}

async fn on_all(
    target: &Target,
    work: impl Fn(usize, usize) -> Vec<u8> + Send + Sync + 'static,
    stop: impl Fn(usize, Instant) -> bool + Send + Sync + 'static,
) -> Result<(u64, Duration, Vec<Duration>), Failure> {
    let (work, stop) = (Arc::new(work), Arc::new(stop));
    let done = Arc::new(AtomicU64::new(0));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(target.connect().await?);
    }
    let started = Instant::now();
    let mut tasks = Vec::new();
    for (index, mut connection) in connections.into_iter().enumerate() {
        let (work, stop, done) = (work.clone(), stop.clone(), done.clone());
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            let mut round = 0;
            while !stop(index + round * CONNECTIONS, started) {
                let request = work(index, round);
                let before = Instant::now();
                let (code, _) = connection.exchange(&request).await?;
                took.push(before.elapsed());
                if code >= 300 {
                    return Err(Failure::from(format!("code {code}")));
                }
                done.fetch_add(1, Ordering::Relaxed);
                round += 1;
            }
            Ok(took)
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    all.sort();
    Ok((done.load(Ordering::Relaxed), started.elapsed(), all))
}

async fn watchers(target: &Target) -> Result<(), Failure> {
    let received = Arc::new(AtomicU64::new(0));
    let ready = Arc::new(AtomicU64::new(0));
    let version = "/api/v1/namespaces/load/configmaps?watch=1";
    for _ in 0..WATCHERS {
        let mut connection = target.connect().await?;
        let request = target.request("GET", version, "");
        let (received, ready) = (received.clone(), ready.clone());
        tokio::spawn(async move {
            connection.stream.write_all(&request).await?;
            let mut first = true;
            loop {
                let n = connection.stream.read(&mut connection.buffer).await?;
                if n == 0 {
                    return Ok::<(), Failure>(());
                }
                if std::mem::take(&mut first) {
                    ready.fetch_add(1, Ordering::Relaxed);
                }
                let events = memchr::memmem::find_iter(&connection.buffer[..n], b"{\"type\":\"").count() as u64;
                received.fetch_add(events, Ordering::Relaxed);
            }
        });
    }
    while ready.load(Ordering::Relaxed) < WATCHERS as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let started = Instant::now();
    let mut connection = target.connect().await?;
    for i in 0..EVENTS {
        let body = format!("{{\"metadata\":{{\"name\":\"e{i}\"}},\"data\":{{\"text\":\"{}\"}}}}", "x".repeat(800));
        connection.exchange(&target.request("POST", "/api/v1/namespaces/load/configmaps", &body)).await?;
    }
    let expected = (WATCHERS * EVENTS) as u64;
    while received.load(Ordering::Relaxed) < expected && started.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = started.elapsed();
    let count = received.load(Ordering::Relaxed);
    println!("watch: {count} of {expected} deliveries in {took:?}: {:.0}/s", count as f64 / took.as_secs_f64());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().ok_or("a port")?.parse()?;
    let token = arguments.next().ok_or("a token")?;
    let pods: usize = arguments.next().ok_or("a number of pods")?.parse()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any))
        .with_no_client_auth();
    let target = Target { port, token, connector: TlsConnector::from(Arc::new(tls)) };
    let mut one = target.connect().await?;
    let namespace = "{\"metadata\":{\"name\":\"load\"}}";
    one.exchange(&target.request("POST", "/api/v1/namespaces", namespace)).await?;
    let account = "{\"metadata\":{\"name\":\"default\"}}";
    one.exchange(&target.request("POST", "/api/v1/namespaces/load/serviceaccounts", account)).await?;

    let path = "/api/v1/namespaces/load/pods";
    let (of, create) = (target.clone(), target.clone());
    let make = move |index, round| create.request("POST", path, &pod(&format!("p{:06}", index + round * CONNECTIONS)));
    let (count, took, all) = on_all(&of, make, move |number, _| number >= pods).await?;
    println!("create: {count} in {took:?}: {:.0}/s, p50 {:?}", count as f64 / took.as_secs_f64(), all[all.len() / 2]);

    let get = target.request("GET", "/api/v1/namespaces/load/pods/p000001", "");
    let (_, length) = one.exchange(&get).await?;
    let (count, took, all) = on_all(&of, move |_, _| get.clone(), |_, started| started.elapsed() > ROUND).await?;
    println!("get of {length} bytes: {:.0}/s, p50 {:?}", count as f64 / took.as_secs_f64(), all[all.len() / 2]);

    for _ in 0..5 {
        let started = Instant::now();
        let (code, length) = one.exchange(&target.request("GET", path, "")).await?;
        println!("list: {code}, {length} bytes in {:?}", started.elapsed());
    }
    watchers(&target).await
}
