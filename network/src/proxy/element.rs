//! The elements of the table's sets and maps: what a service contributes, and how each is written for `nft`.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

/// A transport protocol of a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `TCP`
    Tcp,
    /// `UDP`
    Udp,
    /// `SCTP`
    Sctp,
}

impl Protocol {
    /// All protocols that a service port can have.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// From the name in a Service; none means TCP.
    #[must_use]
    pub fn parse(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }

    /// The name in the language of nft.
    #[must_use]
    pub fn nft(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Where a service is reached: one of its addresses, or any address of the node (a node port).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Front {
    /// The address; none for a node port.
    pub address: Option<Ipv4Addr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// The key of one element, with the set or map that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The verdict on packets to a front.
    Front(Front),
    /// The verdict on packets from this node and its pods, where it differs.
    Inner(Front),
    /// The endpoint behind a front with this number.
    Endpoint(Front, u32),
    /// Packets to a front that has no endpoint.
    Refused(Front),
    /// A front whose clients come back to the endpoint they were led to first.
    Sticky(Front),
    /// A front that admits only some sources.
    Guarded(Front),
    /// A source that a guarded front admits.
    Admitted(Front, Ipv4Net),
    /// An endpoint that may be led back to itself.
    Hairpin(Ipv4Addr),
}

/// The value that an element's key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing: the key is in a set.
    Member,
    /// The chain that picks one of this many endpoints.
    Pick(u32),
    /// The same among the endpoints for clients on this node.
    PickInner(u32),
    /// The chain that first looks where the client went before.
    Affine(u32),
    /// The same among the endpoints for clients on this node.
    AffineInner(u32),
    /// The chain that keeps in mind for so many seconds where a client was led.
    Remember(u32),
    /// One endpoint.
    Endpoint(SocketAddrV4),
    /// An error back to the client.
    Reject,
    /// Silence.
    Drop,
}

impl Key {
    /// The set or map. Fronts without an address have maps of their own, because a key cannot hold "any address".
    #[must_use]
    pub fn set(&self) -> &'static str {
        let (front, any, one) = match self {
            Self::Front(front) => (front, "node-fronts", "fronts"),
            Self::Inner(front) => (front, "node-inner", "inner"),
            Self::Endpoint(front, _) => (front, "node-endpoints", "endpoints"),
            Self::Refused(front) => (front, "node-refused", "refused"),
            Self::Sticky(front) => (front, "node-sticky", "sticky"),
            Self::Guarded(_) => return "guarded",
            Self::Admitted(..) => return "admitted",
            Self::Hairpin(_) => return "hairpin",
        };
        if front.address.is_some() { one } else { any }
    }

    /// Writes `KEY` or `KEY : VALUE`.
    pub fn write(&self, value: Value, out: &mut String) {
        let written = match self {
            Self::Front(front) | Self::Inner(front) | Self::Refused(front) => write!(out, "{front} : {value}"),
            Self::Sticky(front) => write!(out, "{front} : {value}"),
            Self::Guarded(front) => write!(out, "{front}"),
            Self::Endpoint(front, index) => write!(out, "{front} . {index} : {value}"),
            Self::Admitted(front, source) => write!(out, "{front} . {source}"),
            Self::Hairpin(address) => write!(out, "{address} . {address}"),
        };
        written.expect("writing to a String cannot fail");
    }
}

impl fmt::Display for Front {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(out, "{address} . ")?;
        }
        write!(out, "{} . {}", self.protocol.nft(), self.port)
    }
}

impl Value {
    /// The chain that the verdict goes to, if it is one that exists per number.
    #[must_use]
    pub fn chain(&self) -> Option<String> {
        match self {
            Self::Pick(count) => Some(format!("pick-{count}")),
            Self::PickInner(count) => Some(format!("pick-inner-{count}")),
            Self::Affine(count) => Some(format!("affine-{count}")),
            Self::AffineInner(count) => Some(format!("affine-inner-{count}")),
            Self::Remember(seconds) => Some(format!("remember-{seconds}")),
            Self::Member | Self::Endpoint(_) | Self::Reject | Self::Drop => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member => Ok(()),
            Self::Endpoint(endpoint) => write!(out, "{} . {}", endpoint.ip(), endpoint.port()),
            Self::Reject => out.write_str("goto refuse"),
            Self::Drop => out.write_str("drop"),
            chain => write!(out, "goto {}", chain.chain().unwrap_or_default()),
        }
    }
}
