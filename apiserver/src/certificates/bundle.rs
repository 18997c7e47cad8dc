//! Certificates and keys that others made, as PEMs.

use rustls::RootCertStore;
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

/// What is wrong with a bundle of authorities, if anything is.
pub fn problem(pem: &str) -> Option<String> {
    let added = |found: Vec<CertificateDer<'static>>| {
        let mut roots = RootCertStore::empty();
        found.into_iter().try_for_each(|found| roots.add(found)).map_err(|error| error.to_string())
    };
    certificates(pem).and_then(added).err()
}

/// The authorities that this machine trusts.
pub fn system_authorities() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the machine's authorities cannot be read");
    }
    found.certs
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
