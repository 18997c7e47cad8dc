//! Claims that a token says are kept elsewhere (OpenID Connect Core, section 5.6.2; `claimResolver`).

use std::collections::HashMap;
use std::sync::Arc;

use api::identity::claims::Claims;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use super::{Surroundings, Verifier, fetch, issuer_of};
use crate::outgoing::Client;

/// How many issuers may keep claims for one.
const ISSUERS_MAX: usize = 16;

/// Gets one claim from where a token says that it is.
pub(super) struct Resolver {
    claim: String,
    remote: Client,
    audiences: Vec<String>,
    around: Surroundings,
    verifiers: Mutex<HashMap<String, Arc<Verifier>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    #[serde(rename = "endpoint")]
    url: String,
    access_token: String,
}

impl Resolver {
    /// Resolves `claim`.
    pub(super) fn new(claim: &str, remote: Client, audiences: Vec<String>, around: Surroundings) -> Self {
        Self { claim: claim.into(), remote, audiences, around, verifiers: Mutex::default() }
    }

    /// Puts the claim among the others, if it is said to be elsewhere.
    ///
    /// # Errors
    /// If it cannot be had there.
    pub(super) async fn expand(&self, claims: &mut Claims) -> Result<(), String> {
        let Some(endpoint) = self.endpoint(claims)? else { return Ok(()) };
        let token = self.token(&endpoint).await?;
        let issuer = issuer_of(&token).map_err(|why| {
            format!("getting untrusted issuer from endpoint {} failed for claim {:?}: {why}", endpoint.url, self.claim)
        })?;
        let failed = |why| format!("verifying untrusted issuer {issuer} failed: {why}");
        let verifier = self.verifier(&issuer).map_err(failed)?;
        verifier.health().map_err(|_| failed(format!("verifier not initialized for issuer: {issuer:?}")))?;
        let found = verifier.verify(&token, self.around.clock.now()).await;
        let mut found = found.map_err(|why| format!("verify distributed claim token: {why}"))?;
        let value = found.remove(&self.claim).ok_or_else(|| {
            let (url, claim) = (&endpoint.url, &self.claim);
            format!("jwt returned by distributed claim endpoint {url:?} did not contain claim: {claim}")
        })?;
        claims.insert(self.claim.clone(), value);
        Ok(())
    }

    fn endpoint(&self, claims: &Claims) -> Result<Option<Endpoint>, String> {
        if claims.contains_key(&self.claim) {
            return Ok(None);
        }
        let Some(names) = claims.get("_claim_names") else { return Ok(None) };
        let names: HashMap<String, String> = serde_json::from_value(names.clone())
            .map_err(|error| format!("oidc: error parsing distributed claim names: {error}"))?;
        let sources = claims.get("_claim_sources").ok_or("oidc: no claim sources")?;
        let mut sources: HashMap<String, Value> = serde_json::from_value(sources.clone())
            .map_err(|error| format!("oidc: could not parse claim sources: {error}"))?;
        let Some(source) = names.get(&self.claim) else { return Ok(None) };
        let endpoint = sources
            .remove(source)
            .ok_or_else(|| format!("id token _claim_names contained a source {source} missing in _claims_sources"))?;
        let endpoint: Endpoint = serde_json::from_value(endpoint)
            .map_err(|error| format!("oidc: could not parse claim sources: {error}"))?;
        Ok(Some(endpoint).filter(|endpoint| !endpoint.url.is_empty()))
    }

    async fn token(&self, endpoint: &Endpoint) -> Result<String, String> {
        let failed = |why: String| format!("while getting distributed claim {:?}: {why}", self.claim);
        if !endpoint.url.starts_with("https://") {
            return Err(failed(format!("{:?} is not secured", endpoint.url)));
        }
        let mut headers = HeaderMap::new();
        if !endpoint.access_token.is_empty() {
            let value = HeaderValue::from_str(&format!("Bearer {}", endpoint.access_token));
            let mut value = value.map_err(|_| failed("an access token that no header can carry".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let document = fetch::document(&self.remote, &endpoint.url, &headers).await.map_err(failed)?;
        String::from_utf8(document.body.to_vec()).map_err(|_| "could not decode distributed claim response".into())
    }

    fn verifier(&self, issuer: &str) -> Result<Arc<Verifier>, String> {
        let mut verifiers = self.verifiers.lock();
        if let Some(verifier) = verifiers.get(issuer) {
            return Ok(verifier.clone());
        }
        if verifiers.len() >= ISSUERS_MAX {
            return Err(format!("claims are kept by more than {ISSUERS_MAX} issuers"));
        }
        if !issuer.starts_with("https://") {
            return Err("an issuer that is not secured".into());
        }
        let verifier = Verifier::start(issuer, "", &self.audiences, self.remote.clone(), &self.around);
        verifiers.insert(issuer.to_string(), verifier.clone());
        Ok(verifier)
    }
}
