//! What Go's package `net/netip` says of texts that it cannot parse.

use std::net::IpAddr;

/// What is said of a text that is no address.
pub(crate) fn no_address(text: &str) -> String {
    let why = match text.split('.').map(str::as_bytes).collect::<Vec<_>>() {
        _ if text.contains(':') || !text.contains('.') => "unable to parse IP",
        parts if parts.iter().any(|part| part.is_empty()) => "IPv4 field must have at least one digit",
        parts if parts.iter().any(|part| !part.iter().all(u8::is_ascii_digit)) => "unexpected character",
        parts if parts.iter().any(|part| part.len() > 1 && part[0] == b'0') => "IPv4 field has octet with leading zero",
        parts if parts.len() < 4 => "IPv4 address too short",
        parts if parts.len() > 4 => "IPv4 address too long",
        _ => "IPv4 field has value >255",
    };
    format!("ParseAddr({text:?}): {why}")
}

/// And of one that is no network.
pub(crate) fn no_network(text: &str) -> String {
    match text.rsplit_once('/') {
        None => "no '/'".into(),
        Some((address, _)) if address.parse::<IpAddr>().is_err() => no_address(address),
        Some((_, length)) if length.parse::<u8>().is_ok() => "prefix length out of range".into(),
        Some((_, length)) => format!("bad bits after slash: {length:?}"),
    }
}
