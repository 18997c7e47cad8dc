//! A client over TLS: one HTTP/1.1 connection, as lean as a client can be, because it shares the machine's cores.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Failure;
use crate::server::{Server, TOKEN};

/// One request.
pub(crate) struct Call {
    method: Method,
    path: String,
    media_type: &'static str,
    body: Bytes,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), media_type: "application/json", body: Bytes::new() }
    }

    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path: path.into(), media_type: "application/json", body: body.into() }
    }

    pub(crate) fn patch(path: impl Into<String>, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { method: Method::PATCH, path: path.into(), media_type, body: body.into() }
    }
}

/// One connection, of one user.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    token: &'static str,
}

impl Connection {
    pub(crate) async fn open(server: &Server) -> Result<Self, Failure> {
        Self::to(server.port).await
    }

    pub(crate) async fn to(port: u16) -> Result<Self, Failure> {
        Self::of(port, TOKEN).await
    }

    /// A connection of who has a token.
    pub(crate) async fn of(port: u16, token: &'static str) -> Result<Self, Failure> {
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
        Ok(Self { sender, token })
    }

    /// Sends a request and gives the answer with its body still to come.
    pub(crate) async fn send(&mut self, call: Call) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", call.media_type)
            .body(Full::new(call.body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request that must succeed, and gives the whole answer.
    pub(crate) async fn call(&mut self, call: Call) -> Result<Bytes, Failure> {
        let what = format!("{} {}", call.method, call.path);
        let response = self.send(call).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(bytes);
        }
        Err(format!("{what}: {status}: {}", String::from_utf8_lossy(&bytes)).into())
    }

    /// Sends a request that must succeed, and reads the answer to its end without keeping it. Returns its size.
    pub(crate) async fn size(&mut self, call: Call) -> Result<usize, Failure> {
        let what = format!("{} {}", call.method, call.path);
        let response = self.send(call).await?;
        if !response.status().is_success() {
            return Err(format!("{what}: {}", response.status()).into());
        }
        let (mut body, mut size) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            size += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(size)
    }

    /// Whether a request succeeds.
    pub(crate) async fn succeeds(&mut self, call: Call) -> Result<bool, Failure> {
        let response = self.send(call).await?;
        let status = response.status();
        response.into_body().collect().await?;
        Ok(status.is_success())
    }
}

/// Whether the server says that it is ready.
pub(crate) async fn ready(server: &Server) -> bool {
    let Ok(mut connection) = Connection::open(server).await else { return false };
    connection.succeeds(Call::get("/readyz")).await.unwrap_or(false)
}

/// The lines of a watch, counted as they come.
pub(crate) struct Lines {
    body: Incoming,
    /// The beginning of a line whose rest has not come yet.
    begun: Vec<u8>,
}

impl Lines {
    pub(crate) fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), begun: Vec::new() }
    }

    /// Waits for more, and calls `line` for each line that is whole.
    pub(crate) async fn read(&mut self, mut line: impl FnMut(&[u8])) -> Result<(), Failure> {
        let frame = self.body.frame().await.ok_or("the watch ended")??;
        let Some(mut data) = frame.data_ref().map(|data| &data[..]) else { return Ok(()) };
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            if self.begun.is_empty() {
                line(&data[..end]);
            } else {
                self.begun.extend_from_slice(&data[..end]);
                line(&self.begun);
                self.begun.clear();
            }
            data = &data[end + 1..];
        }
        self.begun.extend_from_slice(data);
        Ok(())
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
