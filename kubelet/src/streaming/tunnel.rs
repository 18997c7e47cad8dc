//! Port-forward over WebSocket: SPDY's bytes in binary messages, of which the runtime's server sees only the bytes.

use axum::body::Body;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::websocket::{accept, negotiate, normal_close, socket};
use super::{Error, PORT_FORWARD_PROTOCOL, upstream};

/// The WebSocket protocol that tunnels SPDY.
const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// How much is read at once.
const BUFFER_BYTES: usize = 32 << 10;

pub(super) async fn serve(mut request: Request<Body>, url: &str) -> Result<Response<Body>, Error> {
    let protocol = negotiate(request.headers(), &[TUNNEL_PROTOCOL])?;
    let upstream = upstream::connect(url, &[PORT_FORWARD_PROTOCOL.to_owned()]).await?;
    let (response, client) = accept(&mut request, &protocol)?;
    tokio::spawn(async move {
        let Some(socket) = socket(client).await else { return };
        let (mut sink, mut messages) = socket.split();
        let (mut from_runtime, mut to_runtime) = tokio::io::split(upstream.stream);
        let up = async {
            while let Some(Ok(message)) = messages.next().await {
                match message {
                    Message::Binary(bytes) => to_runtime.write_all(&bytes).await?,
                    Message::Close(_) => break,
                    _ => {}
                }
            }
            to_runtime.shutdown().await
        };
        let down = async {
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                match from_runtime.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => {
                        if sink.send(Message::binary(buffer[..length].to_vec())).await.is_err() {
                            return;
                        }
                    }
                }
            }
            let _ = sink.send(normal_close()).await;
        };
        tokio::select! {
            _ = up => {}
            () = down => {}
        }
    });
    Ok(response)
}
