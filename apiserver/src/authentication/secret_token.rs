//! Tokens that Secrets hold: they never expire, and end with the Secret or the service account (`legacyValidator` in
//! pkg/serviceaccount).

use std::sync::Arc;

use api::Object;
use api::legacy_tokens::{self, INVALID_SINCE, LAST_USED};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{Revision, Snapshot};

use super::secret_use::Used;
use crate::plug::Notes;
use crate::registry::{self, key};

/// Who issues them.
const ISSUER: &str = "kubernetes/serviceaccount";

/// The warning to who uses a token that was made without being asked for.
const GENERATED_WARNING: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of \
                                 auto-generated secret-based tokens.";

/// Such a token that is the one that the Secret holds.
pub(super) struct Held {
    /// The Secret.
    pub used: Used,
    /// When it was last used, as far as that is written down.
    pub labelled: Option<Date>,
    /// Why it is not taken, if it was marked so.
    pub invalid: Option<String>,
    /// Whether it was made without being asked for: the account names the Secret.
    pub is_generated: bool,
    /// Warnings and annotations about its use.
    pub notes: Arc<Notes>,
    /// The objects on which this rests.
    pub witnesses: Vec<(String, Revision)>,
}

/// What such a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretClaims {
    iss: String,
    /// The namespace.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    /// The Secret that holds it.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    /// The service account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    /// The service account's uid.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub account_uid: String,
    sub: String,
}

impl SecretClaims {
    /// Claims for the token of a service account in a Secret.
    pub fn new(namespace: &str, account: &str, account_uid: &str, secret: &str) -> Self {
        Self {
            iss: ISSUER.into(),
            namespace: namespace.into(),
            secret: secret.into(),
            account: account.into(),
            account_uid: account_uid.into(),
            sub: format!("system:serviceaccount:{namespace}:{account}"),
        }
    }

    /// Whether these are the claims of such a token.
    pub(super) fn are_ours(&self) -> bool {
        let expected = Self::new(&self.namespace, &self.account, &self.account_uid, &self.secret);
        let given = [&self.namespace, &self.account, &self.account_uid, &self.secret];
        self.iss == ISSUER && self.sub == expected.sub && given.iter().all(|claim| !claim.is_empty())
    }

    /// Looks up the Secret and the account.
    pub(super) fn check(&self, token: &str, snapshot: &Snapshot) -> Result<Held, String> {
        let mut witnesses = Vec::new();
        let mut read = |resource: &str, name: &str| {
            let key = key("", resource, &self.namespace, name);
            let entry = snapshot.get(&key)?;
            let object = registry::read(entry)?;
            witnesses.push((key, entry.mod_revision()));
            Some(object).filter(|object| object.at(&["metadata", "deletionTimestamp"]).is_none())
        };
        let secret = read("secrets", &self.secret).ok_or("Token has been invalidated")?;
        let held = STANDARD.decode(secret.str_at(&["data", "token"])).unwrap_or_default();
        // Digests are compared, so that the time tells nothing.
        if Sha256::digest(held) != Sha256::digest(token) {
            return Err("Token does not match server's copy".into());
        }
        let (namespace, name) = (&self.namespace, &self.account);
        let account = read("serviceaccounts", name)
            .ok_or_else(|| format!("ServiceAccount {namespace}/{name} has been deleted"))?;
        if account.uid() != self.account_uid {
            let (have, claimed) = (account.uid(), &self.account_uid);
            return Err(format!("ServiceAccount UID ({have}) does not match claim ({claimed})"));
        }
        let is_invalid = !secret.str_at(&["metadata", "labels", INVALID_SINCE]).is_empty();
        let is_generated = names_secret(&account, &self.secret);
        Ok(Held {
            used: Used { namespace: namespace.clone(), name: self.secret.clone(), uid: secret.uid().into() },
            labelled: legacy_tokens::parse(secret.str_at(&["metadata", "labels", LAST_USED])),
            invalid: is_invalid.then(|| self.invalid()),
            is_generated,
            notes: Arc::new(self.notes(is_generated)),
            witnesses,
        })
    }

    fn invalid(&self) -> String {
        let (namespace, name) = (&self.namespace, &self.account);
        format!(
            "the token in secret {namespace}/{} for service account {namespace}/{name} has been marked invalid. Use \
             tokens from the TokenRequest API or manually created secret-based tokens, or remove the \
             '{INVALID_SINCE}' label from the secret to temporarily allow use of this token",
            self.secret
        )
    }

    fn notes(&self, is_generated: bool) -> Notes {
        let sort = if is_generated { "autogenerated" } else { "manual" };
        Notes {
            warnings: is_generated.then(|| GENERATED_WARNING.to_string()).into_iter().collect(),
            annotations: vec![
                ("authentication.k8s.io/legacy-token".into(), self.sub.clone()),
                (format!("authentication.k8s.io/legacy-token-{sort}-secret"), self.secret.clone()),
            ],
        }
    }
}

fn names_secret(account: &Object, name: &str) -> bool {
    let named = account.at(&["secrets"]).and_then(Value::as_array).into_iter().flatten();
    named.into_iter().any(|secret| secret.get("name").and_then(Value::as_str) == Some(name))
}
