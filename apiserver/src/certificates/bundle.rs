//! Certificates and keys that others made, as PEMs.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How many certificates a bundle may have.
const CERTIFICATES_MAX: usize = 4096;
const NONE: &str = "data does not contain any valid RSA or ECDSA certificates";

/// The certificates of a bundle (`ParseCertsPEM` in client-go's `util/cert`); what is no certificate is passed over.
///
/// # Errors
/// What is wrong with it.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok) {
        if section.0 != SectionKind::Certificate {
            continue;
        }
        x509_parser::parse_x509_certificate(&section.1)
            .map_err(|error| format!("x509: malformed certificate: {error}"))?;
        found.push(CertificateDer::from(section.1));
        if found.len() > CERTIFICATES_MAX {
            return Err(format!("it has more than {CERTIFICATES_MAX} certificates"));
        }
    }
    if found.is_empty() { Err(NONE.into()) } else { Ok(found) }
}

/// What is wrong with a bundle, if anything is.
pub fn problem(pem: &str) -> Option<String> {
    roots(pem).err()
}

/// The authorities of a bundle.
///
/// # Errors
/// What is wrong with it.
pub fn roots(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// The authorities that this machine trusts.
pub fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the machine's authorities cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

/// A chain of certificates and its key.
///
/// # Errors
/// What is wrong with them.
pub fn pair(chain: &[u8], key: &[u8]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = certificates(&String::from_utf8_lossy(chain))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| "data does not contain a valid RSA or ECDSA private key")?;
    Ok((chain, key))
}

/// How a server is spoken to that one of these authorities vouches for.
///
/// # Errors
/// If TLS cannot be set up.
pub fn client(roots: RootCertStore) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Takes every server for who it says it is.
pub fn unverified() -> Arc<dyn ServerCertVerifier> {
    crate::proxy::unverified_server()
}
