//! Whom the server trusts to be who it connects to, and what it shows them.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::certificates::bundle;
use crate::proxy::Unverified;

const UNKNOWN_AUTHORITY: &str = "certificate signed by unknown authority";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
const ECDSA_SHA512: &str = "1.2.840.10045.4.3.4";
const ED25519: &str = "1.3.101.112";
const UNPARSABLE: &str = "unable to load root certificates: unable to parse bytes as PEM block";

/// Whom to trust.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trust<'a> {
    /// Whose certificate is from one of these authorities (PEM), or from one of the system's if there are none.
    Authorities(&'a [u8]),
    /// Anybody.
    Anybody,
}

/// How TLS is spoken with whom is trusted, who is shown a certificate if there is one to show, and what is spoken within it.
///
/// # Errors
/// If there is no certificate among the authorities.
pub(crate) fn tls_config(
    trust: Trust<'_>,
    shown: Option<Arc<dyn ResolvesClientCert>>,
    protocols: &[&str],
) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Authorities(bundle) => Arc::new(Verifier::new(bundle, provider.clone())?),
        Trust::Anybody => Arc::new(Unverified(provider.clone())),
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(shown),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
}

/// What is shown of a chain of certificates and its key (PEM).
///
/// # Errors
/// What is wrong with them.
pub(crate) fn shown(chain: &[u8], key: &[u8]) -> Result<Arc<dyn ResolvesClientCert>, String> {
    let (chain, key) = bundle::pair(chain, key)?;
    let provider = rustls::crypto::ring::default_provider();
    let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|error| error.to_string())?;
    Ok(Arc::new(SingleCertAndKey::from(pair)))
}

impl Verifier {
    fn new(bundle: &[u8], provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let trusted = if bundle.is_empty() {
            bundle::system_authorities()
        } else {
            let found: Vec<_> = CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).collect();
            if found.is_empty() {
                return Err(UNPARSABLE.into());
            }
            found
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let of_chains = if roots.is_empty() {
            None
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            Some(verifier.map_err(|error| error.to_string())?)
        };
        Ok(Self { of_chains, trusted, provider })
    }
}

/// Judges as Go does: also a certificate that is trusted itself, and says why in its words.
#[derive(Debug)]
struct Verifier {
    /// None if nobody is trusted to sign.
    of_chains: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // What is signed by itself is mostly an authority too, and as such refused by the other verifier.
        let judged = if self.trusted.iter().any(|trusted| trusted == certificate) {
            itself(certificate, name, now)
        } else {
            match &self.of_chains {
                Some(chains) => chains.verify_server_cert(certificate, intermediates, name, ocsp, now),
                None => Err(CertificateError::UnknownIssuer.into()),
            }
        };
        judged.map_err(|error| match error {
            Error::InvalidCertificate(why) => {
                let why = told(&why, certificate, name, now, &self.trusted);
                Error::General(format!("tls: failed to verify certificate: x509: {why}"))
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Judges a certificate that is trusted as it is: it must be for the name, for now, and for servers.
fn itself(certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<ServerCertVerified, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if seconds > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if seconds < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.any && !usage.value.server_auth) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    let own = ParsedCertificate::try_from(certificate)?;
    rustls::client::verify_server_name(&own, name)?;
    Ok(ServerCertVerified::assertion())
}

/// What Go says of a certificate that is no good.
fn told(
    why: &CertificateError,
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
    trusted: &[CertificateDer<'_>],
) -> String {
    let parsed = X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed);
    match (why, parsed) {
        (CertificateError::BadSignature, Some(parsed)) => other_authority(&parsed, trusted),
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, _) => UNKNOWN_AUTHORITY.into(),
        (CertificateError::Expired | CertificateError::ExpiredContext { .. }, Some(parsed)) => {
            let until = parsed.validity().not_after.timestamp();
            format!(
                "certificate has expired or is not yet valid: current time {} is after {}",
                seconds(now),
                time(until)
            )
        }
        (CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }, Some(parsed)) => {
            let from = parsed.validity().not_before.timestamp();
            format!(
                "certificate has expired or is not yet valid: current time {} is before {}",
                seconds(now),
                time(from)
            )
        }
        (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }, Some(parsed)) => {
            other_name(&parsed, &name.to_str())
        }
        (CertificateError::InvalidPurpose, _) => "certificate specifies an incompatible key usage".into(),
        (other, _) => other.to_string(),
    }
}

/// `UnknownAuthorityError` of Go's `crypto/x509`: somebody else has the name of an authority.
fn other_authority(certificate: &X509Certificate<'_>, trusted: &[CertificateDer<'_>]) -> String {
    let mut trusted = trusted.iter().filter_map(|trusted| X509Certificate::from_der(trusted).ok());
    let named = trusted.find(|(_, trusted)| trusted.subject().as_raw() == certificate.issuer().as_raw());
    let Some((_, named)) = named else { return UNKNOWN_AUTHORITY.into() };
    // (`Certificate.CheckSignatureFrom`)
    let is_authority = matches!(named.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca);
    let why = match certificate.signature_algorithm.algorithm.to_id_string().as_str() {
        _ if !is_authority => "x509: invalid signature: parent certificate cannot sign this kind of certificate",
        ECDSA_SHA256 | ECDSA_SHA384 | ECDSA_SHA512 => "x509: ECDSA verification failure",
        ED25519 => "x509: Ed25519 verification failure",
        _ => "crypto/rsa: verification error",
    };
    let subject = named.subject();
    let common = subject.iter_common_name().last().and_then(|name| name.as_str().ok()).filter(|name| !name.is_empty());
    let called = common.or_else(|| subject.iter_organization().next().and_then(|name| name.as_str().ok()));
    let called = called.map_or_else(|| format!("serial:{}", named.serial), str::to_string);
    let quote = api::go::strconv::quote;
    format!(
        "{UNKNOWN_AUTHORITY} (possibly because of {} while trying to verify candidate authority certificate {})",
        quote(why),
        quote(&called)
    )
}

fn seconds(now: UnixTime) -> String {
    time(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map(crate::clock::time).unwrap_or_default()
}

/// `HostnameError` of Go's `crypto/x509`.
fn other_name(certificate: &X509Certificate<'_>, wanted: &str) -> String {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names: &[GeneralName<'_>] = names.as_ref().map_or(&[], |names| names.value.general_names.as_slice());
    let address = wanted.parse::<std::net::IpAddr>().is_ok();
    let common = certificate.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
    if names.is_empty() && !address && common == Some(wanted) {
        return "certificate relies on legacy Common Name field, use SANs instead".into();
    }
    let shown = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) if !address => Some((*name).to_string()),
        GeneralName::IPAddress(bytes) if address => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    };
    let valid: Vec<String> = names.iter().filter_map(shown).collect();
    if valid.is_empty() && address {
        return format!("cannot validate certificate for {wanted} because it doesn't contain any IP SANs");
    }
    if valid.is_empty() {
        return format!("certificate is not valid for any names, but wanted to match {wanted}");
    }
    format!("certificate is valid for {}, not {wanted}", valid.join(", "))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// Signs a certificate for `h` as an authority of this name; both in order.
    fn signed(name: &str) -> (CertificateDer<'static>, String) {
        let (key, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, name);
        let pem = authority.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(authority, key);
        let leaf = CertificateParams::new(vec!["h".to_string()]).unwrap().signed_by(&own, &issuer).unwrap();
        (leaf.der().clone(), pem)
    }

    #[test]
    fn who_only_has_the_name_of_an_authority_is_found_out() {
        let (leaf, own) = signed("a");
        let (other, namesake) = (signed("b").1, signed("a").1);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        let judge = |bundle: &str| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = Verifier::new(bundle.as_bytes(), provider).unwrap();
            let name = ServerName::try_from("h").unwrap();
            verifier.verify_server_cert(&leaf, &[], &name, &[], now).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(judge(&own), Ok(()));
        let unknown =
            "unexpected error: tls: failed to verify certificate: x509: certificate signed by unknown authority";
        assert_eq!(judge(&other), Err(unknown.to_string()));
        let why = "(possibly because of \"x509: ECDSA verification failure\" while trying to verify candidate authority \
                   certificate \"a\")";
        assert_eq!(judge(&namesake), Err(format!("{unknown} {why}")));
    }
}
