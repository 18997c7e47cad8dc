//! Base64 as Go's `encoding/base64` reads it: line breaks are skipped, and errors tell the place.

use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use base64::{Engine, alphabet};

const LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// Where the text stops being base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data at input byte {0}")]
pub struct Base64Error(pub usize);

/// Decodes standard base64 with padding.
///
/// # Errors
/// [`Base64Error`].
pub fn decode(text: &str) -> Result<Vec<u8>, Base64Error> {
    if let Ok(bytes) = STANDARD.decode(text) {
        return Ok(bytes);
    }
    let kept: Vec<(usize, u8)> = text.bytes().enumerate().filter(|(_, b)| !matches!(b, b'\r' | b'\n')).collect();
    let plain: Vec<u8> = kept.iter().map(|(_, b)| *b).collect();
    STANDARD.decode(&plain).map_err(|error| {
        let strange = |b: &u8| !b.is_ascii_alphanumeric() && !matches!(b, b'+' | b'/' | b'=');
        let found = match error {
            base64::DecodeError::InvalidByte(place, _) | base64::DecodeError::InvalidLastSymbol(place, _) => place,
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => plain.len() / 4 * 4,
        };
        // A letter that there is not is told before a length that is wrong.
        let place = plain.iter().position(strange).map_or(found, |place| place.min(found));
        Base64Error(kept.get(place).map_or(text.len(), |(original, _)| *original))
    })
}

/// Encodes as base64 for addresses, without padding (`RawURLEncoding`).
pub fn encode_token(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64 for addresses, without padding. Bits that are left over are not looked at.
///
/// # Errors
/// [`Base64Error`].
pub fn decode_token(text: &str) -> Result<Vec<u8>, Base64Error> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    // It stops at the first letter that is none, or at the last group if that is short.
    let stop = || Base64Error(text.bytes().position(|b| !good(b)).unwrap_or(text.len() / 4 * 4));
    LENIENT.decode(text).map_err(|_| stop())
}

/// Encodes as base64 for names and addresses.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    URL_SAFE.encode(bytes)
}

/// Encodes as standard base64 with padding.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
