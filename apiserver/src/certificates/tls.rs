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

fn roots(authority_pem: &str) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate_der(authority_pem)?)?;
    Ok(roots)
}

/// What tells whether the authority issued a client certificate, for that use and for now.
///
/// # Errors
/// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the authority is no good.
pub fn client_verifier(authority_pem: &str) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let usual = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority_pem)?), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| CertificateError::Pem(error.to_string()))?;
    Ok(Arc::new(Issued { usual, authority: certificate_der(authority_pem)?, algorithms }))
}

/// Good are certificates that rustls finds good, and of those that the authority itself signed what [`leaf`] takes too.
#[derive(Debug)]
struct Issued {
    usual: Arc<dyn ClientCertVerifier>,
    authority: CertificateDer<'static>,
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
            leaf::check(certificate, &self.authority, self.algorithms.all, seconds)
                .map(|()| ClientCertVerified::assertion())
                .map_err(|_| error)
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
struct Requested(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Requested {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
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
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// A server that shows `serving` and lets a client show a certificate, or none. Those of the authority are named to clients that
/// choose.
///
/// # Errors
/// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the material is refused.
pub fn server_config(
    serving: Arc<dyn ResolvesServerCert>,
    authority_pem: &str,
) -> Result<Arc<ServerConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Requested(client_verifier(authority_pem)?));
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
