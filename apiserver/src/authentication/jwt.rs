//! JSON web tokens as service accounts carry them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::jose::{KeyError, KeySet, PublicKey, Signer};

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign a token")]
pub struct SigningError;

/// What a service account token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// The audiences it is for.
    #[serde(default, deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// When it expires, in seconds of the epoch.
    pub exp: i64,
    /// When it was issued.
    #[serde(default)]
    pub iat: i64,
    /// Who issued it.
    #[serde(default)]
    pub iss: String,
    /// Its id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// Who and what it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
    /// When it begins to be valid.
    #[serde(default)]
    pub nbf: i64,
    /// The user name.
    #[serde(default)]
    pub sub: String,
}

/// The private claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The service account's namespace.
    pub namespace: String,
    /// The node, bound to or of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The pod it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The secret it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The service account.
    pub serviceaccount: Reference,
    /// When the holder should have fetched a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// Something by name and uid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

/// Signs tokens.
#[derive(Debug)]
pub struct SigningKey {
    signer: Signer,
    public: PublicKey,
    key_id: String,
}

impl SigningKey {
    /// From a PEM.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let signer = Signer::from_pem(pem.as_bytes())?;
        let public = signer.public();
        Ok(Self { signer, key_id: public.id(), public })
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs claims.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, SigningError> {
        let header = json!({"alg": self.public.algorithm().name(), "kid": self.key_id});
        let claims = serde_json::to_vec(claims).map_err(|_| SigningError)?;
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signer.sign(token.as_bytes()).map_err(|_| SigningError)?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }
}

/// What `/.well-known/openid-configuration` serves; `jwks_uri` is where the keys are to be had.
pub fn openid_configuration(issuer: &str, jwks_uri: &str, keys: &KeySet) -> serde_json::Value {
    let mut algorithms: Vec<&str> = keys.keys().map(|key| key.algorithm().name()).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    json!({
        "issuer": issuer, "jwks_uri": jwks_uri, "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": algorithms,
    })
}
