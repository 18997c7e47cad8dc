//! Exec and attach over WebSocket: messages that begin with a channel's number, translated to SPDY streams.

use std::time::Duration;

use axum::body::{Body, Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, watch};
use tokio_tungstenite::tungstenite::Message;

use super::spdy::{self, Frame, Opener};
use super::websocket::{Socket, accept, negotiate, normal_close, socket};
use super::{Error, REMOTE_COMMAND_PROTOCOLS, Streams, upstream};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// With `v5`, a message on this channel closes the channel that it names.
const CLOSE: u8 = 255;

/// How long a client gets, after the handshake, to make its channels. kubectl before 1.36 reads before it has them, and
/// drops what comes for a channel that it does not know yet; here the first output may be there within a millisecond.
const CLIENT_READY_PAUSE: Duration = Duration::from_millis(30);

/// A WebSocket protocol of exec and attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Variant {
    name: &'static str,
    /// Text messages, with a digit for the channel and base64 behind it.
    base64: bool,
    /// The error channel carries a Status; before version 4 it carried the text of an error.
    status: bool,
    /// The client can close a channel.
    close: bool,
}

const VARIANTS: [Variant; 5] = [
    Variant { name: "v5.channel.k8s.io", base64: false, status: true, close: true },
    Variant { name: "v4.channel.k8s.io", base64: false, status: true, close: false },
    Variant { name: "v4.base64.channel.k8s.io", base64: true, status: true, close: false },
    Variant { name: "channel.k8s.io", base64: false, status: false, close: false },
    Variant { name: "base64.channel.k8s.io", base64: true, status: false, close: false },
];

type ToRuntime = Mutex<WriteHalf<TokioIo<Upgraded>>>;

/// The SPDY stream of each channel.
#[derive(Debug, Default, Clone, Copy)]
struct Open([Option<u32>; 5]);

impl Open {
    fn stream(&self, channel: u8) -> Option<u32> {
        *self.0.get(usize::from(channel))?
    }

    fn channel(&self, stream: u32) -> Option<u8> {
        (0..).zip(&self.0).find(|(_, open)| **open == Some(stream)).map(|(channel, _)| channel)
    }
}

pub(super) async fn serve(mut request: Request<Body>, url: &str, streams: Streams) -> Result<Response<Body>, Error> {
    let known: Vec<&str> = VARIANTS.iter().map(|variant| variant.name).chain([""]).collect();
    let protocol = negotiate(request.headers(), &known)?;
    // A client that names no protocol speaks the first one there was.
    let name = if protocol.is_empty() { "channel.k8s.io" } else { &protocol };
    let variant = *VARIANTS.iter().find(|variant| variant.name == name).expect("only known protocols are negotiated");
    let upstream = upstream::connect(url, &[REMOTE_COMMAND_PROTOCOLS[0].to_owned()]).await?;
    let (response, client) = accept(&mut request, &protocol)?;
    tokio::spawn(async move {
        if let Some(socket) = socket(client).await {
            join(socket, upstream.stream, variant, streams).await;
        }
    });
    Ok(response)
}

/// Joins both sides until the runtime ends, or the client leaves.
async fn join(socket: Socket, runtime: TokioIo<Upgraded>, variant: Variant, streams: Streams) {
    let (sink, messages) = socket.split();
    let (from_runtime, mut to_runtime) = tokio::io::split(runtime);
    let open = match open_streams(&mut to_runtime, streams).await {
        Ok(open) => open,
        Err(error) => {
            tracing::debug!(%error, "the runtime's streams could not be opened");
            return;
        }
    };
    let to_runtime = Mutex::new(to_runtime);
    let (accepted, ready) = watch::channel(0);
    let mut out = Out { sink, variant };
    let down = async {
        if let Err(error) = runtime_to_client(&mut out, from_runtime, &to_runtime, open, accepted).await {
            tracing::debug!(%error, "a stream from the runtime failed");
        }
        let _ = out.sink.send(normal_close()).await;
    };
    tokio::select! {
        () = down => {}
        () = client_to_runtime(messages, &to_runtime, open, variant, ready) => {}
    }
}

/// Opens the streams that the runtime's server waits for.
async fn open_streams(runtime: &mut WriteHalf<TokioIo<Upgraded>>, streams: Streams) -> std::io::Result<Open> {
    let wanted = [
        (ERROR, "error", true),
        (STDIN, "stdin", streams.stdin),
        (STDOUT, "stdout", streams.stdout),
        (STDERR, "stderr", streams.stderr && !streams.tty),
        (RESIZE, "resize", streams.tty),
    ];
    let mut opener = Opener::default();
    let mut open = Open::default();
    let mut stream = 1;
    for (channel, name, _) in wanted.into_iter().filter(|(.., wanted)| *wanted) {
        runtime.write_all(&opener.syn_stream(stream, &[("streamtype", name)])).await?;
        open.0[usize::from(channel)] = Some(stream);
        stream += 2;
    }
    runtime.flush().await?;
    Ok(open)
}

/// The client's side of the WebSocket.
struct Out {
    sink: SplitSink<Socket, Message>,
    variant: Variant,
}

impl Out {
    async fn send(&mut self, channel: u8, payload: &[u8]) -> std::io::Result<()> {
        let message = if self.variant.base64 {
            Message::text(format!("{channel}{}", BASE64.encode(payload)))
        } else {
            let mut bytes = Vec::with_capacity(1 + payload.len());
            bytes.push(channel);
            bytes.extend_from_slice(payload);
            Message::binary(bytes)
        };
        self.sink.send(message).await.map_err(std::io::Error::other)
    }

    /// Sends what came on the error stream, a Status as JSON.
    async fn send_status(&mut self, status: &[u8]) -> std::io::Result<()> {
        if self.variant.status {
            return self.send(ERROR, status).await;
        }
        let status: serde_json::Value = serde_json::from_slice(status).unwrap_or_default();
        if status["status"] == "Success" {
            return Ok(());
        }
        let message = status["message"].as_str().unwrap_or("unknown error").to_owned();
        self.send(ERROR, message.as_bytes()).await
    }
}

async fn runtime_to_client(
    out: &mut Out,
    mut runtime: ReadHalf<TokioIo<Upgraded>>,
    to_runtime: &ToRuntime,
    open: Open,
    accepted: watch::Sender<usize>,
) -> std::io::Result<()> {
    tokio::time::sleep(CLIENT_READY_PAUSE).await;
    // An empty message tells the client that the connection stands.
    let first = [STDOUT, STDERR, ERROR].into_iter().find(|channel| open.stream(*channel).is_some()).unwrap_or(ERROR);
    out.send(first, b"").await?;
    let mut status = Vec::new();
    loop {
        match spdy::read_frame(&mut runtime).await {
            Ok(None) => break,
            // The runtime's server may reset the connection once it has said all.
            Err(error) if !status.is_empty() => {
                tracing::debug!(%error, "the runtime's streaming connection ended early");
                break;
            }
            Err(error) => return Err(error),
            Ok(Some(Frame::Reply { .. })) => accepted.send_modify(|count| *count += 1),
            Ok(Some(Frame::Ping(id))) => to_runtime.lock().await.write_all(&spdy::ping(id)).await?,
            Ok(Some(Frame::Data { stream, payload, .. })) => match open.channel(stream) {
                Some(ERROR) => status.extend_from_slice(&payload),
                Some(channel) if !payload.is_empty() => out.send(channel, &payload).await?,
                _ => {}
            },
            Ok(Some(Frame::GoAway)) => break,
            Ok(Some(Frame::Reset { .. } | Frame::Other)) => {}
        }
    }
    if status.is_empty() { Ok(()) } else { out.send_status(&status).await }
}

async fn client_to_runtime(
    mut messages: SplitStream<Socket>,
    to_runtime: &ToRuntime,
    open: Open,
    variant: Variant,
    mut accepted: watch::Receiver<usize>,
) {
    let streams = open.0.iter().flatten().count();
    let ready = accepted.wait_for(|count| *count >= streams).await.is_ok();
    while ready && let Some(Ok(message)) = messages.next().await {
        let (channel, payload) = match message {
            Message::Binary(bytes) if !bytes.is_empty() => (bytes[0], bytes.slice(1..)),
            Message::Text(text) => match decode_text(text.as_str()) {
                Some(decoded) => decoded,
                None => continue,
            },
            Message::Close(_) => break,
            _ => continue,
        };
        let frame = match channel {
            CLOSE if variant.close => match payload.first().and_then(|channel| open.stream(*channel)) {
                Some(stream) => spdy::data(stream, b"", true),
                None => continue,
            },
            STDIN | RESIZE if !payload.is_empty() => match open.stream(channel) {
                Some(stream) => spdy::data(stream, &payload, false),
                None => continue,
            },
            _ => continue,
        };
        if to_runtime.lock().await.write_all(&frame).await.is_err() {
            // The other direction tells the client why.
            std::future::pending::<()>().await;
        }
    }
    if !ready {
        std::future::pending::<()>().await;
    }
}

fn decode_text(text: &str) -> Option<(u8, Bytes)> {
    let channel = text.as_bytes().first()?.checked_sub(b'0')?;
    Some((channel, BASE64.decode(text.get(1..)?).ok()?.into()))
}
