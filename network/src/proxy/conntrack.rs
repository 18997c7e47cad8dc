//! Connection tracking entries of UDP clients that outlive the endpoint they lead to.
//!
//! A UDP client that goes on sending keeps its entry alive, and the entry keeps the translation: after a change of
//! endpoints its packets would go on to an endpoint that is gone, or past the service if there was none. The entries
//! of changed UDP services are therefore deleted, over the kernel's ctnetlink interface.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use client::Clock;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use super::element::{Front, Key, Protocol, Value};
use super::figures::Figures;
use super::service::Elements;

const NLMSG_HEADER_BYTES: usize = 16;
/// The generic netfilter header behind it.
const NFGEN_HEADER_BYTES: usize = 4;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`
const CT_GET: u16 = 0x0101;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`
const CT_DELETE: u16 = 0x0102;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const IPPROTO_UDP: u8 = 17;
/// Large enough for one datagram of a dump.
const BUFFER_BYTES: usize = 64 << 10;

/// A change of endpoints behind one UDP front.
#[derive(Debug, Default, PartialEq, Eq)]
struct Moved {
    gone: BTreeSet<SocketAddrV4>,
    now: BTreeSet<SocketAddrV4>,
}

/// The UDP fronts whose endpoints changed in a transaction.
#[derive(Debug, Default)]
pub(super) struct Stale(BTreeMap<Front, Moved>);

/// One end of a tracked connection.
#[derive(Debug, PartialEq, Eq)]
struct Tuple {
    source: SocketAddrV4,
    destination: SocketAddrV4,
    protocol: u8,
}

impl Stale {
    /// Notes what the change of one service means for UDP clients.
    pub(super) fn note(&mut self, old: Option<&Elements>, new: &Elements) {
        let empty = Elements::new();
        let (old, new) = (udp_endpoints(old.unwrap_or(&empty)), udp_endpoints(new));
        let fronts: BTreeSet<&Front> = old.keys().chain(new.keys()).collect();
        for front in fronts {
            let before = old.get(front).cloned().unwrap_or_default();
            let now = new.get(front).cloned().unwrap_or_default();
            let gone: BTreeSet<_> = before.difference(&now).copied().collect();
            if !gone.is_empty() || before.is_empty() {
                self.0.insert(*front, Moved { gone, now });
            }
        }
    }

    /// Deletes the entries, in the background: it is a cure for rare clients and must not hold up the rules.
    pub(super) fn delete(self, figures: &Arc<Figures>, clock: &Clock) {
        if self.0.is_empty() {
            return;
        }
        let (figures, clock) = (figures.clone(), clock.clone());
        tokio::task::spawn_blocking(move || {
            let started = clock.elapsed();
            match self.delete_now() {
                Ok(count) => figures.forgot(count, clock.elapsed().saturating_sub(started)),
                Err(error) => tracing::debug!(%error, "stale UDP connection tracking entries could not be deleted"),
            }
        });
    }

    /// Deletes the entries before it returns; tells how many they were.
    pub(super) fn delete_now(&self) -> io::Result<u64> {
        delete_where(|original, reply| self.covers(original, reply))
    }

    fn covers(&self, original: &Tuple, reply: &Tuple) -> bool {
        if original.protocol != IPPROTO_UDP {
            return false;
        }
        let (to, led_to) = (original.destination, reply.source);
        let front =
            |address: Option<Ipv4Addr>| self.0.get(&Front { address, protocol: Protocol::Udp, port: to.port() });
        // Of a service's own address every translation but the present ones is stale; of a node port only
        // those to former endpoints, because other programs use UDP ports too.
        let present = |moved: &Moved| moved.now.contains(&led_to) || moved.now.is_empty() && led_to == to;
        front(Some(*to.ip())).is_some_and(|moved| !present(moved))
            || front(None).is_some_and(|moved| moved.gone.contains(&led_to))
    }
}

fn udp_endpoints(elements: &Elements) -> BTreeMap<Front, BTreeSet<SocketAddrV4>> {
    let mut fronts: BTreeMap<Front, BTreeSet<SocketAddrV4>> = BTreeMap::new();
    for (key, value) in elements {
        match (key, value) {
            (Key::Endpoint(front, _), Value::Endpoint(to)) if front.protocol == Protocol::Udp => {
                fronts.entry(*front).or_default().insert(*to);
            }
            _ => {}
        }
    }
    fronts
}

/// Goes through all IPv4 entries and deletes those that `stale` picks by their original and reply tuples.
fn delete_where(stale: impl Fn(&Tuple, &Tuple) -> bool) -> io::Result<u64> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
    send(&socket, &message(CT_GET, NLM_F_REQUEST | NLM_F_DUMP, &[]), SendFlags::empty())?;
    let mut doomed = Vec::new();
    receive(&socket, |body| {
        let attributes = attributes(&body[NFGEN_HEADER_BYTES..]);
        let raw = |wanted| attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
        if let (Some(original), Some(reply)) = (raw(CTA_TUPLE_ORIG), raw(CTA_TUPLE_REPLY))
            && let (Some(from), Some(to)) = (tuple(original), tuple(reply))
            && stale(&from, &to)
        {
            doomed.push(original.to_vec());
        }
    })?;
    let count = doomed.len() as u64;
    for original in doomed {
        send(&socket, &message(CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, &original), SendFlags::empty())?;
        receive(&socket, |_| {})?;
    }
    Ok(count)
}

/// A request about IPv4 entries, with the original tuple of the one that is meant, if one is.
fn message(kind: u16, flags: u16, original: &[u8]) -> Vec<u8> {
    let attribute_bytes = if original.is_empty() { 0 } else { 4 + original.len() };
    let length = NLMSG_HEADER_BYTES + NFGEN_HEADER_BYTES + attribute_bytes;
    let mut bytes = Vec::with_capacity(length + 4);
    bytes.extend(u32::try_from(length).expect("a tuple is short").to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([2, 0, 0, 0]);
    if !original.is_empty() {
        bytes.extend(u16::try_from(attribute_bytes).expect("a tuple is short").to_ne_bytes());
        bytes.extend((CTA_TUPLE_ORIG | 0x8000).to_ne_bytes());
        bytes.extend(original);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// Reads messages up to the end of a dump, or an acknowledgement.
fn receive(socket: &OwnedFd, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= NLMSG_HEADER_BYTES {
            let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if size < NLMSG_HEADER_BYTES || size > rest.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let body = &rest[NLMSG_HEADER_BYTES..size];
            match u16::from_ne_bytes([rest[4], rest[5]]) {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR if body.len() >= 4 => {
                    let code = i32::from_ne_bytes([body[0], body[1], body[2], body[3]]);
                    let gone = code == -rustix::io::Errno::NOENT.raw_os_error();
                    return if code == 0 || gone { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                _ if body.len() >= NFGEN_HEADER_BYTES => each(body),
                _ => {}
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// The attributes in a row of them, without the bits that say nested or in network order.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let size = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        if size < 4 || size > bytes.len() {
            break;
        }
        found.push((u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff, &bytes[4..size]));
        bytes = &bytes[size.next_multiple_of(4).min(bytes.len())..];
    }
    found
}

/// `CTA_TUPLE_IP` with source and destination, and `CTA_TUPLE_PROTO` with number and ports.
fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let parts = attributes(bytes);
    let part = |wanted: u16| parts.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| attributes(value));
    let (addresses, protocol) = (part(1)?, part(2)?);
    let field = |of: &[(u16, &[u8])], wanted: u16| of.iter().find(|(kind, _)| *kind == wanted).map(|(_, v)| v.to_vec());
    let address = |kind| Some(Ipv4Addr::from(<[u8; 4]>::try_from(field(&addresses, kind)?).ok()?));
    let port = |kind| Some(u16::from_be_bytes(<[u8; 2]>::try_from(field(&protocol, kind)?).ok()?));
    Some(Tuple {
        source: SocketAddrV4::new(address(1)?, port(2)?),
        destination: SocketAddrV4::new(address(2)?, port(3)?),
        protocol: *field(&protocol, 1)?.first()?,
    })
}
