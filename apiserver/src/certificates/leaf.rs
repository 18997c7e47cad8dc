//! A client certificate that the authority itself signed, judged as Go's `Certificate.Verify` does.
//!
//! rustls takes none of the first version, which `openssl x509 -req` makes, none that may sign others, and none for any usage. Go
//! takes all three, and people have them. Only what is said here is taken: whoever signs others' names goes the usual way.

use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::ParsedExtension;
use x509_parser::x509::{AlgorithmIdentifier, X509Version};

/// The tag of an object identifier in DER.
const OID_TAG: u8 = 6;
/// The longest content whose length takes one byte in DER.
const SHORT_LENGTH_MAX: usize = 127;

/// Why a certificate is no good.
type Fault = &'static str;

/// Checks that `authority` signed `leaf` for a client and for now, in seconds of the epoch.
///
/// # Errors
/// Why it is no good.
pub(super) fn check(
    leaf: &[u8],
    authority: &[u8],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: i64,
) -> Result<(), Fault> {
    let parse = |der| x509_parser::parse_x509_certificate(der).map(|(_, parsed)| parsed);
    let leaf = parse(leaf).map_err(|_| "it does not parse")?;
    let authority = parse(authority).map_err(|_| "the authority does not parse")?;
    if authority.name_constraints().ok().is_none_or(|found| found.is_some()) {
        return Err("the authority is limited to some names");
    }
    if leaf.issuer().as_raw() != authority.subject().as_raw() {
        return Err("another authority issued it");
    }
    for certificate in [&leaf, &authority] {
        let validity = certificate.validity();
        if !(validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now) {
            return Err("it is not valid now");
        }
    }
    extensions(&leaf)?;
    signature(&leaf, &authority, algorithms)
}

fn extensions(leaf: &X509Certificate<'_>) -> Result<(), Fault> {
    if leaf.version() != X509Version::V3 && !leaf.extensions().is_empty() {
        return Err("only the third version has extensions");
    }
    let unknown = leaf.extensions().iter().any(|extension| {
        let known = matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
        );
        extension.critical && !known
    });
    if unknown {
        return Err("a critical extension is unknown");
    }
    match leaf.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.client_auth || usage.value.any => Ok(()),
        Ok(Some(_)) => Err("it is not for clients"),
        Err(_) => Err("its usage is said twice"),
    }
}

fn signature(
    leaf: &X509Certificate<'_>,
    authority: &X509Certificate<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Fault> {
    if leaf.signature_algorithm != leaf.tbs_certificate.signature || leaf.signature_value.unused_bits != 0 {
        return Err("its signature is not as it says");
    }
    let key = authority.public_key();
    let of_key = identifier(&key.algorithm).ok_or("the authority's key is of an unknown sort")?;
    let of_signature = identifier(&leaf.signature_algorithm).ok_or("its signature is of an unknown sort")?;
    let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
        algorithm.public_key_alg_id().as_ref() == of_key && algorithm.signature_alg_id().as_ref() == of_signature
    };
    let (message, value) = (leaf.tbs_certificate.as_ref(), leaf.signature_value.data.as_ref());
    let mut verified = algorithms
        .iter()
        .filter(fits)
        .map(|algorithm| algorithm.verify_signature(&key.subject_public_key.data, message, value));
    if verified.any(|verified| verified.is_ok()) { Ok(()) } else { Err("the authority did not sign it") }
}

/// The content of an algorithm identifier as DER; none for parameters that none of those known here has.
fn identifier(algorithm: &AlgorithmIdentifier<'_>) -> Option<Vec<u8>> {
    let mut der = Vec::new();
    let mut push = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).ok().filter(|length| usize::from(*length) <= SHORT_LENGTH_MAX)?;
        der.extend_from_slice(&[tag, length]);
        der.extend_from_slice(content);
        Some(())
    };
    push(OID_TAG, algorithm.algorithm.as_bytes())?;
    match &algorithm.parameters {
        None => {}
        Some(any) if matches!(any.tag(), Tag::Null | Tag::Oid) => push(u8::try_from(any.tag().0).ok()?, any.data)?,
        Some(_) => return None,
    }
    Some(der)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    use super::*;

    /// The middle of the years that rcgen's certificates are valid for when nothing else is said.
    const NOW: i64 = 1_800_000_000;

    struct Authority {
        der: Vec<u8>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Authority { der, issuer: Issuer::new(params, key) }
    }

    fn leaf(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "jane");
        change(&mut params);
        params.signed_by(&KeyPair::generate().unwrap(), &authority.issuer).unwrap().der().to_vec()
    }

    fn sequence(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, content].concat()
    }

    /// The certificate as one of the first version, signed anew: without its version and what comes after its key.
    fn first_version(authority: &Authority, der: &[u8]) -> Vec<u8> {
        const VERSION: [u8; 5] = [0xa0, 3, 2, 1, 2];
        let (_, parsed) = x509_parser::parse_x509_certificate(der).unwrap();
        let start = der.windows(VERSION.len()).position(|window| window == VERSION).unwrap() + VERSION.len();
        let key = parsed.public_key().raw;
        let end = der.windows(key.len()).position(|window| window == key).unwrap() + key.len();
        let body = sequence(0x30, &der[start..end]);
        let random = SystemRandom::new();
        let key = authority.issuer.key().serialize_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &random).unwrap();
        let signed = pair.sign(&random, &body).unwrap();
        let algorithm = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let value = sequence(3, &[&[0][..], signed.as_ref()].concat());
        sequence(0x30, &[&body[..], &algorithm, &value].concat())
    }

    fn verdict(leaf: &[u8], authority: &Authority, now: i64) -> Result<(), Fault> {
        check(leaf, &authority.der, rustls::crypto::ring::default_provider().signature_verification_algorithms.all, now)
    }

    #[test]
    fn what_an_authority_signed() {
        let (ours, others) = (authority("ca"), authority("ca"));
        let usage = |usages: &[ExtendedKeyUsagePurpose]| {
            let usages = usages.to_vec();
            move |params: &mut CertificateParams| params.extended_key_usages = usages
        };
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        let plain = leaf(&ours, |_| {});
        assert_eq!(verdict(&plain, &ours, NOW), Ok(()));
        assert_eq!(verdict(&first_version(&ours, &plain), &ours, NOW), Ok(()));
        assert_eq!(verdict(&leaf(&ours, usage(&[ServerAuth, Any])), &ours, NOW), Ok(()));
        assert_eq!(verdict(&leaf(&ours, usage(&[ClientAuth])), &ours, NOW), Ok(()));
        assert_eq!(verdict(&leaf(&ours, usage(&[ServerAuth])), &ours, NOW), Err("it is not for clients"));
        let signer = leaf(&ours, |params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
        assert_eq!(verdict(&signer, &ours, NOW), Ok(()));
        assert_eq!(verdict(&plain, &others, NOW), Err("the authority did not sign it"));
        assert_eq!(verdict(&first_version(&others, &plain), &ours, NOW), Err("the authority did not sign it"));
        assert_eq!(verdict(&plain, &authority("other"), NOW), Err("another authority issued it"));
        let ended = leaf(&ours, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
        assert_eq!(verdict(&ended, &ours, NOW), Err("it is not valid now"));
        let critical = leaf(&ours, |params| {
            let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        });
        assert_eq!(verdict(&critical, &ours, NOW), Err("a critical extension is unknown"));
        let mut forged = plain.clone();
        let at = forged.windows(4).position(|window| window == b"jane").unwrap();
        forged[at..at + 4].copy_from_slice(b"root");
        assert_eq!(verdict(&forged, &ours, NOW), Err("the authority did not sign it"));
        assert_eq!(verdict(b"\x30\x03\x02\x01\x01", &ours, NOW), Err("it does not parse"));
    }
}
