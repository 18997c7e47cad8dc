//! rustls configurations from PEMs.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::{CertificateAndKey, CertificateError};

/// The first certificate of a PEM.
pub(super) fn certificate_der(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| CertificateError::Pem(format!("no certificate in the PEM: {error:?}")))
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

/// A server that shows `serving` and lets a client show a certificate of the authority, or none.
///
/// # Errors
/// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the material is refused.
pub fn server_config(serving: &CertificateAndKey, authority_pem: &str) -> Result<Arc<ServerConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority_pem)?), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| CertificateError::Pem(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate_der(&serving.certificate_pem)?], key_der(&serving.key_pem)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client that trusts the authority and shows `identity`, if any.
///
/// # Errors
/// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the material is refused.
pub fn client_config(
    authority_pem: &str,
    identity: Option<&CertificateAndKey>,
) -> Result<Arc<ClientConfig>, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authority_pem)?);
    let config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(vec![certificate_der(&identity.certificate_pem)?], key_der(&identity.key_pem)?)?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}
