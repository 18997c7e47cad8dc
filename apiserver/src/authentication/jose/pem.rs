//! Keys in PEMs, as tools write them (`ParsePublicKeysPEM` and `ParsePrivateKeyPEM` in client-go's `util/keyutil`).

use rustls::pki_types::pem::{PemObject, SectionKind};
use x509_parser::der_parser::ber::BerObjectContent;
use x509_parser::der_parser::der::parse_der;

use super::key::{KeyError, Private, PublicKey, Signer};

type Section = (SectionKind, Vec<u8>);

fn sections(pem: &[u8]) -> impl Iterator<Item = Section> + '_ {
    Section::pem_slice_iter(pem).filter_map(Result::ok)
}

fn private(section: &Section) -> Option<Private<'_>> {
    match section.0 {
        SectionKind::PrivateKey => Some(Private::Pkcs8(&section.1)),
        SectionKind::RsaPrivateKey => Some(Private::Pkcs1(&section.1)),
        SectionKind::EcPrivateKey => Some(Private::Sec1(&section.1)),
        _ => None,
    }
}

pub(super) fn private_key(pem: &[u8]) -> Result<Signer, KeyError> {
    let section = sections(pem).find(|section| private(section).is_some()).ok_or(KeyError::NoPrivate)?;
    private(&section).ok_or(KeyError::NoPrivate).and_then(|key| Signer::read(&key))
}

pub(super) fn public_keys(pem: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
    let mut keys = Vec::new();
    for section in sections(pem) {
        let key = match (&section.0, private(&section)) {
            (_, Some(private)) => Signer::read(&private)?.public(),
            (SectionKind::PublicKey, _) => PublicKey::from_spki(&section.1)?,
            (SectionKind::Certificate, _) => {
                let parsed = x509_parser::parse_x509_certificate(&section.1);
                let (_, certificate) = parsed.map_err(|error| KeyError::Malformed(error.to_string()))?;
                PublicKey::from_spki(certificate.public_key().raw)?
            }
            _ => continue,
        };
        keys.push(key);
    }
    if keys.is_empty() { Err(KeyError::None) } else { Ok(keys) }
}

/// The private number and the public point of an `ECPrivateKey` (RFC 5915).
pub(super) fn sec1(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, key) = parse_der(der).ok()?;
    let parts = key.as_sequence().ok()?;
    let private = parts.get(1)?.as_slice().ok()?;
    let public = parts.iter().find(|part| {
        part.header.tag().0 == 1 && part.header.class() == x509_parser::der_parser::ber::Class::ContextSpecific
    })?;
    let BerObjectContent::Unknown(tagged) = &public.content else { return None };
    let (_, bits) = parse_der(tagged.data).ok()?;
    match bits.content {
        BerObjectContent::BitString(_, bits) => Some((private, bits.data)),
        _ => None,
    }
}
