//! Tokens that Secrets hold: they never expire, and end with the Secret or the service account (`legacyValidator` in
//! pkg/serviceaccount).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Revision, Snapshot};

use crate::registry::{self, key};

/// Who issues them.
const ISSUER: &str = "kubernetes/serviceaccount";
/// The label of a Secret whose token is no longer taken.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

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

    /// Looks up the Secret and the account; answers with the objects on which the verdict rests.
    pub(super) fn check(&self, token: &str, snapshot: &Snapshot) -> Result<Vec<(String, Revision)>, String> {
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
        if !secret.str_at(&["metadata", "labels", INVALID_SINCE]).is_empty() {
            return Err(format!(
                "the token in secret {namespace}/{} for service account {namespace}/{name} has been marked invalid. Use \
                 tokens from the TokenRequest API or manually created secret-based tokens, or remove the \
                 '{INVALID_SINCE}' label from the secret to temporarily allow use of this token",
                self.secret
            ));
        }
        Ok(witnesses)
    }
}
