//! A server on a real socket, and clients that speak to it byte by byte. Whoever sends `Authorization: Bearer NAME` is
//! the user NAME; `admin` is an administrator.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use api::UserInfo;
use apiserver::authorization::{Answer, Attributes};
use apiserver::certificates::Pki;
use apiserver::clock::SystemClock;
use apiserver::plug::authorization::Masters;
use apiserver::plug::{Authenticator, Authorizer, Decision, Known};
use apiserver::server::limits::Limits;
use apiserver::{ApiServer, Config, Registry};
use futures::FutureExt;
use futures::future::BoxFuture;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// Takes everybody at their word.
struct Named;

impl Authenticator for Named {
    fn authenticate<'a>(
        &'a self,
        request: &'a http::request::Parts,
        _: &'a Registry,
    ) -> BoxFuture<'a, Result<Option<Known>, String>> {
        let token = request.headers.get("authorization").and_then(|value| value.to_str().ok());
        let user = token.and_then(|token| token.strip_prefix("Bearer ")).map(|name| {
            let groups: &[&str] = if name == "admin" { &["system:masters"] } else { &["system:authenticated"] };
            Known::from(Arc::new(UserInfo::new(name, groups)))
        });
        async move { Ok(user) }.boxed()
    }
}

/// Lets everybody do everything who has a name.
pub(crate) struct Everything;

impl Authorizer for Everything {
    fn authorize<'a>(&'a self, attributes: Attributes<'a>, _: &'a Registry) -> Answer<'a> {
        let is_known = attributes.user.username != "system:anonymous" || attributes.path == "/version";
        let decision = if is_known { Decision::Allow } else { Decision::NoOpinion(String::new()) };
        decision.into()
    }
}

/// A server that listens. It stops when this is dropped.
pub(crate) struct Wire {
    pub server: ApiServer,
    pub address: SocketAddr,
    tls: Arc<ClientConfig>,
    _stop: tokio_util::sync::DropGuard,
}

/// Who asks is who they say they are.
pub(crate) fn plug(config: &mut Config) {
    config.plugins.authenticators = vec![Arc::new(Named)];
    let all: Vec<Arc<dyn Authorizer>> = vec![Arc::new(Masters), Arc::new(Everything)];
    config.plugins.authorizers = all.into();
}

impl Wire {
    pub(crate) async fn start(limits: Limits) -> Self {
        let mut config = Config::new(store::Memory::new());
        config.plugins.strategy_of = apiserver::strategy::of;
        plug(&mut config);
        Self::serve(ApiServer::new(config).with_limits(limits)).await
    }

    pub(crate) async fn serve(server: ApiServer) -> Self {
        let now = SystemClock::shared().now();
        let pki = Pki::in_memory(now).unwrap();
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let tls = pki.server_config(&pki.serving(&[], &[local], now).unwrap()).unwrap();
        let listener = TcpListener::bind((local, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (serving, stopped) = (server.clone(), stop.clone());
        tokio::spawn(async move { serving.serve(listener, tls, stopped).await });
        let tls = pki.client_config(&pki.admin(now).unwrap()).unwrap();
        Self { server, address, tls, _stop: stop.drop_guard() }
    }

    /// A connection without TLS, with a small buffer for what comes.
    pub(crate) async fn tcp(&self) -> TcpStream {
        const RECEIVE_BYTES: u32 = 64 << 10;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    pub(crate) async fn connect(&self, protocol: &str) -> Connection {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![protocol.into()];
        let connector = TlsConnector::from(Arc::new(tls));
        let name = rustls::pki_types::ServerName::from(self.address.ip());
        Connection(connector.connect(name, self.tcp().await).await.unwrap())
    }

    pub(crate) async fn http1(&self) -> Connection {
        self.connect("http/1.1").await
    }
}

/// A connection over TLS.
pub(crate) struct Connection(pub TlsStream<TcpStream>);

impl Connection {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Everything until the server closes the connection.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        // A server that closes without a farewell of TLS has closed as well.
        let _ = self.0.read_to_end(&mut read).await;
        read
    }

    /// At least so many bytes.
    pub(crate) async fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.0.read_exact(&mut read).await.unwrap();
        read
    }

    /// The code of the next answer of HTTP/1.1, whose body is as long as it says.
    pub(crate) async fn code(&mut self) -> u16 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        self.read(length).await;
        head[9..12].parse().unwrap()
    }
}

/// The kinds of frames of HTTP/2, as far as they are needed here.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub data: Vec<u8>,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), data].concat()
}

/// The headers of a request, none of them compressed.
pub(crate) fn head(method: &str, path: &str, user: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let authorization = format!("Bearer {user}");
    let mut fields = vec![(":method", method), (":scheme", "https"), (":authority", "x"), (":path", path)];
    if !user.is_empty() {
        fields.push(("authorization", &authorization));
    }
    fields.extend(more);
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            // Seven bits of length; texts here are shorter.
            out.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

impl Wire {
    /// A connection of HTTP/2 whose streams may get so many bytes before they have to ask.
    pub(crate) async fn http2(&self, window: u32) -> Connection {
        const INITIAL_WINDOW_SIZE: u16 = 4;
        let mut connection = self.connect("h2").await;
        let settings = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
        connection.send([PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()).await;
        connection.until(|frame| frame.kind == SETTINGS && frame.flags & ACK == 0).await;
        connection.send(frame(SETTINGS, ACK, 0, &[])).await;
        connection
    }
}

impl Connection {
    pub(crate) async fn frame(&mut self) -> Frame {
        let head = self.read(9).await;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let data = self.read(usize::try_from(length).unwrap()).await;
        Frame { kind: head[3], flags: head[4], stream, data }
    }

    /// Reads frames until one is as wanted; returns all of them.
    pub(crate) async fn until(&mut self, is_wanted: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            let ends = is_wanted(&frame);
            frames.push(frame);
            if ends {
                return frames;
            }
        }
    }

    /// Waits until everything sent so far has been looked at; returns what came before.
    pub(crate) async fn settle(&mut self) -> Vec<Frame> {
        self.send(frame(PING, 0, 0, b"settled?")).await;
        self.until(|frame| frame.kind == PING && frame.flags & ACK != 0).await
    }
}
