//! Questions about names outside the cluster, asked of the host's name servers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Edns, Message, Query};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// How long one name server may take.
const SERVER_SECONDS_MAX: u64 = 2;
/// Questions that may be under way at once; a loop of name servers ends here at the latest.
const QUESTIONS_MAX: usize = 1000;
/// Name servers that are asked, as the resolver of the C library limits them.
const SERVERS_MAX: usize = 3;
/// The longest UDP answer, as name servers are told.
const PAYLOAD_BYTES: u16 = 1232;
/// The longest answer that is read from a datagram.
const DATAGRAM_BYTES_MAX: usize = 4096;
const DNS_PORT: u16 = 53;

/// Where the name servers are known from.
pub(super) enum Upstream {
    /// A file in the format of `/etc/resolv.conf`, read again whenever it changes.
    ResolvConf(PathBuf),
    /// A fixed list.
    #[cfg(test)]
    Fixed(Vec<SocketAddr>),
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the host names no server to ask")]
    NoServers,
    #[error("too many questions are under way")]
    Busy,
    #[error("no server answered: {0}")]
    Unanswered(io::Error),
}

/// Asks name servers.
pub(super) struct Forwarder {
    upstream: Upstream,
    own: Vec<IpAddr>,
    known: Mutex<(Option<SystemTime>, Vec<SocketAddr>)>,
    under_way: Semaphore,
}

impl Forwarder {
    /// `own` are addresses that lead back here and are therefore never asked.
    pub(super) fn new(upstream: Upstream, own: Vec<IpAddr>) -> Self {
        Self { upstream, own, known: Mutex::default(), under_way: Semaphore::new(QUESTIONS_MAX) }
    }

    /// Asks the servers in turn until one answers, over TCP if the question came so.
    pub(super) async fn forward(&self, query: &Query, stream: bool) -> Result<Message, Error> {
        let _under_way = self.under_way.try_acquire().map_err(|_| Error::Busy)?;
        let mut failure = Error::NoServers;
        for server in self.servers() {
            let ask = async {
                if stream {
                    return ask_stream(server, query).await;
                }
                let answer = ask_datagram(server, query).await?;
                if answer.metadata.truncation { ask_stream(server, query).await } else { Ok(answer) }
            };
            match tokio::time::timeout(Duration::from_secs(SERVER_SECONDS_MAX), ask).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => failure = Error::Unanswered(error),
                Err(_) => failure = Error::Unanswered(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(failure)
    }

    fn servers(&self) -> Vec<SocketAddr> {
        #[cfg(test)]
        if let Upstream::Fixed(servers) = &self.upstream {
            return servers.clone();
        }
        #[cfg_attr(not(test), expect(irrefutable_let_patterns, reason = "tests have another kind of upstream"))]
        let Upstream::ResolvConf(path) = &self.upstream else { return Vec::new() };
        let changed = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let mut known = self.known.lock();
        if known.0.is_none() || known.0 != changed {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            *known = (changed, name_servers(&text, &self.own));
        }
        known.1.clone()
    }
}

/// The servers that a `resolv.conf` names, without those that lead back here.
fn name_servers(text: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.split_whitespace().next()?.split('%').next()?.parse::<IpAddr>().ok());
    let others = addresses.filter(|address| !own.contains(address));
    others.take(SERVERS_MAX).map(|address| SocketAddr::new(address, DNS_PORT)).collect()
}

fn question(query: &Query) -> io::Result<(u16, Vec<u8>)> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD_BYTES);
    message.set_edns(edns);
    Ok((message.metadata.id, message.to_vec().map_err(io::Error::other)?))
}

async fn ask_datagram(server: SocketAddr, query: &Query) -> io::Result<Message> {
    let local: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(server).await?;
    let (id, bytes) = question(query)?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Whoever guesses the port must guess the id and the question as well.
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if answer.metadata.id == id && answer.queries.first() == Some(query) => return Ok(answer),
            _ => {}
        }
    }
}

async fn ask_stream(server: SocketAddr, query: &Query) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let (id, bytes) = question(query)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    let answer = Message::from_vec(&answer).map_err(io::Error::other)?;
    if answer.metadata.id == id { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_lead_back_are_left_out() {
        let own = ["10.43.0.10".parse().unwrap()];
        let text =
            "# c\nnameserver 10.43.0.10\nsearch a b\n nameserver 9.9.9.9 \nnameserver fe80::1%eth0\nnameserver x\n";
        let expected: Vec<SocketAddr> = vec!["9.9.9.9:53".parse().unwrap(), "[fe80::1]:53".parse().unwrap()];
        assert_eq!(name_servers(text, &own), expected);
        assert!(name_servers("", &own).is_empty());
    }
}
