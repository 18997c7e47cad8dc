//! Who asks.

use std::sync::Arc;

use api::UserInfo;
use futures::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;

use crate::Registry;

/// Finds out who sent a request, from its headers or from a [`PeerCertificate`] among its extensions.
pub trait Authenticator: Send + Sync {
    /// The user; none if this authenticator sees no credentials of its sort; an error if it sees some that are bad
    /// (the next one is asked all the same, and the errors are told to nobody but the log).
    fn authenticate<'a>(
        &'a self,
        request: &'a http::request::Parts,
        registry: &'a Registry,
    ) -> BoxFuture<'a, Result<Option<Known>, String>>;
}

/// Somebody whose credentials are good.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who it is.
    pub user: Arc<UserInfo>,
    /// Warnings and annotations about the credentials.
    pub notes: Option<Arc<Notes>>,
}

impl From<Arc<UserInfo>> for Known {
    fn from(user: Arc<UserInfo>) -> Self {
        Self { user, notes: None }
    }
}

/// Warnings and annotations about credentials that are good.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Warnings for the client.
    pub warnings: Vec<String>,
    /// Names and texts for the audit log.
    pub annotations: Vec<(String, String)>,
}

/// The user of a certificate, none if it names nobody; or why it is no good.
pub type Verdict = Result<Option<Arc<UserInfo>>, String>;

/// A verdict on a certificate, and the time for which it holds.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What it is.
    pub verdict: Verdict,
    /// It does not hold before.
    pub from: Timestamp,
    /// Nor after.
    pub until: Timestamp,
    /// When the certificate ends, if it is good.
    pub ends: Option<Timestamp>,
}

/// The certificates that a client has shown on a TLS connection, its own first: an extension of every request on it. That
/// the client holds the key is proved; whether they are any good is for an authenticator to say.
#[derive(Clone)]
pub struct PeerCertificate(Arc<Peer>);

struct Peer {
    chain: Vec<CertificateDer<'static>>,
    judged: Mutex<Option<Judged>>,
    judged_as_proxy: Mutex<Option<Judged>>,
}

impl PeerCertificate {
    /// The certificates as the client sent them.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self(Arc::new(Peer { chain, judged: Mutex::default(), judged_as_proxy: Mutex::default() }))
    }

    /// The client's own certificate.
    pub fn own(&self) -> Option<&CertificateDer<'static>> {
        self.0.chain.first()
    }

    /// The verdict on them at a time, and when they end: the last one as long as it holds, else the one of `judge`.
    pub fn verdict(
        &self,
        now: Timestamp,
        judge: impl FnOnce(&[CertificateDer<'static>]) -> Judged,
    ) -> (Verdict, Option<Timestamp>) {
        Self::verdict_in(&mut self.0.judged.lock(), now, || judge(&self.0.chain))
    }

    /// The verdict on them as those of a front proxy, which other authorities sign; none names a user.
    pub fn verdict_as_proxy(
        &self,
        now: Timestamp,
        judge: impl FnOnce(&[CertificateDer<'static>]) -> Judged,
    ) -> Verdict {
        Self::verdict_in(&mut self.0.judged_as_proxy.lock(), now, || judge(&self.0.chain)).0
    }

    fn verdict_in(
        judged: &mut Option<Judged>,
        now: Timestamp,
        judge: impl FnOnce() -> Judged,
    ) -> (Verdict, Option<Timestamp>) {
        if let Some(judged) = judged.as_ref()
            && (judged.from..=judged.until).contains(&now)
        {
            return (judged.verdict.clone(), judged.ends);
        }
        let judged = judged.insert(judge());
        (judged.verdict.clone(), judged.ends)
    }
}
