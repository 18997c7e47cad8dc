//! Calls of gRPC servers behind unix sockets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// Largest answer that is decoded; what a plugin says of the claims of a pod stays far below.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A channel to a socket, which is connected to when it is first needed, and again when that breaks.
pub(crate) fn channel(socket: &Path) -> Channel {
    let socket: PathBuf = socket.to_owned();
    let connect = move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    };
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(connect))
}

fn client(channel: Channel) -> Grpc<Channel> {
    Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

async fn ready(client: &mut Grpc<Channel>) -> Result<(), Status> {
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))
}

/// A call with one answer, within a time.
///
/// # Errors
/// What the server says, or that it cannot be reached.
pub(crate) async fn unary<Q, A>(channel: &Channel, path: &'static str, request: Q, limit: Duration) -> Result<A, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let call = async {
        let mut client = client(channel.clone());
        ready(&mut client).await?;
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        Ok(client.unary(Request::new(request), PathAndQuery::from_static(path), codec).await?.into_inner())
    };
    let late = |_| Err(Status::deadline_exceeded("context deadline exceeded"));
    tokio::time::timeout(limit, call).await.unwrap_or_else(late)
}

/// A call with many answers.
///
/// # Errors
/// What the server says at once, or that it cannot be reached.
pub(crate) async fn streaming<Q, A>(
    channel: &Channel,
    path: &'static str,
    request: Q,
) -> Result<tonic::Streaming<A>, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = client(channel.clone());
    ready(&mut client).await?;
    let codec: ProstCodec<Q, A> = ProstCodec::default();
    Ok(client.server_streaming(Request::new(request), PathAndQuery::from_static(path), codec).await?.into_inner())
}
