//! The short hash that tells versions of a template apart.

use serde::Serialize;

/// Digits become these letters, so that a hash is no word.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A hash of `value`; `collisions` makes another one when two values collide.
pub(crate) fn of<T: Serialize>(value: &T, collisions: Option<i32>) -> String {
    let mut bytes = serde_json::to_vec(value).expect("API objects are written as JSON");
    if let Some(collisions) = collisions {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    let sum = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    sum.to_string().bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect()
}
