//! The string formats that a schema may ask for (`strfmt` in kube-openapi).

use std::net::Ipv6Addr;

use base64::Engine;

use crate::go::duration;
use crate::{names, time};

/// The formats that schemas may name; others are told of, and hold nothing back.
const KNOWN: [&str; 28] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8s-short-name",
    "k8s-long-name",
    "k8sshortname",
    "k8slongname",
];

/// Whether a format is known for a type.
pub(crate) fn is_known(kind: &str, format: &str) -> bool {
    match kind {
        "" | "string" => KNOWN.contains(&format.replace('-', "").as_str()),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

/// Whether a text has a format. Formats that are unknown hold nothing back.
pub(crate) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => is_date_time(text),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "duration" => duration::parse(text).is_ok() || is_spelled_duration(text),
        "ipv4" => is_ipv4(text),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.parse::<ipnet::IpNet>().is_ok(),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some(b'3')),
        "uuid4" => is_uuid(text, Some(b'4')),
        "uuid5" => is_uuid(text, Some(b'5')),
        "byte" => !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "uri" => {
            let is_scheme = |scheme: &str| {
                scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            };
            text.starts_with('/') || text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
        }
        "email" => {
            let address = text.strip_suffix('>').and_then(|t| t.rsplit_once('<')).map_or(text, |(_, inner)| inner);
            is_email(address)
        }
        "hostname" => is_hostname(text),
        "k8s-short-name" => names::dns1123_label(text).is_empty(),
        "k8s-long-name" => names::dns1123_subdomain(text).is_empty(),
        "mac" => is_mac(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        "rgbcolor" => is_rgb(text),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "isbn10" => is_isbn10(&plain(text)),
        "isbn13" => is_isbn13(&plain(text)),
        "isbn" => is_isbn10(&plain(text)) || is_isbn13(&plain(text)),
        "creditcard" => is_card(&plain(text)),
        "ssn" => {
            let parts: Vec<&str> = text.split(['-', ' ']).collect();
            let lengths: Vec<usize> = parts.iter().map(|p| p.len()).collect();
            lengths == [3, 2, 4] && parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_digit()))
        }
        _ => true,
    }
}

fn is_date_time(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    time::parse(&upper).is_ok()
}

fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    let shape = text.len() == 32 || text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    shape && digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit) && version.is_none_or(|v| digits[12] == v)
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    !local.is_empty() && !local.contains([' ', '@']) && !domain.is_empty() && domain.split('.').all(is_host_label)
}

/// Numbers and units in words, such as `2 weeks`.
fn is_spelled_duration(text: &str) -> bool {
    const UNITS: [&str; 19] = [
        "ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk", "nano", "micro", "milli", "sec", "min", "hour",
        "day", "week",
    ];
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let number = rest[start..].trim_start_matches(|c: char| c.is_ascii_digit());
        let unit = number.trim_start();
        let end = unit.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(unit.len());
        let word = unit[..end].to_lowercase();
        let known = |known: &&str| word == **known || (known.len() > 2 && word.starts_with(*known));
        if UNITS.iter().any(known) {
            return true;
        }
        rest = number;
    }
    false
}

/// Four numbers; leading zeros are allowed here.
fn is_ipv4(text: &str) -> bool {
    let good = |part: &str| (1..=3).contains(&part.len()) && part.parse::<u8>().is_ok();
    text.split('.').count() == 4 && text.split('.').all(good)
}

/// One label, or several of which the last has two letters at least.
fn is_hostname(text: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || c == '-';
    let label =
        |l: &str| (1..=63).contains(&l.len()) && l.chars().all(inner) && !l.starts_with('-') && !l.ends_with('-');
    let labels: Vec<&str> = text.split('.').collect();
    let top = labels.last().is_some_and(|l| l.chars().count() >= 2 && l.chars().all(char::is_alphabetic));
    text.len() <= 255 && labels.iter().all(|l| label(l)) && (labels.len() == 1 || top)
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_mac(text: &str) -> bool {
    if text.contains('.') {
        let groups: Vec<&str> = text.split('.').collect();
        let good = |g: &&str| g.len() == 4 && g.bytes().all(|b| b.is_ascii_hexdigit());
        return matches!(groups.len(), 3 | 4 | 10) && groups.iter().all(good);
    }
    let separator = if text.contains('-') { '-' } else { ':' };
    let groups: Vec<&str> = text.split(separator).collect();
    matches!(groups.len(), 6 | 8 | 20)
        && groups.iter().all(|g| g.len() == 2 && g.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_rgb(text: &str) -> bool {
    let Some(inner) = text.strip_prefix("rgb(").and_then(|t| t.strip_suffix(')')) else { return false };
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    parts.len() == 3 && parts.iter().all(|p| p.parse::<u8>().is_ok())
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn is_isbn10(digits: &str) -> bool {
    let value = |(i, b): (usize, u8)| match b {
        b'0'..=b'9' => Some(u32::from(b - b'0') * (10 - i as u32)),
        b'X' if i == 9 => Some(10),
        _ => None,
    };
    let sum: Option<u32> = digits.bytes().enumerate().map(value).sum();
    digits.len() == 10 && sum.is_some_and(|sum| sum.is_multiple_of(11))
}

fn is_isbn13(digits: &str) -> bool {
    let sum: u32 =
        digits.bytes().enumerate().map(|(i, b)| u32::from(b.wrapping_sub(b'0')) * if i % 2 == 0 { 1 } else { 3 }).sum();
    digits.len() == 13 && digits.bytes().all(|b| b.is_ascii_digit()) && sum.is_multiple_of(10)
}

fn is_card(digits: &str) -> bool {
    let double = |(i, b): (usize, u8)| {
        let digit = u32::from(b.wrapping_sub(b'0')) * if i % 2 == 0 { 1 } else { 2 };
        if digit > 9 { digit - 9 } else { digit }
    };
    let sum: u32 = digits.bytes().rev().enumerate().map(double).sum();
    (12..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, good: &[&str], bad: &[&str]) {
        good.iter().for_each(|text| assert!(matches(format, text), "{format} {text}"));
        bad.iter().for_each(|text| assert!(!matches(format, text), "{format} {text}"));
    }

    #[test]
    fn known_formats() {
        check("date-time", &["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.5+02:00"], &["nope", "2024-01-01"]);
        check("date", &["2024-02-29"], &["2023-02-29", "2024-1-1"]);
        check("duration", &["1h30m", "5s", "0", "-1.5h", "10ms"], &["", "5", "5x", "s"]);
        check("ipv4", &["1.2.3.4"], &["1.2.3", "::1"]);
        check("ipv6", &["::1"], &["1.2.3.4"]);
        check("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0"]);
        check("uuid", &["123e4567-e89b-12d3-a456-426614174000"], &["123"]);
        check("uuid4", &["123e4567-e89b-42d3-a456-426614174000"], &["123e4567-e89b-12d3-a456-426614174000"]);
        check("uuid4", &[], &["--------------------------------"]);
        check("byte", &["aGk="], &["a", "?"]);
        check("email", &["a@b.c"], &["a", "@b", "a@"]);
        check("hostname", &["a.bc", "a-b"], &["-a", "a..b", "a.b", "a_b"]);
        check("duration", &["2 weeks", "5 s", "1d"], &["weeks"]);
        check("mac", &["00:11:22:33:44:55"], &["00:11"]);
        check("hexcolor", &["#fff", "a0b1c2"], &["#ff"]);
        check("rgbcolor", &["rgb(1, 2, 255)"], &["rgb(1,2)", "rgb(1,2,256)"]);
        check("isbn10", &["0-306-40615-2"], &["0306406153"]);
        check("isbn13", &["978-0-306-40615-7"], &["9780306406158"]);
        check("creditcard", &["4111 1111 1111 1111"], &["4111111111111112"]);
        check("ssn", &["111-22-3333"], &["111-22-333"]);
        check("whatever", &["x"], &[]);
    }
}
