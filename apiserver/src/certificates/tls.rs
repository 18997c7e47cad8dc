//! rustls configurations from PEMs.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};

use super::{CertificateAndKey, CertificateError, leaf};

/// The first certificate of a PEM.
pub(super) fn certificate_der(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| CertificateError::Pem(format!("no certificate in the PEM: {error:?}")))
}

/// What a handshake shows. The two must belong together.
pub(super) fn certified_key(pems: &CertificateAndKey) -> Result<CertifiedKey, CertificateError> {
    let provider = rustls::crypto::ring::default_provider();
    let (chain, key) = (vec![certificate_der(&pems.certificate_pem)?], key_der(&pems.key_pem)?);
    Ok(CertifiedKey::from_der(chain, key, &provider)?)
}

fn key_der(pem: &str) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| CertificateError::Pem(format!("no private key in the PEM: {error:?}")))
}

/// Every certificate of a PEM, at least one.
pub(super) fn certificates_der(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err(CertificateError::Pem("no certificate in the PEM".into())),
        Ok(all) => Ok(all),
        Err(error) => Err(CertificateError::Pem(format!("no certificates in the PEM: {error:?}"))),
    }
}

/// What a handshake shows: a certificate with those that lead from it to its authority, and its key.
///
/// # Errors
/// [`CertificateError::Tls`] or [`CertificateError::Pem`] if they are no good or do not belong together.
pub fn certified_chain(certificates_pem: &str, key_pem: &str) -> Result<CertifiedKey, CertificateError> {
    let provider = rustls::crypto::ring::default_provider();
    Ok(CertifiedKey::from_der(certificates_der(certificates_pem)?, key_der(key_pem)?, &provider)?)
}

fn roots(authorities_pem: &str) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates_der(authorities_pem)? {
        roots.add(authority)?;
    }
    Ok(roots)
}

/// What tells whether one of the authorities issued a client certificate, for that use and for now.
///
/// # Errors
/// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the authority is no good.
pub fn client_verifier(authorities_pem: &str) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let usual = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities_pem)?), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| CertificateError::Pem(error.to_string()))?;
    Ok(Arc::new(Issued { usual, authorities: certificates_der(authorities_pem)?, algorithms }))
}

/// Good are certificates that rustls finds good, and of those that an authority itself signed what [`leaf`] takes too.
#[derive(Debug)]
struct Issued {
    usual: Arc<dyn ClientCertVerifier>,
    authorities: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Issued {
    fn client_auth_mandatory(&self) -> bool {
        self.usual.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.usual.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.usual.verify_client_cert(certificate, intermediates, now).or_else(|error| {
            let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            let is_of = |authority| leaf::check(certificate, authority, self.algorithms.all, seconds).is_ok();
            let is_good = self.authorities.iter().any(|authority| is_of(authority));
            is_good.then(ClientCertVerified::assertion).ok_or(error)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // By the key alone, since rustls reads no certificate of the first version.
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| rustls::CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// How many bytes of certificates are kept of a client whom nobody knows yet, for as long as its connection lives.
const CHAIN_BYTES_MAX: usize = 16 << 10;

/// Asks for a client certificate and lets any pass whose key the client holds, so that what is wrong with it is told by an
/// answer (`tls.RequestClientCert`).
#[derive(Debug)]
struct Requested {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Whose certificates are welcome.
    named: Vec<DistinguishedName>,
}

impl ClientCertVerifier for Requested {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.named
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let bytes = certificate.len() + intermediates.iter().map(|certificate| certificate.len()).sum::<usize>();
        if bytes > CHAIN_BYTES_MAX {
            return Err(rustls::Error::General(format!("more than {CHAIN_BYTES_MAX} bytes of client certificates")));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// A server that shows `serving` and lets a client show a certificate, or none. Those of the authority, and of front proxies',
/// are named to clients that choose.
///
/// # Errors
/// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the material is refused.
pub fn server_config(
    serving: Arc<dyn ResolvesServerCert>,
    authority_pem: &str,
    front_proxies_pem: &str,
) -> Result<Arc<ServerConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = client_verifier(authority_pem)?;
    let mut named = verifier.root_hint_subjects().to_vec();
    named.extend(roots(front_proxies_pem)?.subjects());
    let verifier = Arc::new(Requested { verifier, named });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(serving);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client that trusts the authority and shows `identity`, if any.
///
/// # Errors
/// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the material is refused.
pub fn client_config(
    authority_pem: &str,
    identity: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<Arc<ClientConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authority_pem)?);
    let config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}
