//! Who asks: client certificates, bearer tokens from a file, service account tokens, and nobody.
//!
//! The order is the reference's: a verified client certificate wins over a token; a token that nobody knows is an error, and
//! only a request without any credentials is `system:anonymous`.

pub mod impersonation;
pub mod jwt;
pub mod review;
pub mod secret_token;
pub mod service_account;
pub mod token_file;
pub mod token_request;
mod x509;

use std::sync::Arc;

use api::UserInfo;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::{BoxFuture, FutureExt, ready};

use crate::plug::Authenticator;
pub use crate::plug::PeerCertificate;
use crate::{Registry, registry};
pub use jwt::SigningKey;
pub use secret_token::SecretClaims;
pub use service_account::ServiceAccountTokens;
pub use token_file::{TokenFile, TokenFileError};

/// What a bearer token that nobody knows is answered with.
pub const INVALID_TOKEN: &str = "invalid bearer token";
/// The subprotocol by which browsers hand over a token on a WebSocket.
pub(crate) const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// Every way in, asked in order.
pub struct Authentication {
    token_file: Option<TokenFile>,
    service_accounts: Arc<ServiceAccountTokens>,
}

impl Authentication {
    /// Client certificates, service account tokens, and the tokens of a file.
    pub fn new(service_accounts: Arc<ServiceAccountTokens>, token_file: Option<TokenFile>) -> Self {
        Self { token_file, service_accounts }
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

    fn identify(&self, request: &http::request::Parts, registry: &Registry) -> Result<Arc<UserInfo>, String> {
        if let Some(peer) = request.extensions.get::<PeerCertificate>()
            && let Some(user) = peer.user(x509::user)
        {
            return Ok(user);
        }
        if let Some(token) = bearer_token(&request.headers) {
            return self.token_user(&token, registry);
        }
        Ok(anonymous())
    }
}

impl Authenticator for Authentication {
    fn authenticate<'a>(
        &'a self,
        request: &'a http::request::Parts,
        registry: &'a Registry,
    ) -> BoxFuture<'a, Result<Option<Arc<UserInfo>>, String>> {
        ready(self.identify(request, registry).map(Some)).boxed()
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

/// The token of `Authorization: Bearer …`, or of the WebSocket subprotocol made for it.
fn bearer_token(headers: &http::HeaderMap) -> Option<String> {
    if let Some(header) = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let (scheme, token) = header.trim().split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_string());
    }
    let protocols = headers.get_all("sec-websocket-protocol").iter().filter_map(|value| value.to_str().ok());
    let encoded = protocols
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(WEBSOCKET_TOKEN))?;
    let token = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
    String::from_utf8(token).ok().filter(|token| !token.is_empty())
}

/// What is stored of an object that a token is bound to: its uid and when it began to be deleted.
fn identity_of(entry: &store::Entry) -> Option<(String, Option<jiff::Timestamp>)> {
    let object = registry::read(entry)?;
    let deleted = object.str_at(&["metadata", "deletionTimestamp"]).parse().ok();
    Some((object.uid().to_string(), deleted))
}

#[cfg(test)]
mod tests;
