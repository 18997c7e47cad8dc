//! Tokens in the compact form: header, payload and signature with dots between them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Algorithm, PublicKey};

/// The longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 256 << 10;

/// A token that was taken apart, and about which nothing is known to be true.
#[derive(Debug)]
pub struct Compact<'a> {
    /// What is signed.
    signed: &'a str,
    signature: Vec<u8>,
    header: Header,
    payload: Vec<u8>,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    crit: Option<Value>,
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(token: &'a str) -> Result<Self, &'static str> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err("it is too long");
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("compact JWS format must have three parts");
        };
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "illegal base64 data");
        // A list would be taken for the fields in their order.
        let header: Map<String, Value> = serde_json::from_slice(&decode(header)?).map_err(|_| "invalid header")?;
        let header: Header = serde_json::from_value(header.into()).map_err(|_| "invalid header")?;
        if header.crit.is_some() {
            return Err("unsupported crit header");
        }
        let signed = &token[..token.len() - signature.len() - 1];
        Ok(Self { signed, signature: decode(signature)?, header, payload: decode(payload)? })
    }

    /// The name of the algorithm, as the token says.
    pub fn algorithm(&self) -> &str {
        &self.header.alg
    }

    /// The name of the key, as the token says; empty if it says none.
    pub fn key_id(&self) -> &str {
        &self.header.kid
    }

    /// The payload as claims, which must not be believed before a signature was checked.
    ///
    /// # Errors
    /// Why they are none.
    pub fn claims(&self) -> Result<Map<String, Value>, serde_json::Error> {
        serde_json::from_slice(&self.payload)
    }

    /// Whether a key made the signature, with one of these algorithms.
    pub fn is_signed_by(&self, key: &PublicKey, allowed: &[Algorithm]) -> bool {
        let algorithm = Algorithm::named(&self.header.alg).filter(|algorithm| allowed.contains(algorithm));
        algorithm.is_some_and(|algorithm| key.verify(algorithm, self.signed.as_bytes(), &self.signature))
    }
}
