//! Addresses and ranges in objects, of three strictnesses: what Go's old parser took (leading zeros and all), what may
//! be written anew into a field that took that once, and what is written as the standard wants it.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::at::At;
use crate::field::{ErrorList, FieldError, Path};

const BAD_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const BAD_RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address as it was written.
struct Written {
    /// The address, where an IPv4 address within IPv6 is the IPv4 address.
    ip: IpAddr,
    /// Whether the modern parser takes it too.
    is_standard: bool,
    /// Whether it is an IPv4 address within IPv6.
    is_mapped: bool,
}

/// `ParseIPSloppy`
fn parse(text: &str) -> Option<Written> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        let mapped = if let IpAddr::V6(ip) = ip { ip.to_ipv4_mapped() } else { None };
        return Some(Written { ip: mapped.map_or(ip, IpAddr::V4), is_standard: true, is_mapped: mapped.is_some() });
    }
    let stripped = without_zeros(text)?;
    let ip: IpAddr = stripped.parse().ok()?;
    let mapped = if let IpAddr::V6(ip) = ip { ip.to_ipv4_mapped() } else { None };
    Some(Written { ip: mapped.map_or(ip, IpAddr::V4), is_standard: false, is_mapped: mapped.is_some() })
}

/// An address whose dotted part has its leading zeros taken away.
fn without_zeros(text: &str) -> Option<String> {
    let (head, tail) = text.rfind(':').map_or(("", text), |at| text.split_at(at + 1));
    if !tail.contains('.') {
        return None;
    }
    let parts = tail.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<u32>().ok().map(|number| number.to_string())).flatten()
    });
    Some(format!("{head}{}", parts.collect::<Option<Vec<_>>>()?.join(".")))
}

/// What Go's old parser takes for an address.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    parse(text).map(|written| written.ip)
}

/// The messages about an address (`parseIP`).
fn address_errors(text: &str) -> Vec<String> {
    let Some(written) = parse(text) else { return vec![BAD_ADDRESS.into()] };
    let mut errors = Vec::new();
    if !written.is_standard {
        errors.push("must not have leading 0s".into());
    } else if written.is_mapped {
        errors.push("must not be an IPv4-mapped IPv6 address".into());
    }
    errors
}

/// An address in a field that once took more than it should (`IsValidIPForLegacyField`); those that are there already
/// may stay.
pub fn legacy_address(at: &At<'_>, kept: &HashSet<&str>, errors: &mut ErrorList) {
    if !kept.contains(at.text()) {
        for message in address_errors(at.text()) {
            errors.push(FieldError::invalid(&at.path, at.text(), message));
        }
    }
}

/// What is wrong with an address that must be in its canonical form (`IsValidIP`).
pub fn address(text: &str) -> Vec<String> {
    let mut errors = address_errors(text);
    if errors.is_empty()
        && let Some(written) = parse(text)
        && written.ip.to_string() != text
    {
        errors.push(format!("must be in canonical form ({:?})", written.ip.to_string()));
    }
    errors
}

/// What is wrong with an address with the length of its network's prefix (`IsValidInterfaceAddress`).
pub fn interface(text: &str) -> Vec<String> {
    match parse_written_range(text) {
        None => vec!["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".into()],
        Some(range) => {
            let canonical = format!("{}/{}", range.ip, range.net.prefix_len());
            if canonical == text { Vec::new() } else { vec![format!("must be in canonical form ({canonical:?})")] }
        }
    }
}

/// A range as it was written.
struct WrittenRange {
    net: IpNet,
    /// The address before the bits after the prefix are taken away.
    ip: IpAddr,
    is_standard: bool,
    is_mapped: bool,
}

/// `ParseCIDRSloppy`
fn parse_written_range(text: &str) -> Option<WrittenRange> {
    let (address, length) = text.split_once('/')?;
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u8 = if is_number { length.parse().ok()? } else { return None };
    let written = parse(address)?;
    let is_standard = written.is_standard && (length == "0" || !length.starts_with('0'));
    let bits_max = if address.contains(':') { 128 } else { 32 };
    if bits > bits_max {
        return None;
    }
    let bits = if written.is_mapped { bits.checked_sub(96)? } else { bits };
    let net = IpNet::new(written.ip, bits).ok()?.trunc();
    Some(WrittenRange { net, ip: written.ip, is_standard, is_mapped: written.is_mapped })
}

/// What Go's old parser takes for a range.
pub fn parse_range(text: &str) -> Option<IpNet> {
    parse_written_range(text).map(|range| range.net)
}

/// The messages about a range (`parseCIDR`).
fn range_errors(text: &str) -> Vec<String> {
    let Some(range) = parse_written_range(text) else { return vec![BAD_RANGE.into()] };
    if !range.is_standard {
        vec!["must not have leading 0s in IP or prefix length".into()]
    } else if range.is_mapped {
        vec!["must not have an IPv4-mapped IPv6 address".into()]
    } else if range.ip != range.net.addr() {
        vec!["must not have bits set beyond the prefix length".into()]
    } else {
        Vec::new()
    }
}

/// A range in a field that once took more than it should (`IsValidCIDRForLegacyField`).
pub fn legacy_range(at: &At<'_>, kept: &HashSet<&str>, errors: &mut ErrorList) {
    if !kept.contains(at.text()) {
        for message in range_errors(at.text()) {
            errors.push(FieldError::invalid(&at.path, at.text(), message));
        }
    }
}

/// A range that must be in its canonical form (`IsValidCIDR`).
pub fn range(at: &At<'_>, errors: &mut ErrorList) {
    let mut messages = range_errors(at.text());
    if messages.is_empty()
        && let Some(range) = parse_range(at.text())
        && range.to_string() != at.text()
    {
        messages.push(format!("must be in canonical form ({:?})", range.to_string()));
    }
    for message in messages {
        errors.push(FieldError::invalid(&at.path, at.text(), message));
    }
}

/// What a client is told of an address that is taken, but not as the standard writes it (`GetWarningsForIP`).
pub fn address_warnings(path: &Path, text: &str) -> Vec<String> {
    let Some(written) = parse(text) else { return Vec::new() };
    let (path, ip) = (path.as_str(), written.ip.to_string());
    if !written.is_standard || written.is_mapped {
        vec![format!("{path}: non-standard IP address {text:?} is invalid: use {ip:?}")]
    } else if written.ip.is_ipv6() && ip != text {
        vec![format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({ip:?})")]
    } else {
        Vec::new()
    }
}

/// What a client is told of a range that is taken, but not as the standard writes it (`GetWarningsForCIDR`).
pub fn range_warnings(path: &Path, text: &str) -> Vec<String> {
    let Some(range) = parse_written_range(text) else { return Vec::new() };
    let (path, net) = (path.as_str(), range.net.to_string());
    let mut warnings = Vec::new();
    if range.ip != range.net.addr() {
        let single = format!("{}/{}", range.ip, range.net.max_prefix_len());
        warnings.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be {net:?} or {single:?}?)"
        ));
    }
    if !range.is_standard || range.is_mapped {
        warnings.push(format!("{path}: non-standard CIDR value {text:?} is invalid: use {net:?}"));
    }
    if warnings.is_empty() && range.ip.is_ipv6() && net != text {
        warnings.push(format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({net:?})"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(address(text), expected, "{text}");
    }

    fn check_range(text: &str, errors: &[&str], warnings: &[&str]) {
        assert_eq!(range_errors(text), errors, "{text}");
        let path = Path::new("p");
        assert_eq!(range_warnings(&path, text), warnings, "{text}");
    }

    #[test]
    fn addresses_have_one_form() {
        check("10.0.0.1", &[]);
        check("010.0.0.1", &["must not have leading 0s"]);
        check("::ffff:10.0.0.1", &["must not be an IPv4-mapped IPv6 address"]);
        check("FD00::1", &["must be in canonical form (\"fd00::1\")"]);
        check("x", &[BAD_ADDRESS]);
        check("10.0.0", &[BAD_ADDRESS]);
    }

    #[test]
    fn ranges_have_one_form() {
        check_range("10.0.0.0/8", &[], &[]);
        check_range("bad", &[BAD_RANGE], &[]);
        check_range(
            "10.0.0.1/8",
            &["must not have bits set beyond the prefix length"],
            &[
                "p: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)",
            ],
        );
        check_range(
            "010.0.0.0/8",
            &["must not have leading 0s in IP or prefix length"],
            &["p: non-standard CIDR value \"010.0.0.0/8\" is invalid: use \"10.0.0.0/8\""],
        );
        let canonical = "p: IPv6 CIDR value \"fd00:0::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")";
        check_range("fd00:0::/64", &[], &[canonical]);
    }
}
