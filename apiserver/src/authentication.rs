//! Who asks: client certificates, bearer tokens from a file, service account tokens, and nobody.
//!
//! The order is the reference's: a good client certificate wins over a token. Credentials that are no good are an error
//! unless others beside them are good, and only a request without any is `system:anonymous`.

pub(crate) mod bearer;
pub mod impersonation;
pub mod jwt;
pub mod request_header;
pub mod review;
pub mod secret_token;
pub mod service_account;
pub mod token_file;
pub mod token_request;
pub mod x509;

use std::sync::Arc;

use api::UserInfo;
use futures::future::{BoxFuture, FutureExt, ready};

use crate::plug::Authenticator;
pub use crate::plug::PeerCertificate;
use crate::{Registry, registry};
pub use jwt::SigningKey;
pub use secret_token::SecretClaims;
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
}

impl Authentication {
    /// Client certificates, service account tokens, and the tokens of a file.
    pub fn new(
        certificates: ClientCertificates,
        service_accounts: Arc<ServiceAccountTokens>,
        token_file: Option<TokenFile>,
    ) -> Self {
        Self { certificates, token_file, service_accounts }
    }

    /// Who a bearer token belongs to.
    ///
    /// # Errors
    /// Why the token is no good; [`INVALID_TOKEN`] where nobody knows it.
    pub fn token_user(&self, token: &str, registry: &Registry) -> Result<Arc<UserInfo>, String> {
        if let Some(user) = self.token_file.as_ref().and_then(|file| file.user(token)) {
            return Ok(user);
        }
        self.service_accounts.authenticate(token, &registry.snapshot(), registry.clock().now())
    }

    /// Whose token this is, with those of `audiences` (of this server's, if there are none) that it is for.
    ///
    /// # Errors
    /// Why the token is no good for them.
    pub fn review(
        &self,
        token: &str,
        audiences: &[String],
        registry: &Registry,
    ) -> Result<(Arc<UserInfo>, Vec<String>), String> {
        let Some(user) = self.token_file.as_ref().and_then(|file| file.user(token)) else {
            return self.service_accounts.review(token, audiences, &registry.snapshot(), registry.clock().now());
        };
        // A token from a file is for this server, whatever its audiences are.
        let ours = self.service_accounts.audiences();
        let shared: Vec<String> = match audiences {
            [] => ours.to_vec(),
            wanted => wanted.iter().filter(|audience| ours.contains(audience)).cloned().collect(),
        };
        if shared.is_empty() { Err(INVALID_TOKEN.into()) } else { Ok((user, shared)) }
    }

    /// Who asks, by the first credentials that are good; none if there are no credentials (`union.AuthenticateRequest`).
    fn identify(&self, request: &http::request::Parts, registry: &Registry) -> Result<Option<Arc<UserInfo>>, String> {
        let mut faults = Vec::new();
        if let Some(peer) = request.extensions.get::<PeerCertificate>() {
            match self.certificates.user(peer, registry.clock().now()) {
                Ok(None) => {}
                Ok(user) => return Ok(user),
                Err(fault) => faults.push(fault),
            }
        }
        for token in [bearer::of_header(&request.headers), bearer::of_websocket(&request.headers)] {
            match token.and_then(|token| token.map(|token| self.token_user(&token, registry)).transpose()) {
                Ok(None) => {}
                Ok(user) => return Ok(user),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(None) } else { Err(faults.join(", ")) }
    }
}

impl Authenticator for Authentication {
    fn authenticate<'a>(
        &'a self,
        request: &'a http::request::Parts,
        registry: &'a Registry,
    ) -> BoxFuture<'a, Result<Option<Arc<UserInfo>>, String>> {
        ready(self.identify(request, registry)).boxed()
    }
}

/// Who asks without credentials.
pub fn anonymous() -> Arc<UserInfo> {
    Arc::new(UserInfo {
        username: "system:anonymous".into(),
        groups: vec!["system:unauthenticated".into()],
        ..UserInfo::default()
    })
}

/// What is stored of an object that a token is bound to: its uid and when it began to be deleted.
fn identity_of(entry: &store::Entry) -> Option<(String, Option<jiff::Timestamp>)> {
    let object = registry::read(entry)?;
    let deleted = object.str_at(&["metadata", "deletionTimestamp"]).parse().ok();
    Some((object.uid().to_string(), deleted))
}

#[cfg(test)]
mod tests;
