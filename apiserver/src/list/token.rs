//! The `continue` token: a state and a place in it (`storage.EncodeContinue`).

use api::decode::{Format, decode_untyped};
use api::go::base64;
use api::go::json::cannot_unmarshal;
use api::patch::json_kind;
use serde::Serialize;
use serde_json::Value;
use store::Revision;

/// The only version of tokens there is.
const VERSION: &str = "meta.k8s.io/v1";

/// A state and the key, after the prefix of the list, to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// None for the newest state, after the one the list began in is gone.
    pub revision: Option<Revision>,
    /// The first key, without the prefix.
    pub start: String,
}

#[derive(Serialize)]
struct Wire {
    v: String,
    rv: i64,
    start: String,
}

impl Token {
    /// The text that clients hand back.
    pub fn encode(&self) -> String {
        let rv = self.revision.map_or(-1, |r| i64::try_from(r).unwrap_or(-1));
        let wire = Wire { v: VERSION.into(), rv, start: self.start.clone() };
        base64::encode_token(&serde_json::to_vec(&wire).expect("a token encodes"))
    }

    /// Reads what a client handed back.
    ///
    /// # Errors
    /// A text for what is no token.
    pub fn decode(text: &str) -> Result<Self, String> {
        let bytes = base64::decode_token(text).map_err(|error| format!("continue key is not valid: {error}"))?;
        let value =
            decode_untyped(&bytes, Format::Json).map_err(|error| format!("continue key is not valid: {error}"))?;
        if !value.is_object() && !value.is_null() {
            let kind = json_kind(&value);
            return Err(format!("continue key is not valid: {}", cannot_unmarshal(kind, "storage.continueToken")));
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("").to_string();
        let wire =
            Wire { v: text("v"), rv: value.get("rv").and_then(Value::as_i64).unwrap_or(0), start: text("start") };
        if wire.v != VERSION {
            let version = wire.v;
            return Err(format!("continue key is not valid: server does not recognize this encoded version {version}"));
        }
        if wire.start.is_empty() {
            return Err(format!("continue key is not valid: encoded start key empty (version {VERSION})"));
        }
        if wire.start.starts_with('/') || wire.start.split('/').any(|p| p == "..") {
            return Err(format!("continue key is not valid: {}", wire.start));
        }
        let revision = match wire.rv {
            rv if rv < 0 => None,
            0 => {
                return Err(
                    "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
                        .into(),
                );
            }
            rv => Some(Revision::try_from(rv).map_err(|_| "continue key is not valid".to_string())?),
        };
        Ok(Self { revision, start: wire.start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for revision in [None, Some(7)] {
            let token = Token { revision, start: "ns/name\0".into() };
            assert_eq!(Token::decode(&token.encode()), Ok(token));
        }
        let error = Token::decode("bogus").unwrap_err();
        assert_eq!(error, "continue key is not valid: illegal base64 data at input byte 4");
    }
}
