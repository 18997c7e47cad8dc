//! Keys as JSON (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Algorithm, Compact, KeyError, PublicKey};

/// How many keys a set may have.
const KEYS_MAX: usize = 256;

/// Why a set of keys is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is no set of keys.
    #[error("{0}")]
    Malformed(String),
    /// It has more keys than any has.
    #[error("it has {0} keys: no more than {KEYS_MAX} are taken")]
    TooMany(usize),
}

/// The public keys of an issuer, each with its name, which may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet(Vec<(String, PublicKey)>);

impl KeySet {
    /// Reads a set. Keys of sorts that are not used here are left out.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let set: Value = serde_json::from_slice(text).map_err(|error| KeySetError::Malformed(error.to_string()))?;
        let keys = match set.get("keys") {
            Some(Value::Array(keys)) => keys.as_slice(),
            None | Some(Value::Null) if set.is_object() => &[],
            _ => return Err(KeySetError::Malformed("it is no set of keys".into())),
        };
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(keys.len()));
        }
        let mut read = Vec::with_capacity(keys.len());
        for key in keys {
            let id = key.get("kid").and_then(Value::as_str).unwrap_or_default();
            match PublicKey::from_jwk(key) {
                Ok(key) => read.push((id.to_string(), key)),
                Err(why) => tracing::debug!(key = id, %why, "a key of an issuer is not used"),
            }
        }
        Ok(Self(read))
    }

    /// Keys by the names that service account tokens have for them.
    pub fn of(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let mut set: Vec<(String, PublicKey)> = Vec::new();
        for key in keys {
            if !set.iter().any(|(_, known)| *known == key) {
                set.push((key.id(), key));
            }
        }
        Self(set)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter().map(|(_, key)| key)
    }

    /// Whether one of the keys made the signature of a token: the one that it names, if it names one.
    pub fn verify(&self, token: &Compact<'_>, allowed: &[Algorithm]) -> bool {
        let named = token.key_id();
        let candidates = self.0.iter().filter(|(id, _)| named.is_empty() || id == named);
        candidates.map(|(_, key)| key).any(|key| token.is_signed_by(key, allowed))
    }

    /// As JSON, with what the keys are for.
    pub fn to_json(&self) -> Value {
        let keys: Vec<Value> = self.0.iter().map(|(id, key)| key.to_jwk(id)).collect();
        json!({"keys": keys})
    }
}

fn bytes(key: &Value, name: &str) -> Result<Vec<u8>, KeyError> {
    let text = key.get(name).and_then(Value::as_str);
    let text = text.ok_or_else(|| KeyError::Malformed(format!("{name} is missing")))?;
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| KeyError::Malformed(format!("{name} is no base64")))
}

impl PublicKey {
    /// From JSON.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn from_jwk(key: &Value) -> Result<Self, KeyError> {
        match key.get("kty").and_then(Value::as_str).unwrap_or_default() {
            "RSA" => Self::rsa(&bytes(key, "n")?, &bytes(key, "e")?),
            "EC" => {
                let curve = key.get("crv").and_then(Value::as_str).unwrap_or_default();
                let mut point = vec![4];
                point.extend(bytes(key, "x")?);
                point.extend(bytes(key, "y")?);
                Self::point(curve, point)
            }
            other => Err(KeyError::Unsupported(format!("the type {other:?}"))),
        }
    }

    fn to_jwk(&self, id: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let of_point = |curve: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
        };
        let mut key = match self {
            Self::Rsa { modulus, exponent } => json!({"kty": "RSA", "n": encode(modulus), "e": encode(exponent)}),
            Self::P256(point) => of_point("P-256", point),
            Self::P384(point) => of_point("P-384", point),
        };
        key["use"] = "sig".into();
        key["kid"] = id.into();
        key["alg"] = self.algorithm().name().into();
        key
    }
}
