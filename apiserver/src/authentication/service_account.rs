//! Service account tokens: made for `TokenRequest`, and checked against what they are bound to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use api::UserInfo;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{Revision, Snapshot};

use super::jose::{Algorithm, Compact, KeySet};
use super::jwt::{Bound, Claims, Reference, SigningError, SigningKey};
use super::secret_token::{Held, SecretClaims};
use super::secret_use::SecretUses;
use super::{INVALID_TOKEN, identity_of};
use crate::metrics::chain::{Sort, Tokens};
use crate::plug::{Known, Notes};
use crate::registry::key;

/// Clocks may differ by this much, and what is being deleted keeps its tokens for as long.
const LEEWAY_SECONDS: i64 = 60;
/// No token of ours comes near this; longer ones are refused unread.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// How long a token lives at most that its holder never reloads, in seconds (`ExpirationExtensionSeconds`).
pub const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
/// How many verified tokens are remembered; the memory is emptied when it is full.
const REMEMBERED_MAX: usize = 8192;

/// Signs and checks service account tokens.
pub struct ServiceAccountTokens {
    key: SigningKey,
    /// The keys whose tokens are taken.
    keys: KeySet,
    /// The first one issues tokens; those of all are taken.
    issuers: Vec<String>,
    audiences: Vec<String>,
    lifetimes: Lifetimes,
    remembered: Mutex<HashMap<[u8; 32], Arc<Verified>>>,
    counts: Arc<Tokens>,
    uses: Arc<SecretUses>,
}

/// A token whose signature was checked, and the stored objects on which the verdict rests.
struct Verified {
    claims: Claims,
    /// Its own claims if a Secret holds it, and the Secret; then the others are only what follows from it.
    held: Option<(SecretClaims, Held)>,
    user: Arc<UserInfo>,
    witnesses: Vec<(String, Revision)>,
    /// Something it is bound to is being deleted: the token ends here.
    ends: Option<Timestamp>,
}

/// How long tokens live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// The most that is given, in seconds; none for no limit.
    pub seconds_max: Option<i64>,
    /// Whether tokens that pods have may live longer than they say (`--service-account-extend-token-expiration`).
    pub extends: bool,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { seconds_max: None, extends: true }
    }
}

impl ServiceAccountTokens {
    /// Tokens by `issuer`, which is also the only audience of this API server.
    pub fn new(key: SigningKey, issuer: impl Into<String>) -> Self {
        let issuer = issuer.into();
        let keys = KeySet::of([key.public().clone()]);
        let (issuers, audiences) = (vec![issuer.clone()], vec![issuer]);
        let (remembered, counts, uses) = (Mutex::default(), Arc::default(), Arc::default());
        Self { key, keys, issuers, audiences, lifetimes: Lifetimes::default(), remembered, counts, uses }
    }

    /// The same with other keys whose tokens are taken, with issuers of whom the first is the one that issues, and for these
    /// audiences.
    pub fn trusting(self, keys: KeySet, issuers: Vec<String>, audiences: Vec<String>) -> Self {
        Self { keys, issuers, audiences, ..self }
    }

    /// The same with other lifetimes.
    pub fn living(self, lifetimes: Lifetimes) -> Self {
        Self { lifetimes, ..self }
    }

    /// How long tokens live.
    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// The counts of tokens.
    pub fn counts(&self) -> &Arc<Tokens> {
        &self.counts
    }

    /// The Secrets whose tokens were used.
    pub fn uses(&self) -> Arc<SecretUses> {
        self.uses.clone()
    }

    /// The audiences of this API server.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        self.issuers.first().map_or("", String::as_str)
    }

    /// The keys whose tokens are taken.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Signs a token; issuer and subject are filled in.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn issue(&self, mut claims: Claims) -> Result<String, SigningError> {
        claims.iss = self.issuer().to_string();
        claims.sub =
            format!("system:serviceaccount:{}:{}", claims.kubernetes.namespace, claims.kubernetes.serviceaccount.name);
        self.key.sign(&claims)
    }

    /// Signs what the token in a Secret says.
    ///
    /// # Errors
    /// [`SigningError`].
    #[cfg(test)]
    pub(super) fn sign(&self, claims: &SecretClaims) -> Result<String, SigningError> {
        self.key.sign(claims)
    }

    /// Whose token this is, if it is for this API server, and whether it was remembered.
    ///
    /// # Errors
    /// Why not.
    pub fn authenticate(
        &self,
        token: &str,
        snapshot: &Snapshot,
        now: (Timestamp, Instant),
    ) -> Result<(Known, bool), String> {
        let (verified, remembered) = self.verify(token, snapshot, now)?;
        if !verified.claims.aud.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(format!(
                "{INVALID_TOKEN}: token audiences {:?} is invalid for the target audiences {:?}",
                verified.claims.aud, self.audiences
            ));
        }
        Ok((self.known(&verified, now), remembered))
    }

    /// Whose token this is, with those of `audiences` that it is for (of this API server's, if none are given), and whether it
    /// was remembered.
    ///
    /// # Errors
    /// Why not.
    pub fn review(
        &self,
        token: &str,
        audiences: &[String],
        snapshot: &Snapshot,
        now: (Timestamp, Instant),
    ) -> Result<(Known, Vec<String>, bool), String> {
        let (verified, remembered) = self.verify(token, snapshot, now)?;
        let wanted = if audiences.is_empty() { &self.audiences[..] } else { audiences };
        let shared: Vec<String> =
            wanted.iter().filter(|wanted| verified.claims.aud.contains(wanted)).cloned().collect();
        if shared.is_empty() {
            let have = &verified.claims.aud;
            return Err(format!("token audiences {have:?} is invalid for the target audiences {wanted:?}"));
        }
        Ok((self.known(&verified, now), shared, remembered))
    }

    fn verify(
        &self,
        token: &str,
        snapshot: &Snapshot,
        now: (Timestamp, Instant),
    ) -> Result<(Arc<Verified>, bool), String> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let remembered = self.remembered.lock().get(&digest).cloned();
        let is_good = remembered.as_ref().is_some_and(|verified| holds(verified, snapshot));
        let verified = match remembered {
            Some(verified) if is_good => verified,
            remembered => self.remember(digest, self.check_again(remembered, token, snapshot, now)?),
        };
        check_times(&verified, now.0)?;
        Ok((verified, is_good))
    }

    /// Whose token it is that is good, and what is told of its use: what a Secret holds is noted there, and that its holder
    /// should have fetched another (`WarnAfter`) in the audit log.
    fn known(&self, verified: &Verified, (at, now): (Timestamp, Instant)) -> Known {
        let user = verified.user.clone();
        if let Some((_, held)) = &verified.held {
            self.uses.note(&held.used, held.labelled, at, now);
            self.counts.used(if held.is_generated { Sort::Generated } else { Sort::Manual });
            return Known { user, notes: Some(held.notes.clone()) };
        }
        let Some(warn_after) = verified.claims.kubernetes.warnafter.filter(|seconds| *seconds != 0) else {
            return user.into();
        };
        if at <= Timestamp::from_second(warn_after).unwrap_or(Timestamp::MAX) {
            self.counts.used(Sort::Valid);
            return user.into();
        }
        self.counts.used(Sort::Stale);
        let late = at.as_second() - warn_after;
        let text = format!("subject: {}, seconds after warning threshold: {late}", verified.claims.sub);
        let annotations = vec![("authentication.k8s.io/stale-token".to_string(), text)];
        Known { user, notes: Some(Arc::new(Notes { annotations, ..Notes::default() })) }
    }

    /// Checks a token of which nothing that holds is remembered; of one that was known before the signature is good.
    fn check_again(
        &self,
        stale: Option<Arc<Verified>>,
        token: &str,
        snapshot: &Snapshot,
        now: (Timestamp, Instant),
    ) -> Result<Verified, String> {
        match stale {
            Some(stale) => match &stale.held {
                Some((said, _)) => self.check_held(said.clone(), token, snapshot, now),
                None => check(stale.claims.clone(), snapshot),
            },
            None => self.check_new(token, snapshot, now),
        }
    }

    fn check_new(&self, token: &str, snapshot: &Snapshot, now: (Timestamp, Instant)) -> Result<Verified, String> {
        let said = self.said(token).ok_or(INVALID_TOKEN)?;
        if let Some(held) = SecretClaims::deserialize(&said).ok().filter(SecretClaims::are_ours) {
            return self.check_held(held, token, snapshot, now);
        }
        let claims: Claims = serde_json::from_value(said).map_err(|_| INVALID_TOKEN)?;
        if !self.issuers.contains(&claims.iss) {
            return Err(INVALID_TOKEN.into());
        }
        check(claims, snapshot)
    }

    /// What a token says that one of the keys signed.
    fn said(&self, token: &str) -> Option<Value> {
        let token = Compact::parse(token).ok().filter(|_| token.len() <= TOKEN_BYTES_MAX)?;
        self.keys.verify(&token, &Algorithm::ALL).then(|| token.claims().ok().map(Value::Object)).flatten()
    }

    /// A token that a Secret holds is for this API server alone, and for ever.
    fn check_held(
        &self,
        said: SecretClaims,
        token: &str,
        snapshot: &Snapshot,
        (at, now): (Timestamp, Instant),
    ) -> Result<Verified, String> {
        let mut held = said.check(token, snapshot)?;
        if let Some(invalid) = held.invalid {
            self.uses.note(&held.used, held.labelled, at, now);
            self.counts.used(Sort::Invalid);
            return Err(invalid);
        }
        let witnesses = std::mem::take(&mut held.witnesses);
        let account = Reference { name: said.account.clone(), uid: said.account_uid.clone() };
        let claims = Claims {
            aud: self.audiences.clone(),
            exp: i64::MAX,
            iat: 0,
            iss: self.issuer().to_string(),
            jti: String::new(),
            kubernetes: Bound { namespace: said.namespace.clone(), serviceaccount: account, ..Bound::default() },
            nbf: 0,
            sub: String::new(),
        };
        let user = Arc::new(user(&claims));
        Ok(Verified { claims, held: Some((said, held)), user, witnesses, ends: None })
    }

    fn remember(&self, digest: [u8; 32], verified: Verified) -> Arc<Verified> {
        let verified = Arc::new(verified);
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(digest, verified.clone());
        verified
    }
}

fn holds(verified: &Verified, snapshot: &Snapshot) -> bool {
    verified
        .witnesses
        .iter()
        .all(|(key, revision)| snapshot.get(key).is_some_and(|entry| entry.mod_revision() == *revision))
}

fn check_times(verified: &Verified, now: Timestamp) -> Result<(), String> {
    let seconds = now.as_second();
    if seconds - LEEWAY_SECONDS > verified.claims.exp {
        return Err("service account token has expired".into());
    }
    if seconds + LEEWAY_SECONDS < verified.claims.nbf {
        return Err("service account token is not valid yet".into());
    }
    if seconds + LEEWAY_SECONDS < verified.claims.iat {
        return Err("service account token is issued in the future".into());
    }
    if verified.ends.is_some_and(|ends| now > ends) {
        return Err("service account token has been invalidated".into());
    }
    Ok(())
}

/// Looks up what the token is bound to.
fn check(claims: Claims, snapshot: &Snapshot) -> Result<Verified, String> {
    let bound = &claims.kubernetes;
    let namespace = &bound.namespace;
    let mut witnesses = Vec::new();
    let mut ends: Option<Timestamp> = None;
    let mut look = |resource: &str, namespace: &str, wanted: &Reference| -> Result<(), String> {
        let key = key("", resource, namespace, &wanted.name);
        let entry = snapshot.get(&key).ok_or("service account token has been invalidated")?;
        let (uid, deleted) = identity_of(entry).ok_or("service account token has been invalidated")?;
        if uid != wanted.uid {
            return Err(format!("{resource} UID ({uid}) does not match the token's claim ({})", wanted.uid));
        }
        if let Some(deleted) = deleted {
            let end = deleted + SignedDuration::from_secs(LEEWAY_SECONDS);
            ends = Some(ends.map_or(end, |ends| ends.min(end)));
        }
        witnesses.push((key, entry.mod_revision()));
        Ok(())
    };
    look("serviceaccounts", namespace, &bound.serviceaccount)?;
    if let Some(secret) = &bound.secret {
        look("secrets", namespace, secret)?;
    }
    match (&bound.pod, &bound.node) {
        (Some(pod), _) => look("pods", namespace, pod)?,
        (None, Some(node)) => look("nodes", "", node)?,
        (None, None) => {}
    }
    let user = Arc::new(user(&claims));
    Ok(Verified { claims, held: None, user, witnesses, ends })
}

fn user(claims: &Claims) -> UserInfo {
    let bound = &claims.kubernetes;
    let mut user = UserInfo::service_account(&bound.namespace, &bound.serviceaccount.name);
    user.uid = bound.serviceaccount.uid.clone();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_string()]);
        }
    };
    if let Some(pod) = &bound.pod {
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    if let Some(node) = &bound.node {
        add("node-name", &node.name);
        add("node-uid", &node.uid);
    }
    if !claims.jti.is_empty() {
        add("credential-id", &format!("JTI={}", claims.jti));
    }
    user
}
