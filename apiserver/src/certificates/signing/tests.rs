//! What is signed, and what is not.

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};

use super::*;
use crate::clock::SystemClock;

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn instant(&self) -> std::time::Instant {
        SystemClock.instant()
    }

    fn random(&self, bytes: &mut [u8]) {
        SystemClock.random(bytes);
    }
}

const NOW: &str = "2030-01-01T00:00:00Z";

fn request(name: &str, group: &str, names: Vec<SanType>) -> String {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = names;
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn usages(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_certificate_says_what_was_asked_for_and_verifies() {
    let now: Timestamp = NOW.parse().unwrap();
    let authority = Authority::generate("kubernetes", now).unwrap();
    let names = vec![
        SanType::DnsName("node.example.com".try_into().unwrap()),
        SanType::IpAddress("10.0.0.7".parse().unwrap()),
        SanType::Rfc822Name("a@example.com".try_into().unwrap()),
        SanType::URI("spiffe://a/b".try_into().unwrap()),
    ];
    let asked = request("system:node:a_b", "system:nodes", names);
    let found = requested(asked.as_bytes()).unwrap();
    assert_eq!((found.common_name.as_str(), found.organizations.len()), ("system:node:a_b", 1));
    assert_eq!(found.addresses, [vec![10, 0, 0, 7]]);
    let usages = usages(&["digital signature", "key encipherment", "client auth", "server auth"]);
    let day = Duration::from_secs(86_400);
    let signed = authority.sign(asked.as_bytes(), &usages, day, &At(now)).unwrap();
    let der = CertificateDer::from_pem_slice(signed.as_bytes()).unwrap();
    let (rest, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(rest.is_empty());
    let authority_der = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
    let (_, issuer) = x509_parser::parse_x509_certificate(&authority_der).unwrap();
    parsed.verify_signature(Some(issuer.public_key())).unwrap();
    assert_eq!(parsed.issuer(), issuer.subject());
    assert_eq!(parsed.subject().to_string(), "O=system:nodes, CN=system:node:a_b");
    assert!(!parsed.is_ca());
    let key_usage = parsed.key_usage().unwrap().unwrap();
    assert!(key_usage.critical && key_usage.value.digital_signature() && key_usage.value.key_encipherment());
    assert!(!key_usage.value.key_cert_sign());
    let extended = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && extended.server_auth && !extended.any);
    let alternatives = parsed.subject_alternative_name().unwrap().unwrap();
    assert!(!alternatives.critical && alternatives.value.general_names.len() == 4);
    let validity = parsed.validity();
    assert_eq!(validity.not_before.timestamp(), now.as_second() - 300);
    assert_eq!(validity.not_after.timestamp(), now.as_second() + 86_400 - 300);
    assert_eq!(not_after(signed.as_bytes()).map(|at| at.as_second()), Some(now.as_second() + 86_100));
    let short = authority.sign(asked.as_bytes(), &usages, Duration::from_secs(600), &At(now)).unwrap();
    assert_eq!(not_after(short.as_bytes()).map(|at| at.as_second()), Some(now.as_second() + 600));
    let long = authority.sign(asked.as_bytes(), &usages, day * 365 * 50, &At(now)).unwrap();
    assert_eq!(not_after(long.as_bytes()), not_after(authority.certificate_pem().as_bytes()), "not beyond its own");
}

#[test]
fn every_group_of_a_subject_is_kept_and_what_nobody_reads_is_not() {
    let part = |arcs: &[u64], text: &str| der::set(vec![der::sequence(&[&der::oid(arcs), &der::string(text)])]);
    let (name, group, other): (&[u64], &[u64], &[u64]) = (&[2, 5, 4, 3], &[2, 5, 4, 10], &[2, 5, 4, 65]);
    let parts = [part(name, "first"), part(group, "b"), part(other, "x"), part(group, "a"), part(name, "last")];
    let whole = der::sequence(&[&parts.concat()]);
    let (_, parsed) = X509Name::from_der(&whole).unwrap();
    let kept = subject(&parsed).unwrap();
    let (_, kept) = X509Name::from_der(&kept).unwrap();
    assert_eq!(kept.to_string(), "O=a + O=b, CN=last");
    assert_eq!(subject(&X509Name::from_der(&[0x30, 0]).unwrap().1).unwrap(), [0x30, 0]);
}

#[test]
fn what_cannot_be_signed_is_said() {
    let now: Timestamp = NOW.parse().unwrap();
    let authority = Authority::generate("kubernetes", now).unwrap();
    let asked = request("a", "b", Vec::new());
    let sign = |request: &str, names: &[&str], at: Timestamp| {
        let day = Duration::from_secs(86_400);
        authority.sign(request.as_bytes(), &usages(names), day, &At(at)).map(drop).unwrap_err()
    };
    assert_eq!(sign("x", &["any"], now), "PEM block type must be CERTIFICATE REQUEST");
    assert_eq!(sign(&asked, &["any", "nothing"], now), "unrecognized usage values: [\"nothing\"]");
    let late: Timestamp = "2050-01-01T00:00:00Z".parse().unwrap();
    assert!(sign(&asked, &["any"], late).starts_with("the signer has expired: NotAfter=2039-"));
    let der = request_der(asked.as_bytes()).unwrap();
    let mut forged = der.to_vec();
    let at = forged.len() - 20;
    forged[at] ^= 1;
    let forged = pem("CERTIFICATE REQUEST", &forged);
    assert_eq!(check(asked.as_bytes()), Ok(()));
    assert_eq!(check(forged.as_bytes()).unwrap_err(), "x509: the signature does not verify");
    assert!(check(pem("CERTIFICATE REQUEST", b"x").as_bytes()).is_err());
    let said = sign(&forged, &["any"], now);
    assert!(said.starts_with("unable to verify certificate request signature"), "{said}");
}
