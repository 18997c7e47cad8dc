//! Whom the server trusts to be a webhook.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const UNPARSABLE: &str = "unable to load root certificates: unable to parse bytes as PEM block";

/// TLS to a webhook whose certificate is from one of these authorities (PEM), or from one of the system's if there are none.
///
/// # Errors
/// If there is no certificate among the authorities.
pub(super) fn config(ca_bundle: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let trusted = if ca_bundle.is_empty() {
        rustls_native_certs::load_native_certs().certs
    } else {
        let found: Vec<_> = CertificateDer::pem_slice_iter(ca_bundle).filter_map(Result::ok).collect();
        if found.is_empty() {
            return Err(UNPARSABLE.into());
        }
        found
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let of_chains = if roots.is_empty() {
        None
    } else {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Some(verifier.map_err(|error| error.to_string())?)
    };
    let verifier = Arc::new(Verifier { of_chains, trusted, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // Several connections reach several endpoints.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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
                let why = told(&why, certificate, name, now);
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
fn told(why: &CertificateError, certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> String {
    let parsed = X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed);
    match (why, parsed) {
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, _) => {
            "certificate signed by unknown authority".into()
        }
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
