//! Users whom a front proxy names in headers (`headerrequest` in apiserver's `authentication/request`): believed of a client
//! whose certificate an authority signed that signs for front proxies alone.

use std::sync::Arc;

use api::UserInfo;
use arc_swap::ArcSwap;
use futures::future::{BoxFuture, FutureExt, ready};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;

use super::x509::{VERDICT_LIFE, texts, verify_chain};
use crate::Registry;
use crate::certificates::{CertificateError, client_verifier};
use crate::plug::authentication::Judged;
use crate::plug::{Authenticator, Known, PeerCertificate};
use crate::request::query::{decode, is_escaped};

/// What the headers of every front proxy of Kubernetes begin with.
const STANDARD: &str = "x-remote-";
/// The standard names.
pub const USER: HeaderName = HeaderName::from_static("x-remote-user");
/// As [`USER`].
pub const UID: HeaderName = HeaderName::from_static("x-remote-uid");
/// As [`USER`].
pub const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
/// What stands before the key of an extra.
pub const EXTRA: &str = "x-remote-extra-";

/// The headers in which a user is named, as they are configured. Their case counts for nothing but being shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The first that has a value is the user's name.
    pub username: Vec<String>,
    /// The first that has a value is the user's uid.
    pub uid: Vec<String>,
    /// Every value of each is a group.
    pub group: Vec<String>,
    /// What follows one of these is the key of an extra.
    pub extra_prefix: Vec<String>,
}

impl Names {
    /// Those that Kubernetes' own front proxy writes.
    pub fn standard() -> Self {
        let one = |name: &str| vec![name.to_string()];
        Self {
            username: one("X-Remote-User"),
            uid: one("X-Remote-Uid"),
            group: one("X-Remote-Group"),
            extra_prefix: one("X-Remote-Extra-"),
        }
    }

    fn is_among(names: &[String], header: &HeaderName) -> bool {
        names.iter().any(|name| name.eq_ignore_ascii_case(header.as_str()))
    }

    /// Whether a header names something of a user: one of these, or a standard one.
    fn has(&self, header: &HeaderName) -> bool {
        let name = header.as_str();
        let standard = [USER, UID, GROUP].contains(header) || name.starts_with(EXTRA);
        let given = || [&self.username, &self.uid, &self.group].into_iter().any(|names| Self::is_among(names, header));
        standard || given() || self.extra_prefix.iter().any(|prefix| after(name, prefix).is_some())
    }
}

/// What follows a prefix, whatever the case of its letters.
fn after<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Takes them out of a request: nothing behind may believe that they come from this server.
pub(crate) fn clear(headers: &mut HeaderMap, configured: Option<&RequestHeaders>) {
    let standard = Names::default();
    let names = configured.map_or(&standard, |configured| &configured.names);
    let is_usual = configured.is_none_or(|configured| configured.are_standard);
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| (!is_usual || name.as_str().starts_with(STANDARD)) && names.has(name))
        .cloned()
        .collect();
    for name in found {
        headers.remove(name);
    }
}

/// Who may name users, and how.
pub struct RequestHeaders {
    names: Names,
    are_standard: bool,
    allowed: Vec<String>,
    authority: ArcSwap<Trusted>,
}

struct Trusted {
    pem: String,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Trusted {
    fn new(pem: String) -> Result<Arc<Self>, CertificateError> {
        let verifier = client_verifier(&pem)?;
        Ok(Arc::new(Self { pem, verifier }))
    }
}

impl RequestHeaders {
    /// Believes a client whose certificate one of these authorities signed for one of the `allowed` common names, or for any if
    /// there are none.
    ///
    /// # Errors
    /// If the authorities are no good.
    pub fn new(names: Names, allowed: Vec<String>, authorities_pem: String) -> Result<Self, CertificateError> {
        let are_standard = {
            let all = [&names.username, &names.uid, &names.group, &names.extra_prefix];
            all.into_iter().flatten().all(|name| after(name, STANDARD).is_some())
        };
        Ok(Self { names, are_standard, allowed, authority: ArcSwap::new(Trusted::new(authorities_pem)?) })
    }

    /// The headers.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The common names; any if there are none.
    pub fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// The authorities.
    pub fn authorities_pem(&self) -> String {
        self.authority.load().pem.clone()
    }

    /// Believes others from now on. Whether they are others.
    ///
    /// # Errors
    /// If they are no good: those of before stay.
    pub fn set_authorities(&self, pem: String) -> Result<bool, CertificateError> {
        if self.authority.load().pem == pem {
            return Ok(false);
        }
        self.authority.store(Trusted::new(pem)?);
        Ok(true)
    }

    fn user(&self, parts: &Parts, now: Timestamp) -> Result<Option<Arc<UserInfo>>, String> {
        // Most requests name nobody, and need no look at their certificate.
        let Some(name) = first(&parts.headers, &self.names.username)? else { return Ok(None) };
        let Some(peer) = parts.extensions.get::<PeerCertificate>() else { return Ok(None) };
        peer.verdict_as_proxy(now, |chain| self.judge(chain, now))?;
        let mut groups = Vec::new();
        for header in &self.names.group {
            let values = parts.headers.get_all(header.as_str()).iter().filter(|value| !value.is_empty());
            for value in values {
                groups.push(text(header, value)?);
            }
        }
        let mut user = UserInfo::new(name, &groups);
        user.uid = first(&parts.headers, &self.names.uid)?.unwrap_or_default().to_string();
        for prefix in &self.names.extra_prefix {
            for (header, value) in &parts.headers {
                let Some(key) = after(header.as_str(), prefix) else { continue };
                user.extra.entry(unescape(key)).or_default().push(text(header.as_str(), value)?.to_string());
            }
        }
        Ok(Some(Arc::new(user)))
    }

    fn judge(&self, chain: &[CertificateDer<'static>], now: Timestamp) -> Judged {
        let mut until = now + VERDICT_LIFE;
        let verdict = self.check(chain, now).map(|ends| {
            until = until.min(ends);
            None
        });
        Judged { verdict, from: now, until, ends: None }
    }

    /// When a certificate ends that is good (`Verifier.AuthenticateRequest`).
    fn check(&self, chain: &[CertificateDer<'static>], now: Timestamp) -> Result<Timestamp, String> {
        let leaf = verify_chain(&*self.authority.load().verifier, chain, now)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(leaf).map_err(|error| error.to_string())?;
        let name = texts(certificate.subject().iter_common_name())?.pop().unwrap_or_default();
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == name) {
            return Err(format!("x509: subject with cn={name} is not in the allowed list"));
        }
        let ends = certificate.validity().not_after.timestamp();
        Ok(Timestamp::from_second(ends).unwrap_or(Timestamp::MIN))
    }
}

impl Authenticator for RequestHeaders {
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        registry: &'a Registry,
    ) -> BoxFuture<'a, Result<Option<Known>, String>> {
        let user = self.user(request, registry.clock().now());
        ready(user.map(|user| user.map(Known::from))).boxed()
    }
}

/// The first value of the first header that has one.
fn first<'h>(headers: &'h HeaderMap, names: &[String]) -> Result<Option<&'h str>, String> {
    for name in names {
        if let Some(value) = headers.get(name.as_str()).filter(|value| !value.is_empty()) {
            return text(name, value).map(Some);
        }
    }
    Ok(None)
}

/// A value as text: one that is none makes another user of who is named, so that nobody is.
fn text<'v>(name: &str, value: &'v HeaderValue) -> Result<&'v str, String> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| format!("the header {name:?} is not UTF-8"))
}

/// The key of an extra, percent-encoded as header names hold few characters; one that is encoded badly is taken as it stands
/// (`unescapeExtraKey`).
fn unescape(key: &str) -> String {
    if is_escaped(key) { decode(key, false).into_owned() } else { key.to_string() }
}

#[cfg(test)]
mod tests;
