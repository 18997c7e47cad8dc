//! A leaf certificate that is renewed while it is in use.
//!
//! Whoever shows it asks it at each handshake, so that a new one is shown from then on, and connections that are open
//! go on.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::authority::CertificateRequest;
use super::{CertificateAndKey, CertificateError, tls};

/// A certificate with its key under a name, the newest there is.
pub struct Leaf {
    name: String,
    request: CertificateRequest,
    current: RwLock<Current>,
}

struct Current {
    pems: CertificateAndKey,
    shown: Arc<CertifiedKey>,
    validity: Validity,
}

/// From when to when a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    from: i64,
    until: i64,
}

impl Validity {
    pub(super) fn of(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() }
    }

    /// Whether it is valid and two thirds of its life are not over.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        let (life, age) = (self.until.saturating_sub(self.from), now.as_second().saturating_sub(self.from));
        age >= 0 && age < life / 3 * 2
    }

    pub(super) fn holds(&self, now: Timestamp) -> bool {
        (self.from..=self.until).contains(&now.as_second())
    }
}

impl Current {
    fn new(pems: CertificateAndKey) -> Result<Self, CertificateError> {
        let der = tls::certificate_der(&pems.certificate_pem)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| CertificateError::Pem(format!("the certificate does not parse: {error}")))?;
        let validity = Validity::of(&parsed);
        let shown = Arc::new(tls::certified_key(&pems)?);
        Ok(Self { pems, shown, validity })
    }
}

impl Leaf {
    pub(super) fn new(
        name: &str,
        request: CertificateRequest,
        pems: CertificateAndKey,
    ) -> Result<Arc<Self>, CertificateError> {
        let current = RwLock::new(Current::new(pems)?);
        Ok(Arc::new(Self { name: name.to_string(), request, current }))
    }

    /// The name under which it is kept.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn request(&self) -> &CertificateRequest {
        &self.request
    }

    /// The certificate and its key as they are now.
    pub fn current(&self) -> CertificateAndKey {
        self.current.read().pems.clone()
    }

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.current.read().validity.is_fresh(now)
    }

    pub(super) fn replace(&self, pems: CertificateAndKey) -> Result<(), CertificateError> {
        let newer = Current::new(pems)?;
        *self.current.write() = newer;
        Ok(())
    }

    pub(crate) fn shown(&self) -> Arc<CertifiedKey> {
        self.current.read().shown.clone()
    }
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leaf({})", self.name)
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }
}

impl ResolvesClientCert for Leaf {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
