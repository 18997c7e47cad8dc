//! A certificate authority and what it is asked to sign.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};

use super::renewable::Validity;
use super::{AUTHORITY_DAYS, CertificateAndKey, CertificateError, LEAF_DAYS};

/// Certificates start a little in the past, for clients whose clock is behind.
const BACKDATE_SECONDS: u64 = 300;
const DAY_SECONDS: u64 = 86_400;

/// What a leaf certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Shown by a server.
    Server,
    /// Shown by a client.
    Client,
    /// Shown by the front proxy to whom it passes requests on. Another authority signs it, so that it is nobody's here.
    FrontProxy,
}

/// A leaf certificate to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The subject's common name: the user name.
    pub common_name: String,
    /// The subject's organization: a group.
    pub organization: Option<String>,
    /// What it is for.
    pub usage: Usage,
    /// DNS names it is valid for.
    pub names: Vec<String>,
    /// Addresses it is valid for.
    pub addresses: Vec<IpAddr>,
}

impl CertificateRequest {
    /// A client certificate.
    pub fn client(common_name: &str, organization: Option<&str>) -> Self {
        Self {
            common_name: common_name.into(),
            organization: organization.map(Into::into),
            usage: Usage::Client,
            names: Vec::new(),
            addresses: Vec::new(),
        }
    }

    /// The front proxy's client certificate.
    pub fn front_proxy(common_name: &str) -> Self {
        Self { usage: Usage::FrontProxy, ..Self::client(common_name, None) }
    }

    /// The API server's serving certificate: the names of its service, localhost, and what is given.
    pub fn apiserver(names: &[String], addresses: &[IpAddr]) -> Self {
        let of_service = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
        ];
        let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        Self {
            common_name: super::API_SERVER.into(),
            organization: None,
            usage: Usage::Server,
            names: unique(of_service.iter().map(|name| name.to_string()).chain(names.iter().cloned())),
            addresses: unique(loopback.into_iter().chain(addresses.iter().copied())),
        }
    }

    /// A node server's serving certificate.
    pub fn kubelet(node: &str, addresses: &[IpAddr]) -> Self {
        Self {
            common_name: format!("system:node:{node}"),
            organization: Some("system:nodes".into()),
            usage: Usage::Server,
            names: unique([node.to_string(), "localhost".to_string()]),
            addresses: unique([IpAddr::from([127, 0, 0, 1])].into_iter().chain(addresses.iter().copied())),
        }
    }
}

fn unique<T: PartialEq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

/// A key that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    key_pem: String,
    validity: Validity,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(…)")
    }
}

impl Authority {
    /// A new self-signed authority.
    ///
    /// # Errors
    /// [`CertificateError::Generation`].
    pub fn generate(common_name: &str, now: Timestamp) -> Result<Self, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(common_name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, AUTHORITY_DAYS);
        let certificate = params.self_signed(&key)?;
        let key_pem = key.serialize_pem();
        let validity = validity_of(certificate.der())?;
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem: certificate.pem(), key_pem, validity })
    }

    /// An authority from its PEMs.
    ///
    /// # Errors
    /// [`CertificateError::Generation`] if either does not parse, [`CertificateError::Pem`] if they are not a pair.
    pub fn from_pems(certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(key_pem)?;
        let der = super::tls::certificate_der(certificate_pem)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| CertificateError::Pem(format!("the certificate does not parse: {error}")))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(CertificateError::Pem("the key does not belong to the certificate".into()));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        let validity = validity_of(&der)?;
        Ok(Self { issuer, certificate_pem: certificate_pem.into(), key_pem: key_pem.into(), validity })
    }

    /// The authority's own certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    /// The authority's private key.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The raw public key, to compare with the issuer of a certificate.
    pub(super) fn public_key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// Signs a leaf certificate for a new key.
    ///
    /// # Errors
    /// [`CertificateError::Generation`], also for a name that no certificate can hold.
    pub fn issue(&self, request: &CertificateRequest, now: Timestamp) -> Result<CertificateAndKey, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&request.common_name, request.organization.as_deref());
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match request.usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client | Usage::FrontProxy => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        for name in &request.names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(request.addresses.iter().map(|address| SanType::IpAddress(*address)));
        set_validity(&mut params, now, LEAF_DAYS);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(CertificateAndKey { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn validity_of(der: &[u8]) -> Result<Validity, CertificateError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der)
        .map_err(|error| CertificateError::Pem(format!("the certificate does not parse: {error}")))?;
    Ok(Validity::of(&parsed))
}

/// A new private key and its public half, PEM.
pub(super) fn generate_key() -> Result<(String, String), CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn subject(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, days: u64) {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(seconds.saturating_sub(BACKDATE_SECONDS));
    params.not_after = epoch + Duration::from_secs(seconds + days * DAY_SECONDS);
}
