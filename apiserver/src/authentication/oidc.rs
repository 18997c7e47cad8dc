//! Tokens of other issuers (OpenID Connect): who issues them is said by `AuthenticationConfiguration`, which keys they are
//! signed with by the issuer itself, and what their claims mean by the configuration again.

mod distributed;
mod fetch;
mod keys;

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use api::identity::claims::Claims;
use api::identity::{ClaimsMapper, JwtAuthenticator, aggregate_texts};
use api::{Status, UserInfo};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::AbortHandle;

use super::jose::{Algorithm, Compact};
use crate::certificates::bundle;
use crate::clock::Clock;
use crate::metrics::identity::Issuers as IssuerMetrics;
use crate::outgoing::{self, Client, Connector, Trust};
use crate::workers::{UsersWorkers, Workers};
use distributed::Resolver;
use keys::RemoteKeys;

/// How long is waited before an issuer is asked again for what it says of itself.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(10);
/// By how much a clock may be behind that of an issuer.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
/// When a token that does not say it expires, as Go prints the time that is none.
const NEVER: &str = "0001-01-01 00:00:00 +0000 UTC";
const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_BARE: &str = "accounts.google.com";

/// What the issuers of a configuration share.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where is counted what happens.
    pub metrics: Arc<IssuerMetrics>,
    /// The algorithms that tokens may be signed with.
    pub algorithms: Arc<[Algorithm]>,
    /// Threads for expressions that take more than a moment. Nobody is known yet who could share those of users.
    pub workers: Workers,
}

/// One issuer. It is looked for from when this is made, and no more when this is dropped.
pub struct Issuer {
    url: String,
    mapper: Arc<ClaimsMapper>,
    /// Where expressions are evaluated that take more than a moment.
    threads: UsersWorkers,
    verifier: Arc<Verifier>,
    resolver: Option<Resolver>,
    around: Surroundings,
}

/// Checks tokens of an issuer once its keys can be had.
pub(super) struct Verifier {
    issuer: String,
    audiences: Vec<String>,
    algorithms: Arc<[Algorithm]>,
    keys: OnceLock<RemoteKeys>,
    /// Why there are no keys yet.
    problem: Mutex<String>,
    task: OnceLock<AbortHandle>,
}

impl Drop for Verifier {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Issuer {
    /// An issuer as a configuration that was found good says. Must be called where tasks can be spawned.
    ///
    /// # Errors
    /// If the certificates of its authorities cannot be used, or it is to be reached by a way that there is none of.
    pub fn new(config: &JwtAuthenticator, mapper: ClaimsMapper, around: Surroundings) -> Result<Self, String> {
        let issuer = &config.issuer;
        if !issuer.egress_selector_type.is_empty() {
            let egress = &issuer.egress_selector_type;
            return Err(format!("oidc: egress lookup required with egress selector type {egress:?}"));
        }
        let authorities = issuer.certificate_authority.as_str();
        if let Some(why) = bundle::problem(authorities).filter(|_| !authorities.is_empty()) {
            return Err(format!("Failed to read the CA contents: {why}"));
        }
        let tls = outgoing::tls_config(Trust::Authorities(authorities.as_bytes()), None, outgoing::HTTP)?;
        let remote = Client::new(Connector::new(tls, None));
        let verifier = Verifier::start(&issuer.url, &issuer.discovery_url, &issuer.audiences, remote.clone(), &around);
        let resolver =
            mapper.groups_claim().map(|claim| Resolver::new(claim, remote, issuer.audiences.clone(), around.clone()));
        let threads = around.workers.of(Arc::new(UserInfo::new(&issuer.url, &[])));
        Ok(Self { url: issuer.url.clone(), mapper: Arc::new(mapper), threads, verifier, resolver, around })
    }

    /// Whether tokens can be checked (`HealthCheck`).
    ///
    /// # Errors
    /// Why not.
    pub fn health(&self) -> Result<(), String> {
        self.verifier
            .health()
            .map_err(|why| format!("oidc: authenticator for issuer {:?} is not healthy: {why}", self.url))
    }

    /// The issuer's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whose token this is, which says that this issuer issued it.
    async fn authenticate(&self, token: &str) -> Result<UserInfo, String> {
        let started = self.around.clock.instant();
        let found = self.check(token).await;
        let took = self.around.clock.instant().saturating_duration_since(started);
        self.around.metrics.authenticated(&self.url, found.is_ok(), took);
        found
    }

    async fn check(&self, token: &str) -> Result<UserInfo, String> {
        if self.verifier.keys.get().is_none() {
            return Err("oidc: authenticator not initialized".into());
        }
        let now = self.around.clock.now();
        let mut claims = self.verifier.verify(token, now).await.map_err(|why| format!("oidc: verify token: {why}"))?;
        if let Some(resolver) = &self.resolver {
            let failed = |why| format!("oidc: could not expand distributed claims: {why}");
            resolver.expand(&mut claims).await.map_err(failed)?;
        }
        user_of(&self.mapper, claims, &self.threads).await
    }
}

/// The user that claims make. What takes more than a moment is evaluated on a thread that serves nobody else.
async fn user_of(mapper: &Arc<ClaimsMapper>, claims: Claims, threads: &UsersWorkers) -> Result<UserInfo, String> {
    let refused = |status: &Status| format!("oidc: {}", status.message);
    let (here, there) = (mapper, mapper.clone());
    let user = match here.takes_long(&claims) {
        true => {
            threads.run(async move { Ok(there.user(&claims)) }).await.unwrap_or_else(|status| Err(refused(&status)))
        }
        false => here.user(&claims),
    }?;
    let there = mapper.clone();
    match here.rules_take_long(&user) {
        true => threads.run(async move { Ok(there.check(user)) }).await.unwrap_or_else(|status| Err(refused(&status))),
        false => here.check(user),
    }
}

/// The issuers of a configuration.
pub struct Issuers(pub Vec<Issuer>);

impl Issuers {
    /// Whose token this is, by whoever issued it; none if none of these did.
    ///
    /// # Errors
    /// Why it is no good: nobody else is asked then (`tokenunion.NewFailOnError`).
    pub async fn authenticate(&self, token: &str) -> Result<Option<UserInfo>, String> {
        let Ok(named) = issuer_of(token) else { return Ok(None) };
        match self.0.iter().find(|issuer| issuer.url == named) {
            Some(issuer) => issuer.authenticate(token).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether tokens of all of them can be checked.
    ///
    /// # Errors
    /// Why not.
    pub fn health(&self) -> Result<(), String> {
        let problems = self.0.iter().filter_map(|issuer| issuer.health().err());
        aggregate_texts(problems).map_or(Ok(()), Err)
    }
}

impl Verifier {
    /// A verifier that asks the issuer for what it says of itself until it answers.
    pub(super) fn start(
        issuer: &str,
        discovery_url: &str,
        audiences: &[String],
        remote: Client,
        around: &Surroundings,
    ) -> Arc<Self> {
        let verifier = Arc::new(Self {
            issuer: issuer.into(),
            audiences: audiences.to_vec(),
            algorithms: around.algorithms.clone(),
            keys: OnceLock::new(),
            problem: Mutex::new(format!("oidc: authenticator for issuer {issuer:?} is not initialized")),
            task: OnceLock::new(),
        });
        let place = match discovery_url {
            "" => format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer)),
            url => url.to_string(),
        };
        let (weak, issuer, around) = (Arc::downgrade(&verifier), issuer.to_string(), around.clone());
        let task = tokio::spawn(async move {
            loop {
                let found = fetch::discover(&remote, &place, &issuer).await;
                let Some(verifier) = weak.upgrade() else { return };
                match found {
                    Ok(url) => {
                        let _ = verifier.keys.set(RemoteKeys::new(issuer.clone(), url, remote.clone(), around.clone()));
                        return;
                    }
                    Err(why) => {
                        tracing::error!(issuer, why, "an issuer of tokens cannot be asked who it is");
                        *verifier.problem.lock() = why;
                    }
                }
                drop(verifier);
                tokio::time::sleep(DISCOVERY_INTERVAL).await;
            }
        });
        let _ = verifier.task.set(task.abort_handle());
        verifier
    }

    /// Whether its keys can be had.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn health(&self) -> Result<(), String> {
        if self.keys.get().is_some() { Ok(()) } else { Err(self.problem.lock().clone()) }
    }

    /// The claims of a token that the issuer signed for one of the audiences, and that is good now (`Verify` of go-oidc).
    ///
    /// # Errors
    /// Why it is not.
    pub(super) async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, String> {
        let keys = self.keys.get().ok_or_else(|| format!("verifier not initialized for issuer: {:?}", self.issuer))?;
        let token = Compact::parse(token).map_err(|why| format!("oidc: malformed jwt: {why}"))?;
        let algorithm = token.algorithm();
        if !self.algorithms.iter().any(|allowed| allowed.name() == algorithm) {
            let allowed: Vec<String> = self.algorithms.iter().map(|allowed| format!("{:?}", allowed.name())).collect();
            let allowed = allowed.join(" ");
            return Err(format!(
                "oidc: id token signed with unsupported algorithm, expected [{allowed}] got {algorithm:?}"
            ));
        }
        keys.verify(&token, &self.algorithms).await.map_err(|why| format!("failed to verify signature: {why}"))?;
        let claims = token.claims().map_err(|error| format!("oidc: failed to unmarshal claims: {error}"))?;
        self.judge(&claims, now)?;
        Ok(claims)
    }

    fn judge(&self, claims: &Claims, now: Timestamp) -> Result<(), String> {
        let issuer = text(claims, "iss")?;
        text(claims, "sub")?;
        let found = audiences(claims)?;
        sources_exist(claims)?;
        if issuer != self.issuer && !(self.issuer == GOOGLE && issuer == GOOGLE_BARE) {
            let ours = &self.issuer;
            return Err(format!("oidc: id token issued by a different provider, expected {ours:?} got {issuer:?}"));
        }
        if !self.audiences.iter().any(|audience| found.contains(audience)) {
            return Err(match self.audiences.as_slice() {
                [one] => format!("oidc: expected audience {one:?} got {}", quoted(&found)),
                many => {
                    let mut many = many.to_vec();
                    many.sort();
                    format!("oidc: expected audience in {} got {}", quoted(&many), quoted(&found))
                }
            });
        }
        let expiry = time(claims, "exp")?;
        if expiry.is_none_or(|expiry| expiry < now) {
            let shown = expiry.map_or_else(|| NEVER.to_string(), shown);
            return Err(format!("oidc: token is expired (Token Expiry: {shown})"));
        }
        match time(claims, "nbf")? {
            Some(begin) if now + LEEWAY < begin => {
                let (now, begin) = (shown(now), shown(begin));
                Err(format!("oidc: current time {now} before the nbf (not before) time: {begin}"))
            }
            _ => Ok(()),
        }
    }
}

/// A list as Go's `%q` shows it.
fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

/// The issuer that a token names, which is not to be believed (`untrustedIssuer`).
pub(super) fn issuer_of(token: &str) -> Result<String, String> {
    if token.trim_start().starts_with('{') {
        return Err("token is not compact JWT".into());
    }
    let token = Compact::parse(token).map_err(|_| "malformed token".to_string())?;
    let failed = |why: String| format!("while unmarshaling token: {why}");
    let claims = token.claims().map_err(|error| failed(error.to_string()))?;
    let issuer = text(&claims, "iss").map_err(failed)?;
    Ok(if issuer == GOOGLE_BARE { GOOGLE.into() } else { issuer.to_string() })
}

/// A time as Go prints it.
fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

fn unreadable(claim: &str, value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let why = format!("json: cannot unmarshal {found} into Go struct field idToken.{claim} of type {wanted}");
    format!("oidc: failed to unmarshal claims: {why}")
}

fn text<'c>(claims: &'c Claims, claim: &str) -> Result<&'c str, String> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(unreadable(claim, other, "string")),
    }
}

fn audiences(claims: &Claims) -> Result<Vec<String>, String> {
    match claims.get("aud") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(many)) => {
            let text = |one: &Value| one.as_str().map(String::from).ok_or_else(|| unreadable("aud", one, "string"));
            many.iter().map(text).collect()
        }
        Some(other) => Err(unreadable("aud", other, "[]string")),
    }
}

/// A time in seconds, which may have a fraction that does not count.
fn time(claims: &Claims, claim: &str) -> Result<Option<Timestamp>, String> {
    let value = match claims.get(claim) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    let seconds = seconds.ok_or_else(|| unreadable(claim, value, "oidc.jsonTime"))?;
    Ok(Some(Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX })))
}

/// Whether every claim that is said to be elsewhere has a place.
fn sources_exist(claims: &Claims) -> Result<(), String> {
    let Some(names) = claims.get("_claim_names").and_then(Value::as_object) else { return Ok(()) };
    let sources = claims.get("_claim_sources");
    for source in names.values() {
        let name = source.as_str().unwrap_or_default();
        if name.is_empty() {
            return Err("oidc: failed to obtain source from claim name".into());
        }
        if sources.and_then(|sources| sources.get(name)).is_none() {
            return Err("oidc: source does not exist".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
