//! Client certificates: `CN` is the user's name, every `O` a group (`CommonNameUserConversion` in apiserver's
//! `authentication/request/x509`).
//!
//! TLS proves that a client holds the key of the certificate that it shows and judges nothing else, so that a bad one is
//! an answer and not a broken connection, and a good token beside it counts.

use std::fmt::Write;
use std::sync::Arc;

use api::UserInfo;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use x509_parser::oid_registry::{Oid, asn1_rs::oid};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::client_ca::ClientAuthorities;
use crate::certificates::KUBELET_CLIENT;
use crate::metrics::chain::Lifetimes;
use crate::plug::PeerCertificate;
use crate::plug::authentication::{Judged, Verdict};

/// How long a verdict holds at most: intermediate certificates end too, and clocks are set.
pub(super) const VERDICT_LIFE: SignedDuration = SignedDuration::from_secs(10);
/// How many certificates beside the client's own are looked at.
const INTERMEDIATES_MAX: usize = 16;
/// The part of a subject that is a user's uid (`X509UID` in apimachinery).
const UID: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);

/// Judges client certificates.
#[derive(Debug)]
pub struct ClientCertificates {
    verifier: Arc<dyn ClientCertVerifier>,
    others: Option<Arc<ClientAuthorities>>,
    lifetimes: Arc<Lifetimes>,
}

impl ClientCertificates {
    /// Those that `verifier` finds good.
    pub fn new(verifier: Arc<dyn ClientCertVerifier>) -> Self {
        Self { verifier, others: None, lifetimes: Arc::default() }
    }

    /// The same with those that other authorities issued.
    pub fn and_of(self, others: Arc<ClientAuthorities>) -> Self {
        Self { others: Some(others), ..self }
    }

    /// The user of a certificate; none if it names nobody.
    ///
    /// # Errors
    /// Why the certificate is no good.
    pub(super) fn user(&self, peer: &PeerCertificate, now: Timestamp) -> Verdict {
        let (verdict, ends) = peer.verdict(now, |chain| self.judge(chain, now));
        if let Some(ends) = ends {
            self.lifetimes.left(ends.duration_since(now));
        }
        verdict
    }

    /// What is counted of them.
    pub fn lifetimes(&self) -> Arc<Lifetimes> {
        self.lifetimes.clone()
    }

    fn judge(&self, chain: &[CertificateDer<'static>], now: Timestamp) -> Judged {
        let until = now + VERDICT_LIFE;
        match self.verify(chain, now) {
            Ok((user, ends)) => Judged { verdict: Ok(user), from: now, until: until.min(ends), ends: Some(ends) },
            Err(why) => Judged { verdict: Err(why), from: now, until, ends: None },
        }
    }

    fn verify(
        &self,
        chain: &[CertificateDer<'static>],
        now: Timestamp,
    ) -> Result<(Option<Arc<UserInfo>>, Timestamp), String> {
        let own = verify_chain(&*self.verifier, chain, now);
        let leaf = match (own, &self.others) {
            (Err(why), Some(others)) => verify_chain(&*others.verifier(), chain, now).map_err(|_| why)?,
            (own, _) => own?,
        };
        subject_user(leaf)
    }
}

/// The client's own certificate of a chain that is good now.
///
/// # Errors
/// Why it is not.
pub(super) fn verify_chain<'c>(
    verifier: &dyn ClientCertVerifier,
    chain: &'c [CertificateDer<'static>],
    now: Timestamp,
) -> Result<&'c CertificateDer<'static>, String> {
    let (leaf, intermediates) = chain.split_first().ok_or("there is no certificate")?;
    if intermediates.len() > INTERMEDIATES_MAX {
        return Err(format!("there are more than {INTERMEDIATES_MAX} intermediate certificates"));
    }
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    verifier
        .verify_client_cert(leaf, intermediates, now)
        .map_err(|error| format!("verifying a client certificate failed: {error}"))?;
    Ok(leaf)
}

/// The user in a certificate that is good, and when it ends.
pub(super) fn subject_user(der: &[u8]) -> Result<(Option<Arc<UserInfo>>, Timestamp), String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|error| error.to_string())?;
    let ends = Timestamp::from_second(certificate.validity().not_after.timestamp()).unwrap_or(Timestamp::MIN);
    let subject = certificate.subject();
    let name = texts(subject.iter_common_name())?.pop().filter(|name| !name.is_empty());
    let Some(name) = name else { return Ok((None, ends)) };
    if name == KUBELET_CLIENT {
        // It is shown to whatever stands behind a node's address, which could be this server.
        return Err(format!("the certificate of {KUBELET_CLIENT} is for node servers only"));
    }
    let groups = texts(subject.iter_organization())?;
    let mut user = UserInfo::new(name, &groups);
    user.uid = uid(subject)?;
    let mut id = String::from("X509SHA256=");
    for byte in Sha256::digest(der) {
        write!(id, "{byte:02x}").expect("a String takes every write");
    }
    user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![id]);
    Ok((Some(Arc::new(user)), ends))
}

/// The attributes as text. One that is none makes the whole certificate no good: a name or group that is passed over would make
/// another user of its holder.
pub(super) fn texts<'a>(
    attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Result<Vec<&'a str>, String> {
    let unreadable = |_| "a part of the certificate's subject is no text".to_string();
    attributes.map(|attribute| attribute.as_str().map_err(unreadable)).collect()
}

fn uid(subject: &X509Name<'_>) -> Result<String, String> {
    match texts(subject.iter_by_oid(&UID))?[..] {
        [] => Ok(String::new()),
        [""] => Err("UID cannot be an empty string".into()),
        [uid] => Ok(uid.into()),
        ref many => Err(format!("expected 1 UID, but found multiple: {many:?}")),
    }
}
