//! As much of DER as a certificate takes to be written.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Years that are written with two digits end before this one.
const LONG_YEARS_FROM: i16 = 2050;

/// Something with its tag and length.
pub(super) fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        bytes.push(0x80 | digits.len() as u8);
        bytes.extend(digits);
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(SEQUENCE, parts)
}

/// A set, in the order that DER wants.
pub(super) fn set(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    tagged(SET, &[&parts.concat()])
}

/// A number that is not negative, from its big-endian bytes.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    let digits = &bytes[first..];
    let pad: &[u8] = if digits.first().is_none_or(|byte| *byte >= 0x80) { &[0] } else { &[] };
    tagged(0x02, &[pad, digits])
}

pub(super) fn boolean(value: bool) -> Vec<u8> {
    tagged(0x01, &[&[if value { 0xff } else { 0 }]])
}

pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    tagged(0x04, &[bytes])
}

/// Whole bytes as a string of bits.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    tagged(0x03, &[&[0], bytes])
}

/// Flags as a string of bits, the first in front, without zeros at the end.
pub(super) fn flags(set: &[usize]) -> Vec<u8> {
    let length = set.iter().max().map_or(0, |last| last + 1);
    let mut bytes = vec![0_u8; length.div_ceil(8)];
    set.iter().for_each(|flag| bytes[flag / 8] |= 0x80 >> (flag % 8));
    tagged(0x03, &[&[(bytes.len() * 8 - length) as u8], &bytes])
}

/// An object identifier such as `2.5.29.15`.
pub(super) fn oid(arcs: &[u64]) -> Vec<u8> {
    let [first, second, rest @ ..] = arcs else { return tagged(0x06, &[]) };
    let digits = |arc: u64| {
        let count = (64 - arc.leading_zeros()).div_ceil(7).max(1);
        (0..count).rev().map(move |at| (arc >> (7 * at)) as u8 & 0x7f | if at > 0 { 0x80 } else { 0 })
    };
    let bytes: Vec<u8> = digits(first * 40 + second).chain(rest.iter().flat_map(|arc| digits(*arc))).collect();
    tagged(0x06, &[&bytes])
}

/// A string, printable if it can be (`asn1.MarshalWithParams` in Go).
pub(super) fn string(text: &str) -> Vec<u8> {
    let printable = |c: char| c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(c);
    tagged(if text.chars().all(printable) { 0x13 } else { 0x0c }, &[text.as_bytes()])
}

pub(super) fn time(at: Timestamp) -> Vec<u8> {
    let at = at.to_zoned(TimeZone::UTC);
    let short = at.year() < LONG_YEARS_FROM;
    let text = at.strftime(if short { "%y%m%d%H%M%SZ" } else { "%Y%m%d%H%M%SZ" }).to_string();
    tagged(if short { 0x17 } else { 0x18 }, &[text.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_the_standard_has_them() {
        assert_eq!(integer(&[0, 0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(oid(&[2, 5, 29, 15]), [6, 3, 0x55, 0x1d, 0x0f]);
        assert_eq!(oid(&[1, 2, 840, 10045, 4, 3, 2]), [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
        assert_eq!(flags(&[0, 2]), [3, 2, 5, 0b1010_0000]);
        assert_eq!(flags(&[8]), [3, 3, 7, 0, 0b1000_0000]);
        assert_eq!(octets(&[9; 200])[..3], [4, 0x81, 200]);
        assert_eq!(octets(&[9; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!((string("a b")[0], string("a_b")[0]), (0x13, 0x0c));
        assert_eq!(time("2049-12-31T23:59:59Z".parse().unwrap())[..4], [0x17, 13, b'4', b'9']);
        assert_eq!(time("2050-01-01T00:00:00Z".parse().unwrap())[..4], [0x18, 15, b'2', b'0']);
        assert_eq!(set(vec![vec![5, 0], vec![1, 1, 0]]), [0x31, 5, 1, 1, 0, 5, 0]);
    }
}
