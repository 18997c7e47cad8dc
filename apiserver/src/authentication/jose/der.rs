//! As much of DER as keys are written in.

use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, Oid};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const NULL: [u8; 2] = [0x05, 0];

fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
            out.push(0x80 | bytes.len() as u8);
            out.extend_from_slice(bytes);
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A number without a sign, whose first byte is not zero.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    value(INTEGER, &[sign, bytes])
}

fn oid(oid: &Oid<'_>) -> Vec<u8> {
    value(OBJECT_IDENTIFIER, &[oid.as_bytes()])
}

/// `SubjectPublicKeyInfo` of an RSA key.
pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = value(SEQUENCE, &[&integer(modulus), &integer(exponent)]);
    let algorithm = value(SEQUENCE, &[&oid(&OID_PKCS1_RSAENCRYPTION), &NULL]);
    value(SEQUENCE, &[&algorithm, &value(BIT_STRING, &[&[0], &key])])
}

/// `SubjectPublicKeyInfo` of a point on a curve.
pub(super) fn point(curve: &Oid<'_>, point: &[u8]) -> Vec<u8> {
    let algorithm = value(SEQUENCE, &[&oid(&OID_KEY_TYPE_EC_PUBLIC_KEY), &oid(curve)]);
    value(SEQUENCE, &[&algorithm, &value(BIT_STRING, &[&[0], point])])
}
