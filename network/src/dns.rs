//! The cluster's DNS, served by this process from informers; no pod is needed for it.
//!
//! The sockets are bound to the pod bridge's own address, on a port that the kernel picks. The table of service rules translates
//! the DNS service's address, port 53, to it (`proxy::Frame::dns`), in the path of pods' packets and of the host's own,
//! so resolvers see the service's address and no port 53 of the host is taken.
//!
//! Names of the cluster are answered as CoreDNS answers them, with a TTL of five seconds; all others are
//! forwarded to the host's name servers.

mod forward;
mod probe;
mod zone;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use client::Informers;
use futures::future::BoxFuture;
use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use forward::{Forwarder, Upstream};
pub use probe::resolves;
use zone::{Answer, Zone};

/// How long a TCP connection may be silent.
const TCP_IDLE_SECONDS: u64 = 10;
/// How many answers may wait in a TCP connection.
const TCP_ANSWERS_MAX: usize = 128;
/// How often a port is looked for that is free for both UDP and TCP.
const BIND_ATTEMPTS_MAX: usize = 16;
/// An answer over UDP is at most this long, whatever the resolver offers.
const UDP_PAYLOAD_BYTES_MAX: u16 = 4096;
/// Every resolver takes so much over UDP.
const UDP_PAYLOAD_BYTES_MIN: u16 = 512;
/// How many names a chain of aliases may have.
const ALIASES_MAX: usize = 8;

/// Why DNS cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("DNS cannot listen on {address}: {source}")]
pub struct Error {
    address: SocketAddr,
    source: std::io::Error,
}

/// Configuration of the cluster's DNS.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen: the pod bridge's address. With port 0 the kernel picks one.
    pub listen: SocketAddr,
    /// The address of the DNS service, which must not be forwarded to.
    pub service_ip: Ipv4Addr,
    /// The cluster's domain, `cluster.local`.
    pub domain: String,
    /// The file with the host's name servers.
    pub resolv_conf: PathBuf,
}

/// The running DNS server. It ends when its token is cancelled.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
}

impl Dns {
    /// Listens, and answers as soon as the informers have synced (until then with `SERVFAIL`).
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn start(
        config: Config,
        informers: &Informers,
        token: CancellationToken,
    ) -> BoxFuture<'_, Result<Self, Error>> {
        Box::pin(async move {
            let (udp, tcp, address) = bind(config.listen).await?;
            let zone = Zone::new(&config.domain, informers.of(), informers.of());
            let own = [IpAddr::V4(config.service_ip), address.ip()];
            let forwarder = Forwarder::new(Upstream::ResolvConf(config.resolv_conf), own.to_vec());
            let mut server = Server::new(Handler { zone, forwarder });
            server.register_socket(udp);
            server.register_listener(tcp, std::time::Duration::from_secs(TCP_IDLE_SECONDS), TCP_ANSWERS_MAX);
            tokio::spawn(async move {
                tokio::select! {
                    result = server.block_until_done() => if let Err(error) = result {
                        tracing::error!(%error, "DNS ended");
                    },
                    () = token.cancelled() => {}
                }
            });
            Ok(Self { address })
        })
    }

    /// Where it listens: what the DNS service's address must lead to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn bind(listen: SocketAddr) -> Result<(UdpSocket, TcpListener, SocketAddr), Error> {
    let failed = |source| Error { address: listen, source };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let tcp = TcpListener::bind(listen).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        match UdpSocket::bind(address).await {
            Ok(udp) => return Ok((udp, tcp, address)),
            Err(_) if listen.port() == 0 && attempts < BIND_ATTEMPTS_MAX => {}
            Err(source) => return Err(failed(source)),
        }
    }
}

/// An answer, before it is encoded.
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Reply {
    fn failure(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new() }
    }
}

struct Handler {
    zone: Zone,
    forwarder: Forwarder,
}

impl Handler {
    async fn reply(&self, request: &Request) -> Reply {
        let Ok(info) = request.request_info() else { return Reply::failure(ResponseCode::FormErr) };
        if info.metadata.message_type != MessageType::Query || info.metadata.op_code != OpCode::Query {
            return Reply::failure(ResponseCode::NotImp);
        }
        if info.query.query_class() != DNSClass::IN {
            return Reply::failure(ResponseCode::Refused);
        }
        let query = info.query.original();
        let stream = !matches!(request.protocol(), hickory_server::net::xfer::Protocol::Udp);
        match self.zone.answer(query.name(), query.query_type()) {
            Answer::Foreign => match self.forwarder.forward(query, stream).await {
                Ok(message) => Reply {
                    code: message.metadata.response_code,
                    authoritative: message.metadata.authoritative,
                    answers: message.answers,
                    authorities: message.authorities,
                    additionals: message.additionals,
                },
                Err(error) => {
                    tracing::debug!(name = %query.name(), %error, "a name could not be forwarded");
                    Reply::failure(ResponseCode::ServFail)
                }
            },
            Answer::NotSynced => Reply::failure(ResponseCode::ServFail),
            Answer::Found { mut answers, additionals } => {
                self.follow_aliases(&mut answers, query.query_type(), stream).await;
                Reply { answers, additionals, authoritative: true, ..Reply::failure(ResponseCode::NoError) }
            }
            Answer::NoData(soa) => {
                Reply { authorities: vec![*soa], authoritative: true, ..Reply::failure(ResponseCode::NoError) }
            }
            Answer::NoName(soa) => {
                Reply { authorities: vec![*soa], authoritative: true, ..Reply::failure(ResponseCode::NXDomain) }
            }
        }
    }

    /// Adds what the alias of an ExternalName service leads to, because resolvers of pods do not ask again.
    async fn follow_aliases(&self, answers: &mut Vec<Record>, wanted: RecordType, stream: bool) {
        for _ in 0..ALIASES_MAX {
            let Some(target) = answers.last().and_then(zone::alias_target) else { return };
            if wanted == RecordType::CNAME {
                return;
            }
            match self.zone.answer(&target, wanted) {
                Answer::Found { answers: more, .. } => answers.extend(more),
                Answer::Foreign => {
                    let query = hickory_proto::op::Query::query(target, wanted);
                    if let Ok(message) = self.forwarder.forward(&query, stream).await {
                        answers.extend(message.answers);
                    }
                    return;
                }
                Answer::NoData(_) | Answer::NoName(_) | Answer::NotSynced => return,
            }
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut respond: R) -> ResponseInfo {
        let reply = self.reply(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.code;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = true;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(UDP_PAYLOAD_BYTES_MIN, UDP_PAYLOAD_BYTES_MAX));
            edns
        });
        let builder = MessageResponseBuilder::new(&request.queries, edns.as_ref());
        let none: [Record; 0] = [];
        let response = builder.build(metadata, &reply.answers, &reply.authorities, &none, &reply.additionals);
        match respond.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "a DNS answer could not be sent");
                metadata.response_code = ResponseCode::ServFail;
                ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
            }
        }
    }
}

#[cfg(test)]
mod tests;
