//! Addresses, networks, URLs, formats and semantic versions in CEL.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use cel::common::types::{BOOL_TYPE, DYN_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::objects::Opaque;
use cel::{Env, ExecutionError, Value};
use ipnet::IpNet;

use super::library::{compare as compare_any, declare, error, inner, opaque, text};
use crate::go::netip;
use crate::{formats, names};

macro_rules! opaque_types {
    ($($name:ident($inner:ty) = $cel:literal;)*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq)]
        struct $name($inner);

        impl Opaque for $name {
            fn runtime_type_name(&self) -> &str {
                $cel
            }
        }
    )*};
}

opaque_types! {
    Ip(IpAddr) = "net.IP";
    Cidr(IpNet) = "net.CIDR";
    Link(Url) = "kubernetes.URL";
    Named(String) = "kubernetes.NamedFormat";
    Semver(Version) = "kubernetes.Semver";
}

/// The size of an address in bytes, and of a network's prefix; none for anything else.
pub(super) fn size(value: &Value) -> Option<u64> {
    if let Some(Ip(ip)) = inner::<Ip>(value) {
        return Some(if ip.is_ipv4() { 4 } else { 16 });
    }
    inner::<Cidr>(value).map(|Cidr(net)| u64::from(net.prefix_len()).div_ceil(8))
}

pub(super) fn declare_all(env: &mut Env) {
    declare!(env;
        function "ip" (STRING_TYPE) => |args| ip(text(&args[0])?).map(|ip| opaque(Ip(ip)));
        function "isIP" (STRING_TYPE) => |args| Ok(Value::Bool(ip(text(&args[0])?).is_ok()));
        function "ip.isCanonical" (STRING_TYPE) => |args| Ok(Value::Bool(ip(text(&args[0])?)?.to_string() == text(&args[0])?));
        function "cidr" (STRING_TYPE) => |args| cidr(text(&args[0])?).map(|net| opaque(Cidr(net)));
        function "isCIDR" (STRING_TYPE) => |args| Ok(Value::Bool(cidr(text(&args[0])?).is_ok()));
        member "family" (DYN_TYPE) => |args| Ok(Value::Int(if address(&args[0])?.is_ipv4() { 4 } else { 6 }));
        member "isUnspecified" (DYN_TYPE) => |args| Ok(Value::Bool(address(&args[0])?.is_unspecified()));
        member "isLoopback" (DYN_TYPE) => |args| Ok(Value::Bool(address(&args[0])?.is_loopback()));
        member "isLinkLocalMulticast" (DYN_TYPE) => |args| Ok(Value::Bool(is_link_local_multicast(address(&args[0])?)));
        member "isLinkLocalUnicast" (DYN_TYPE) => |args| Ok(Value::Bool(is_link_local(address(&args[0])?)));
        member "isGlobalUnicast" (DYN_TYPE) => |args| Ok(Value::Bool(is_global(address(&args[0])?)));
        member "containsIP" (DYN_TYPE, DYN_TYPE) => |args| {
            let ip = match &args[1] {
                Value::String(text) => ip(text)?,
                other => address(other)?,
            };
            Ok(Value::Bool(network(&args[0])?.contains(&ip)))
        };
        member "containsCIDR" (DYN_TYPE, DYN_TYPE) => |args| {
            let other = match &args[1] {
                Value::String(text) => cidr(text)?,
                other => network(other)?,
            };
            Ok(Value::Bool(network(&args[0])?.contains(&other)))
        };
        member "ip" (DYN_TYPE) => |args| Ok(opaque(Ip(network(&args[0])?.addr())));
        member "masked" (DYN_TYPE) => |args| Ok(opaque(Cidr(network(&args[0])?.trunc())));
        member "prefixLength" (DYN_TYPE) => |args| Ok(Value::Int(network(&args[0])?.prefix_len().into()));
        function "url" (STRING_TYPE) => |args| Url::parse(text(&args[0])?).map(|url| opaque(Link(url)));
        function "isURL" (STRING_TYPE) => |args| Ok(Value::Bool(Url::parse(text(&args[0])?).is_ok()));
        member "getScheme" (DYN_TYPE) => |args| Ok(Value::from(link(&args[0])?.scheme.as_str()));
        member "getHost" (DYN_TYPE) => |args| Ok(Value::from(link(&args[0])?.host()));
        member "getHostname" (DYN_TYPE) => |args| Ok(Value::from(link(&args[0])?.hostname.as_str()));
        member "getPort" (DYN_TYPE) => |args| Ok(Value::from(link(&args[0])?.port.as_str()));
        member "getEscapedPath" (DYN_TYPE) => |args| Ok(Value::from(link(&args[0])?.path.as_str()));
        member "getQuery" (DYN_TYPE) => |args| Ok(link(&args[0])?.query());
        function "format.named" (STRING_TYPE) => |args| Ok(optional_format(text(&args[0])?));
        member "validate" (DYN_TYPE, STRING_TYPE) => |args| Ok(validate(&args[0], text(&args[1])?));
        function "semver" (STRING_TYPE) => |args| Version::parse(text(&args[0])?, false).map(|v| opaque(Semver(v)));
        function "semver" (STRING_TYPE, BOOL_TYPE) => |args| Version::parse(text(&args[0])?, args[1] == Value::Bool(true)).map(|v| opaque(Semver(v)));
        function "isSemver" (STRING_TYPE) => |args| Ok(Value::Bool(Version::parse(text(&args[0])?, false).is_ok()));
        function "isSemver" (STRING_TYPE, BOOL_TYPE) => |args| Ok(Value::Bool(Version::parse(text(&args[0])?, args[1] == Value::Bool(true)).is_ok()));
        member "major" (DYN_TYPE) => |args| Ok(Value::Int(semver(&args[0])?.numbers[0] as i64));
        member "minor" (DYN_TYPE) => |args| Ok(Value::Int(semver(&args[0])?.numbers[1] as i64));
        member "patch" (DYN_TYPE) => |args| Ok(Value::Int(semver(&args[0])?.numbers[2] as i64));
        member "isGreaterThan" (DYN_TYPE, DYN_TYPE) => |args| Ok(Value::Bool(compare_any(args)?.is_gt()));
        member "isLessThan" (DYN_TYPE, DYN_TYPE) => |args| Ok(Value::Bool(compare_any(args)?.is_lt()));
        member "compareTo" (DYN_TYPE, DYN_TYPE) => |args| Ok(Value::Int(compare_any(args)? as i64));
    );
    declare!(env;
        function "format.dns1123Label" () => |_| Ok(opaque(Named("dns1123Label".into())));
        function "format.dns1123Subdomain" () => |_| Ok(opaque(Named("dns1123Subdomain".into())));
        function "format.dns1035Label" () => |_| Ok(opaque(Named("dns1035Label".into())));
        function "format.qualifiedName" () => |_| Ok(opaque(Named("qualifiedName".into())));
        function "format.dns1123LabelPrefix" () => |_| Ok(opaque(Named("dns1123LabelPrefix".into())));
        function "format.dns1123SubdomainPrefix" () => |_| Ok(opaque(Named("dns1123SubdomainPrefix".into())));
        function "format.dns1035LabelPrefix" () => |_| Ok(opaque(Named("dns1035LabelPrefix".into())));
        function "format.labelValue" () => |_| Ok(opaque(Named("labelValue".into())));
        function "format.uri" () => |_| Ok(opaque(Named("uri".into())));
        function "format.uuid" () => |_| Ok(opaque(Named("uuid".into())));
        function "format.byte" () => |_| Ok(opaque(Named("byte".into())));
        function "format.date" () => |_| Ok(opaque(Named("date".into())));
        function "format.datetime" () => |_| Ok(opaque(Named("datetime".into())));
    );
}

/// Addresses and networks as text.
pub(super) fn shown(args: &[Value]) -> Result<Value, ExecutionError> {
    match (inner::<Ip>(&args[0]), inner::<Cidr>(&args[0])) {
        (Some(ip), _) => Ok(Value::from(ip.0.to_string())),
        (_, Some(net)) => Ok(Value::from(net.0.to_string())),
        _ => error("string", "no such overload"),
    }
}

fn ip(text: &str) -> Result<IpAddr, ExecutionError> {
    let failed =
        |_| format!("IP Address {text:?} parse error during conversion from string: {}", netip::no_address(text));
    text.parse().map_err(failed).or_else(|why| error("ip", why))
}

fn cidr(text: &str) -> Result<IpNet, ExecutionError> {
    const FAILED: &str = "network address parse error during conversion from string";
    text.parse().or_else(|_| {
        error("cidr", format!("{FAILED}: {FAILED}: netip.ParsePrefix({text:?}): {}", netip::no_network(text)))
    })
}

fn address(value: &Value) -> Result<IpAddr, ExecutionError> {
    inner::<Ip>(value).map(|ip| ip.0).map_or_else(|| error("ip", "no such overload"), Ok)
}

fn network(value: &Value) -> Result<IpNet, ExecutionError> {
    inner::<Cidr>(value).map(|net| net.0).map_or_else(|| error("cidr", "no such overload"), Ok)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_global(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !broadcast && !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !is_link_local(ip)
}

/// A URL in parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Url {
    scheme: String,
    hostname: String,
    port: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Url {
    fn parse(text: &str) -> Result<Self, ExecutionError> {
        let bad = || {
            error(
                "url",
                format!("URL parse error during conversion from string: parse {text:?}: invalid URI for request"),
            )
        };
        if text.contains([' ', '\n']) {
            return bad();
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest))
                if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
            {
                (scheme.to_lowercase(), rest)
            }
            None if text.starts_with('/') => (String::new(), text),
            _ => return bad(),
        };
        let rest = rest.split('#').next().unwrap_or("");
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let split = if scheme.is_empty() { 0 } else { before.find('/').unwrap_or(before.len()) };
        let (authority, path) = before.split_at(split);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (hostname, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').unwrap_or("")),
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return bad();
        }
        let pairs = query.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(value))
        });
        Ok(Self { scheme, hostname: hostname.into(), port: port.into(), path: path.into(), query: pairs.collect() })
    }

    fn host(&self) -> String {
        let name = if self.hostname.contains(':') { format!("[{}]", self.hostname) } else { self.hostname.clone() };
        if self.port.is_empty() { name } else { format!("{name}:{}", self.port) }
    }

    fn query(&self) -> Value {
        let mut map: std::collections::HashMap<String, Vec<Value>> = std::collections::HashMap::new();
        for (key, value) in &self.query {
            map.entry(key.clone()).or_default().push(Value::from(value.as_str()));
        }
        let lists = map.into_iter().map(|(k, v)| (k, Value::List(Arc::new(v))));
        Value::from(lists.collect::<std::collections::HashMap<String, Value>>())
    }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let number = std::str::from_utf8(&digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok());
                out.extend(number);
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn link(value: &Value) -> Result<&Url, ExecutionError> {
    inner::<Link>(value).map(|link| &link.0).map_or_else(|| error("url", "no such overload"), Ok)
}

/// The named formats, and the format of a schema that some of them are.
const FORMATS: [(&str, &str); 12] = [
    ("dns1123Label", "-"),
    ("dns1123Subdomain", "-"),
    ("dns1035Label", "-"),
    ("qualifiedName", "-"),
    ("labelValue", "-"),
    ("dns1123LabelPrefix", "-"),
    ("dns1035LabelPrefix", "-"),
    ("uri", "uri"),
    ("uuid", "uuid"),
    ("byte", "byte"),
    ("date", "date"),
    ("datetime", "date-time"),
];

fn optional_format(name: &str) -> Value {
    let known = FORMATS.iter().any(|(format, _)| *format == name);
    let value = known.then(|| opaque(Named(name.to_string())));
    super::data::optional(value)
}

/// What is wrong with a text by a named format: an optional list, none if nothing is.
fn validate(format: &Value, text: &str) -> Value {
    let name = inner::<Named>(format).map_or("", |named| named.0.as_str());
    let prefix = text.trim_end_matches('-');
    let errors = match name {
        "dns1123Label" => names::dns1123_label(text),
        "dns1123LabelPrefix" => names::dns1123_label(prefix),
        "dns1123Subdomain" => names::dns1123_subdomain(text),
        "dns1035Label" => names::dns1035_label(text),
        "dns1035LabelPrefix" => names::dns1035_label(prefix),
        "qualifiedName" => names::label_key(text),
        "labelValue" => names::label_value(text),
        other => {
            let format = FORMATS.iter().find(|(name, _)| *name == other).map_or("", |(_, format)| *format);
            if formats::matches(format, text) { Vec::new() } else { vec![format!("invalid {other}")] }
        }
    };
    let list = (!errors.is_empty()).then(|| Value::List(Arc::new(errors.into_iter().map(Value::from).collect())));
    super::data::optional(list)
}

/// A semantic version; its build part counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    pre: Vec<String>,
}

impl Version {
    fn parse(text: &str, normalize: bool) -> Result<Self, ExecutionError> {
        let bad = || ExecutionError::function_error("semver", "No Major.Minor.Patch elements found");
        let text = if normalize { text.strip_prefix('v').unwrap_or(text) } else { text };
        let text = text.split('+').next().unwrap_or("");
        let (core, pre) = text.split_once('-').unwrap_or((text, ""));
        let mut numbers = [0; 3];
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() > 3 || (parts.len() < 3 && !normalize) {
            return Err(bad());
        }
        for (slot, part) in numbers.iter_mut().zip(&parts) {
            let padded = part.len() > 1 && part.starts_with('0') && !normalize;
            if padded || part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad());
            }
            *slot = part.parse().map_err(|_| bad())?;
        }
        let pre: Vec<String> = pre.split('.').filter(|p| !p.is_empty()).map(String::from).collect();
        Ok(Self { numbers, pre })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let identifiers = |a: &String, b: &String| match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            _ => a.cmp(b),
        };
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => {
                let pairs = self.pre.iter().zip(&other.pre).map(|(a, b)| identifiers(a, b));
                pairs.fold(Ordering::Equal, Ordering::then).then(self.pre.len().cmp(&other.pre.len()))
            }
        })
    }
}

/// A version as a value.
pub(super) fn semver_value(text: &str) -> Result<Value, ExecutionError> {
    Version::parse(text, false).map(|version| opaque(Semver(version)))
}

fn semver(value: &Value) -> Result<&Version, ExecutionError> {
    inner::<Semver>(value).map(|v| &v.0).map_or_else(|| error("semver", "no such overload"), Ok)
}

pub(super) fn compare(args: &[Value]) -> Result<Ordering, ExecutionError> {
    Ok(semver(&args[0])?.compare(semver(&args[1])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_one_order() {
        let texts = [
            "1.0.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.1",
            "1.1.0",
            "2.0.0",
            "1.0.0-99999999999999999999999",
            "1.0.0-9999999999999999999999",
            "1.0.0-0",
            "1.0.0-00",
            "1.0.0-a",
        ];
        let versions: Vec<Version> = texts.iter().filter_map(|text| Version::parse(text, false).ok()).collect();
        assert!(versions.len() > 12);
        crate::order::assert_total(&versions, Version::compare);
    }
}
