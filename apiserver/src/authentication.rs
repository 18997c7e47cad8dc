//! Who asks: client certificates, bearer tokens of many sorts, and nobody.
//!
//! The order is the reference's: a good client certificate wins over a token, and what this server can tell by itself over what
//! others are asked for. Credentials that are no good are an error unless others beside them are good, and only a request
//! without any is `system:anonymous`.

pub mod anonymous;
pub(crate) mod bearer;
pub mod bootstrap_token;
pub mod client_ca;
pub mod configured;
pub mod impersonation;
pub mod jose;
pub mod jwt;
pub mod oidc;
pub mod options;
pub mod outside;
pub mod request_header;
pub mod review;
pub mod secret_token;
pub mod secret_use;
pub mod service_account;
pub mod token_file;
pub mod token_request;
pub mod token_webhook;
pub mod x509;

use std::sync::Arc;
use std::time::Instant;

use api::UserInfo;
use api::identity::aggregate_texts;
use futures::future::{BoxFuture, FutureExt, ready};

pub use crate::plug::PeerCertificate;
use crate::plug::{Authenticator, Known};
use crate::{Registry, registry};
pub use anonymous::{Anonymous, anonymous};
pub use jwt::SigningKey;
pub use outside::Outside;
pub use secret_token::SecretClaims;
pub use secret_use::SecretUses;
pub use service_account::ServiceAccountTokens;
pub use token_file::{TokenFile, TokenFileError};
pub use x509::ClientCertificates;

/// What a bearer token that nobody knows is answered with.
pub const INVALID_TOKEN: &str = "invalid bearer token";

/// Every way in, asked in order.
pub struct Authentication {
    certificates: ClientCertificates,
    token_file: Option<TokenFile>,
    service_accounts: Arc<ServiceAccountTokens>,
    bootstrap_tokens: bool,
    outside: Option<Outside>,
}

/// A user, and the audiences that a token is for.
type Owner = (Known, Vec<String>);

/// What is known of credentials without asking anybody else.
enum AtOnce {
    /// Who asks; none if there are no credentials.
    Known(Option<Known>),
    /// What is wrong with those that were looked at, and the tokens that others may know.
    Unknown(Vec<String>, Vec<String>),
}

impl Authentication {
    /// Client certificates, service account tokens, and the tokens of a file.
    pub fn new(
        certificates: ClientCertificates,
        service_accounts: Arc<ServiceAccountTokens>,
        token_file: Option<TokenFile>,
    ) -> Self {
        Self { certificates, token_file, service_accounts, bootstrap_tokens: false, outside: None }
    }

    /// The same with the tokens that machines join with.
    pub fn with_bootstrap_tokens(self) -> Self {
        Self { bootstrap_tokens: true, ..self }
    }

    /// The same with those who know other tokens.
    pub fn with_outside(self, outside: Outside) -> Self {
        Self { outside: Some(outside), ..self }
    }

    /// Who a bearer token belongs to that this server knows by itself; none if it knows it not.
    ///
    /// # Errors
    /// Why the token is no good.
    fn own_user(&self, token: &str, registry: &Registry) -> Result<Option<Known>, String> {
        let clock = registry.clock();
        let now = (clock.now(), clock.instant());
        let file = self.token_file.as_ref().and_then(|file| file.user(token));
        let (mut found, mut remembered) = (Ok(file.map(Known::from)), false);
        if matches!(found, Ok(None)) {
            found = match self.service_accounts.authenticate(token, &registry.snapshot(), now) {
                Ok((known, is_remembered)) => {
                    remembered = is_remembered;
                    Ok(Some(known))
                }
                Err(fault) => match self.bootstrap_user(token, registry) {
                    None if fault != INVALID_TOKEN => Err(fault),
                    user => Ok(user.map(Known::from)),
                },
            };
        }
        self.looked_up(remembered, found.is_ok(), matches!(found, Ok(Some(_))), now.1, registry);
        found
    }

    /// Counts that a token was looked for, if nobody else is asked about it, who would count that.
    fn looked_up(&self, remembered: bool, is_good: bool, is_known: bool, started: Instant, registry: &Registry) {
        if self.outside.is_some() && !is_known {
            return;
        }
        let counts = self.service_accounts.counts();
        counts.looked_up(remembered, registry.clock().instant().saturating_duration_since(started));
        if !remembered {
            counts.checked(is_good);
        }
    }

    fn bootstrap_user(&self, token: &str, registry: &Registry) -> Option<Arc<UserInfo>> {
        let now = registry.clock().now();
        let user = self.bootstrap_tokens.then(|| bootstrap_token::user(token, &registry.snapshot(), now));
        user.flatten().map(Arc::new)
    }

    /// Whose token this is, with those of `audiences` (of this server's, if there are none) that it is for.
    ///
    /// # Errors
    /// Why the token is no good for them.
    pub async fn review(&self, token: &str, audiences: &[String], registry: &Registry) -> Result<Owner, String> {
        let started = registry.clock().instant();
        let ours = self.service_accounts.audiences();
        let wanted = if audiences.is_empty() { ours } else { audiences };
        let (own, remembered) = self.review_here(token, audiences, wanted, registry);
        self.looked_up(remembered, own.is_ok(), own.is_ok(), started, registry);
        let fault = match own {
            Ok(owner) => return Ok(owner),
            Err(fault) => fault,
        };
        // The reference asks for its own token first, which it says of every other (`AuthorizeClientBearerToken`).
        let mut faults = vec![INVALID_TOKEN.to_string(), fault];
        if let Some(outside) = &self.outside {
            match outside.owner(token, wanted).await {
                Ok(Some((user, audiences))) => return Ok((user.into(), audiences)),
                Ok(None) => {}
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        Err(aggregate_texts(faults).unwrap_or_else(|| INVALID_TOKEN.into()))
    }

    /// The same as far as this server knows by itself, and whether the token was remembered.
    fn review_here(
        &self,
        token: &str,
        audiences: &[String],
        wanted: &[String],
        registry: &Registry,
    ) -> (Result<Owner, String>, bool) {
        let ours = self.service_accounts.audiences();
        // A token from a file, or one to join with, is for this server, whatever its audiences are.
        let shared: Vec<String> = wanted.iter().filter(|audience| ours.contains(audience)).cloned().collect();
        let file = self.token_file.as_ref().and_then(|file| file.user(token));
        if let Some(user) = file.filter(|_| !shared.is_empty()) {
            return (Ok((user.into(), shared)), false);
        }
        let now = (registry.clock().now(), registry.clock().instant());
        match self.service_accounts.review(token, audiences, &registry.snapshot(), now) {
            Ok((known, shared, remembered)) => (Ok((known, shared)), remembered),
            Err(fault) => match self.bootstrap_user(token, registry).filter(|_| !shared.is_empty()) {
                Some(user) => (Ok((user.into(), shared)), false),
                None => (Err(fault), false),
            },
        }
    }

    /// Who asks, by the first credentials that are good (`union.AuthenticateRequest`), as far as that is known here.
    fn at_once(&self, request: &http::request::Parts, registry: &Registry) -> AtOnce {
        let (mut faults, mut unknown) = (Vec::new(), Vec::new());
        if let Some(peer) = request.extensions.get::<PeerCertificate>() {
            match self.certificates.user(peer, registry.clock().now()) {
                Ok(None) => {}
                Ok(user) => return AtOnce::Known(user.map(Known::from)),
                Err(fault) => faults.push(fault),
            }
        }
        for token in [bearer::of_header(&request.headers), bearer::of_websocket(&request.headers)] {
            let token = match token {
                Ok(Some(token)) => token,
                Ok(None) => continue,
                Err(fault) => {
                    faults.push(fault);
                    continue;
                }
            };
            match self.own_user(&token, registry) {
                Ok(Some(user)) => return AtOnce::Known(Some(user)),
                Ok(None) if self.outside.is_none() => faults.push(INVALID_TOKEN.into()),
                Ok(None) => unknown.push(token),
                Err(fault) => {
                    faults.push(fault);
                    unknown.extend(self.outside.is_some().then_some(token));
                }
            }
        }
        if faults.is_empty() && unknown.is_empty() { AtOnce::Known(None) } else { AtOnce::Unknown(faults, unknown) }
    }

    /// Asks others whose tokens these are.
    async fn ask(&self, mut faults: Vec<String>, tokens: Vec<String>) -> Result<Option<Known>, String> {
        if let Some(outside) = &self.outside {
            for token in tokens {
                match outside.owner(&token, self.service_accounts.audiences()).await {
                    Ok(Some((user, _))) => return Ok(Some(user.into())),
                    Ok(None) => faults.push(INVALID_TOKEN.into()),
                    Err(fault) => faults.push(fault.to_string()),
                }
            }
        }
        Err(aggregate_texts(faults).unwrap_or_else(|| INVALID_TOKEN.into()))
    }
}

impl Authenticator for Authentication {
    fn authenticate<'a>(
        &'a self,
        request: &'a http::request::Parts,
        registry: &'a Registry,
    ) -> BoxFuture<'a, Result<Option<Known>, String>> {
        match self.at_once(request, registry) {
            AtOnce::Known(user) => ready(Ok(user)).boxed(),
            AtOnce::Unknown(faults, tokens) => self.ask(faults, tokens).boxed(),
        }
    }
}

/// What is stored of an object that a token is bound to: its uid and when it began to be deleted.
fn identity_of(entry: &store::Entry) -> Option<(String, Option<jiff::Timestamp>)> {
    let object = registry::read(entry)?;
    let deleted = object.str_at(&["metadata", "deletionTimestamp"]).parse().ok();
    Some((object.uid().to_string(), deleted))
}

#[cfg(test)]
mod tests;
