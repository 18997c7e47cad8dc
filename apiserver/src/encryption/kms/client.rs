//! Calls of the service, over its socket. Each has a connection of its own: there is about one a minute.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::messages::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, EncryptedObject, StatusRequest, StatusResponse,
};
use crate::clock::{self, Clock};
use crate::encryption::config::KmsConfiguration;
use crate::encryption::metrics::EncryptionMetrics;

/// How long to wait before a socket that is not there is looked for again, within the time of a call.
const CONNECT_RETRY: Duration = Duration::from_millis(50);

/// How the service is reached.
pub(super) struct Client {
    name: String,
    socket: PathBuf,
    timeout: Duration,
    metrics: Arc<EncryptionMetrics>,
    clock: Arc<dyn Clock>,
}

impl Client {
    pub(super) fn new(config: &KmsConfiguration, metrics: Arc<EncryptionMetrics>, clock: Arc<dyn Clock>) -> Self {
        let path = config.endpoint.strip_prefix("unix:").unwrap_or(&config.endpoint);
        // `unix:///a`, and the abstract name `unix:@a`.
        let socket = PathBuf::from(path.strip_prefix("//").unwrap_or(path).replacen('@', "\0", 1));
        let timeout = Duration::from_nanos(u64::try_from(config.timeout).unwrap_or(0));
        Self { name: config.name.clone(), socket, timeout, metrics, clock }
    }

    pub(super) async fn status(&self) -> Result<StatusResponse, String> {
        self.call("/v2.KeyManagementService/Status", StatusRequest {}).await
    }

    /// Encrypts a seed.
    pub(super) async fn encrypt(&self, uid: &str, plaintext: &[u8]) -> Result<EncryptResponse, String> {
        let request = EncryptRequest { plaintext: plaintext.to_vec(), uid: uid.to_owned() };
        self.call("/v2.KeyManagementService/Encrypt", request).await
    }

    /// Decrypts what a value says of its seed. Blocks: it is called where a store is opened.
    pub(super) fn decrypt_blocking(&self, object: &EncryptedObject) -> Result<Vec<u8>, String> {
        let request = DecryptRequest {
            ciphertext: object.source.clone(),
            uid: clock::uuid(&*self.clock),
            key_id: object.key_id.clone(),
            annotations: object.annotations.clone(),
        };
        let answer: DecryptResponse = blocking(self.call("/v2.KeyManagementService/Decrypt", request))?;
        Ok(answer.plaintext)
    }

    async fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, String>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let started = self.clock.instant();
        let late = || Status::new(Code::DeadlineExceeded, "context deadline exceeded");
        let answer = tokio::time::timeout(self.timeout, self.exchange(method, request));
        let answer = answer.await.unwrap_or_else(|_| Err(late()));
        let took = self.clock.instant().saturating_duration_since(started);
        let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
        self.metrics.called(&self.name, method, code_name(code), took);
        answer.map_err(|status| format!("rpc error: code = {} desc = {}", code_name(status.code()), status.message()))
    }

    async fn exchange<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut client = Grpc::new(self.channel().await);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        Ok(client.unary(Request::new(request), PathAndQuery::from_static(method), codec).await?.into_inner())
    }

    /// A connection; until there is one it is tried again (`WaitForReady`).
    async fn channel(&self) -> Channel {
        loop {
            let socket = self.socket.clone();
            let connect = tower::service_fn(move |_: Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            match Endpoint::from_static("http://localhost").connect_with_connector(connect).await {
                Ok(channel) => return channel,
                Err(error) => tracing::debug!(%error, name = self.name, "no connection to the key management service"),
            }
            tokio::time::sleep(CONNECT_RETRY).await;
        }
    }
}

/// Runs a call where there is no runtime, or one whose worker this is.
pub(super) fn blocking<T: Send>(call: impl Future<Output = Result<T, String>> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(call)
        };
        scope.spawn(run).join().unwrap_or_else(|_| Err("the call panicked".into()))
    })
}

/// `codes.Code.String`
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
