//! Keys and certificates on disk: mode 0600, written whole or not at all.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use jiff::Timestamp;
use rcgen::KeyPair;
use x509_parser::prelude::GeneralName;

use super::authority::{Authority, CertificateRequest, generate_key};
use super::renewable::Validity;
use super::{CertificateAndKey, CertificateError};

pub(super) fn make_directory(directory: &Path) -> Result<(), CertificateError> {
    let made = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
    };
    made().map_err(|source| CertificateError::File { path: directory.into(), source })
}

/// What everything else is signed with. All other files can be made anew, and are only there once these are.
const FOUNDATION: [&str; 3] = ["ca.crt", "ca.key", "sa.key"];

/// Whether something was signed already: the directory holds more than the beginnings of a first start, or than an
/// authority that somebody put there for one.
pub(super) fn was_used(directory: &Path) -> Result<bool, CertificateError> {
    let failed = |source| CertificateError::File { path: directory.into(), source };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let is_begun = Path::new(&name).extension().is_some_and(|extension| extension == "new");
        if !is_begun && !FOUNDATION.iter().any(|known| name == *known) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Says that there is a foundation, in case it gets lost.
pub(super) fn remember(made: &Path) -> Result<(), CertificateError> {
    match made.exists() {
        true => Ok(()),
        false => write(made, "The authority of this cluster is in the directory pki.\n", Durable::Yes),
    }
}

/// The authority called `name` that is kept in `FILE.crt` and `FILE.key`; one that is `known` to clients is never made anew.
pub(super) fn load_or_make_authority(
    directory: &Path,
    (file, name): (&str, &str),
    known: bool,
    now: Timestamp,
) -> Result<Authority, CertificateError> {
    let (certificate_path, key_path) = (directory.join(format!("{file}.crt")), directory.join(format!("{file}.key")));
    match (read(&certificate_path)?, read(&key_path)?) {
        (Some(certificate), Some(key)) => {
            return Authority::from_pems(&certificate, &key)
                .map_err(|error| CertificateError::Damaged { path: certificate_path, reason: error.to_string() });
        }
        // A start that was cut short leaves no certificate without its key.
        (Some(_), None) => return Err(CertificateError::Missing { path: key_path }),
        (None, _) if known => return Err(CertificateError::Missing { path: certificate_path }),
        (None, _) => {}
    }
    let authority = Authority::generate(name, now)?;
    // The key goes first: a crash between the two leaves no certificate, and the pair is made anew.
    write(&key_path, authority.key_pem(), Durable::Yes)?;
    write(&certificate_path, authority.certificate_pem(), Durable::Yes)?;
    Ok(authority)
}

/// The key that signs tokens, and its public half; one that is `known` to clients is never made anew.
pub(super) fn load_or_make_signing_key(directory: &Path, known: bool) -> Result<(String, String), CertificateError> {
    let path = directory.join("sa.key");
    if let Some(key) = read(&path)? {
        let parsed = KeyPair::from_pem(&key)
            .map_err(|error| CertificateError::Damaged { path: path.clone(), reason: error.to_string() })?;
        let public = parsed.public_key_pem();
        return Ok((key, public));
    }
    if known {
        return Err(CertificateError::Missing { path });
    }
    let (key, public) = generate_key()?;
    write(&path, &key, Durable::Yes)?;
    write(&directory.join("sa.pub"), &public, Durable::No)?;
    Ok((key, public))
}

/// The kept leaf, if it is whole, of this authority, for this request, and valid for long enough.
pub(super) fn load_leaf(
    directory: &Path,
    name: &str,
    authority: &Authority,
    request: &CertificateRequest,
    now: Timestamp,
) -> Option<CertificateAndKey> {
    let certificate_pem = fs::read_to_string(directory.join(format!("{name}.crt"))).ok()?;
    let key_pem = fs::read_to_string(directory.join(format!("{name}.key"))).ok()?;
    let key = KeyPair::from_pem(&key_pem).ok()?;
    let der = super::tls::certificate_der(&certificate_pem).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    let authority_der = super::tls::certificate_der(authority.certificate_pem()).ok()?;
    let (_, issuer) = x509_parser::parse_x509_certificate(&authority_der).ok()?;
    let fits = certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
        && signed_by(&certificate, authority)
        && certificate.issuer() == issuer.subject()
        && Validity::of(&certificate).is_fresh(now)
        && is_for(&certificate, request);
    fits.then_some(CertificateAndKey { certificate_pem, key_pem })
}

fn signed_by(certificate: &x509_parser::certificate::X509Certificate<'_>, authority: &Authority) -> bool {
    ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_ASN1,
        authority.public_key().public_key_raw(),
    )
    .verify(certificate.tbs_certificate.as_ref(), certificate.signature_value.data.as_ref())
    .is_ok()
}

fn is_for(certificate: &x509_parser::certificate::X509Certificate<'_>, request: &CertificateRequest) -> bool {
    let subject = certificate.subject();
    let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
    let organization = subject.iter_organization().next().and_then(|name| name.as_str().ok());
    if common_name != Some(&request.common_name) || organization != request.organization.as_deref() {
        return false;
    }
    let Ok(extension) = certificate.subject_alternative_name() else { return false };
    let present = extension.map(|e| e.value.general_names.as_slice()).unwrap_or_default();
    let octets: Vec<Vec<u8>> = request
        .addresses
        .iter()
        .map(|address| match address {
            std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
            std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
        })
        .collect();
    let wanted_names = request
        .names
        .iter()
        .all(|name| present.iter().any(|found| matches!(found, GeneralName::DNSName(dns) if dns == name)));
    let wanted_addresses = octets
        .iter()
        .all(|octets| present.iter().any(|found| matches!(found, GeneralName::IPAddress(ip) if ip == octets)));
    wanted_names && wanted_addresses && present.len() == request.names.len() + request.addresses.len()
}

pub(super) fn write_leaf(directory: &Path, name: &str, leaf: &CertificateAndKey) -> Result<(), CertificateError> {
    write(&directory.join(format!("{name}.key")), &leaf.key_pem, Durable::No)?;
    write(&directory.join(format!("{name}.crt")), &leaf.certificate_pem, Durable::No)
}

/// Whether a file must survive a power cut: what can be made anew need not.
#[derive(PartialEq)]
enum Durable {
    Yes,
    No,
}

fn read(path: &Path) -> Result<Option<String>, CertificateError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertificateError::File { path: path.into(), source }),
    }
}

fn write(path: &Path, text: &str, durable: Durable) -> Result<(), CertificateError> {
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        if durable == Durable::Yes {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(directory) if durable == Durable::Yes => fs::File::open(directory)?.sync_all(),
            _ => Ok(()),
        }
    })();
    written.map_err(|source| CertificateError::File { path: path.into(), source })
}
