//! Certificates for keys that others hold: what a request may ask for, and what is signed of it
//! (`pkg/controller/certificates/authority`).

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{SignatureAlgorithm, SigningKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::authority::Authority;
use super::der;
use crate::clock::Clock;

/// Certificates begin so long ago, for those whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(300);
/// Those that live longer than this end that much earlier, too.
const SHORT: Duration = Duration::from_secs(8 * 3600);
const SERIAL_BYTES: usize = 16;

/// Usages that are bits of the extension `keyUsage`, by their number.
const KEY_USAGES: &[(&str, usize)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];
/// Those of the extension `extKeyUsage`, in the order in which they are written.
const EXTENDED_USAGES: &[(&str, &[u64])] = &[
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];
/// The parts of a subject that are kept, in their order (`pkix.Name.ToRDNSequence`). Of the last two there is one.
const SUBJECT: &[(&[u64], bool)] = &[
    (&[2, 5, 4, 6], true),
    (&[2, 5, 4, 10], true),
    (&[2, 5, 4, 11], true),
    (&[2, 5, 4, 7], true),
    (&[2, 5, 4, 8], true),
    (&[2, 5, 4, 9], true),
    (&[2, 5, 4, 17], true),
    (&[2, 5, 4, 3], false),
    (&[2, 5, 4, 5], false),
];

/// What a request says of its subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requested {
    /// The name of the user or host.
    pub common_name: String,
    /// The groups.
    pub organizations: Vec<String>,
    /// Names of hosts.
    pub dns_names: Vec<String>,
    /// Addresses of people.
    pub emails: Vec<String>,
    /// Addresses of hosts, four or sixteen bytes each.
    pub addresses: Vec<Vec<u8>>,
    /// Names of services.
    pub uris: Vec<String>,
}

/// The subject of a request in PEM.
///
/// # Errors
/// Why it is none.
pub fn requested(pem: &[u8]) -> Result<Requested, String> {
    let der = request_der(pem)?;
    let request = parse(&der)?;
    names(&request)
}

/// Whether a request in PEM can be read and was signed with the key that it is for (`validateCSR`). What is signed in a way
/// that is not known here passes: it will not be signed.
///
/// # Errors
/// Why not.
pub fn check(pem: &[u8]) -> Result<(), String> {
    let der = request_der(pem)?;
    let request = parse(&der)?;
    names(&request)?;
    match request.verify_signature() {
        Err(X509Error::SignatureVerificationError) => Err("x509: the signature does not verify".into()),
        _ => Ok(()),
    }
}

/// When a certificate in PEM ends; none if it is none.
pub fn not_after(pem: &[u8]) -> Option<Timestamp> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}

fn request_der(pem: &[u8]) -> Result<CertificateSigningRequestDer<'static>, String> {
    CertificateSigningRequestDer::from_pem_slice(pem)
        .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_string())
}

fn parse(der: &[u8]) -> Result<X509CertificationRequest<'_>, String> {
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(request) } else { Err("asn1: syntax error: trailing data".into()) }
}

fn names(request: &X509CertificationRequest<'_>) -> Result<Requested, String> {
    let subject = &request.certification_request_info.subject;
    let mut found = Requested {
        common_name: values(subject, &[2, 5, 4, 3])?.pop().unwrap_or_default(),
        organizations: values(subject, &[2, 5, 4, 10])?,
        ..Requested::default()
    };
    let alternatives = request.requested_extensions().into_iter().flatten().filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    for name in alternatives.flatten() {
        match name {
            GeneralName::DNSName(name) => found.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => found.emails.push((*name).to_owned()),
            GeneralName::URI(name) => found.uris.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) if matches!(bytes.len(), 4 | 16) => found.addresses.push(bytes.to_vec()),
            GeneralName::IPAddress(bytes) => {
                return Err(format!("x509: cannot parse IP address of length {}", bytes.len()));
            }
            GeneralName::Invalid(..) => return Err("x509: SAN is malformed".into()),
            // Other names are not passed on.
            _ => {}
        }
    }
    Ok(found)
}

/// The values of a part of a name.
fn values(name: &X509Name<'_>, arcs: &[u64]) -> Result<Vec<String>, String> {
    let wanted = der::oid(arcs);
    let is_it = |part: &&AttributeTypeAndValue<'_>| *part.attr_type().as_bytes() == wanted[2..];
    let text = |part: &AttributeTypeAndValue<'_>| {
        part.as_str().map(str::to_owned).map_err(|_| "x509: the subject is no text".to_string())
    };
    name.iter_attributes().filter(is_it).map(text).collect()
}

impl Authority {
    /// Signs what a request in PEM asks for, with the usages that its object names, for `ttl`
    /// (`PermissiveSigningPolicy`). Returns the certificate in PEM.
    ///
    /// # Errors
    /// Why it cannot be signed.
    pub fn sign(&self, request: &[u8], usages: &[String], ttl: Duration, clock: &dyn Clock) -> Result<String, String> {
        let request = request_der(request)?;
        let request = parse(&request)?;
        let unverified = |error| format!("unable to verify certificate request signature: {error}");
        request.verify_signature().map_err(unverified)?;
        let (issuer, algorithm) = (self.issuer()?, algorithm(self.public_key().algorithm())?);
        let (begin, end) = validity(clock.now(), ttl, issuer.not_after)?;
        let mut serial = [0; SERIAL_BYTES];
        clock.random(&mut serial);
        // It is positive.
        serial[0] &= 0x7f;
        let subject = subject(&request.certification_request_info.subject)?;
        let extensions = extensions(&issuer, usages, &names(&request)?, subject.len() <= 2)?;
        let to_be_signed = der::sequence(&[
            &der::tagged(0xa0, &[&der::integer(&[2])]),
            &der::integer(&serial),
            &algorithm,
            &issuer.subject,
            &der::sequence(&[&der::time(begin), &der::time(end)]),
            &subject,
            request.certification_request_info.subject_pki.raw,
            &der::tagged(0xa3, &[&der::sequence(&[&extensions])]),
        ]);
        let signature = self.public_key().sign(&to_be_signed).map_err(|error| error.to_string())?;
        let certificate = der::sequence(&[&to_be_signed, &algorithm, &der::bits(&signature)]);
        Ok(pem("CERTIFICATE", &certificate))
    }

    fn issuer(&self) -> Result<IssuedBy, String> {
        let der =
            CertificateDer::from_pem_slice(self.certificate_pem().as_bytes()).map_err(|error| error.to_string())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
        let identifier = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
            _ => None,
        });
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp());
        Ok(IssuedBy {
            subject: parsed.subject().as_raw().to_vec(),
            identifier,
            not_after: not_after.map_err(|error| error.to_string())?,
        })
    }
}

/// Who signs.
struct IssuedBy {
    subject: Vec<u8>,
    identifier: Option<Vec<u8>>,
    not_after: Timestamp,
}

fn validity(now: Timestamp, ttl: Duration, authority_ends: Timestamp) -> Result<(Timestamp, Timestamp), String> {
    let shown = crate::clock::time(authority_ends);
    let begin = now - BACKDATE;
    let end = if ttl < SHORT { now + ttl } else { now + (ttl - BACKDATE) };
    if begin >= authority_ends {
        return Err(format!("the signer has expired: NotAfter={shown}"));
    }
    if now >= authority_ends {
        return Err(format!("refusing to sign a certificate that expired in the past: NotAfter={shown}"));
    }
    Ok((begin, end.min(authority_ends)))
}

/// What is kept of a subject.
fn subject(name: &X509Name<'_>) -> Result<Vec<u8>, String> {
    let mut parts = Vec::new();
    for (arcs, many) in SUBJECT {
        let mut values = values(name, arcs)?;
        if !many {
            values = values.pop().filter(|value| !value.is_empty()).into_iter().collect();
        }
        if !values.is_empty() {
            let each = values.iter().map(|value| der::sequence(&[&der::oid(arcs), &der::string(value)]));
            parts.push(der::set(each.collect()));
        }
    }
    Ok(der::sequence(&[&parts.concat()]))
}

fn extensions(issuer: &IssuedBy, usages: &[String], names: &Requested, nameless: bool) -> Result<Vec<u8>, String> {
    let known = |usage: &&String| {
        KEY_USAGES.iter().any(|(name, _)| name == usage) || EXTENDED_USAGES.iter().any(|(name, _)| name == usage)
    };
    let unknown: Vec<String> = usages.iter().filter(|usage| !known(usage)).map(|usage| format!("{usage:?}")).collect();
    if !unknown.is_empty() {
        return Err(format!("unrecognized usage values: [{}]", unknown.join(" ")));
    }
    let is_wanted = |name: &str| usages.iter().any(|usage| usage == name);
    let mut all = Vec::new();
    let mut add = |arcs: &[u64], critical: bool, content: &[u8]| {
        let critical = if critical { der::boolean(true) } else { Vec::new() };
        all.extend(der::sequence(&[&der::oid(arcs), &critical, &der::octets(content)]));
    };
    let bits: Vec<usize> = KEY_USAGES.iter().filter(|(name, _)| is_wanted(name)).map(|(_, bit)| *bit).collect();
    if !bits.is_empty() {
        add(&[2, 5, 29, 15], true, &der::flags(&bits));
    }
    let mut extended: Vec<Vec<u8>> =
        EXTENDED_USAGES.iter().filter(|(name, _)| is_wanted(name)).map(|(_, arcs)| der::oid(arcs)).collect();
    // Two names of one usage.
    extended.dedup();
    if !extended.is_empty() {
        add(&[2, 5, 29, 37], false, &der::sequence(&[&extended.concat()]));
    }
    add(&[2, 5, 29, 19], true, &der::sequence(&[]));
    if let Some(identifier) = &issuer.identifier {
        add(&[2, 5, 29, 35], false, &der::sequence(&[&der::tagged(0x80, &[identifier])]));
    }
    let text = |tag: u8, names: &[String]| names.iter().flat_map(|name| der::tagged(tag, &[name.as_bytes()])).collect();
    let alternatives: [Vec<u8>; 4] = [
        text(0x82, &names.dns_names),
        text(0x81, &names.emails),
        names.addresses.iter().flat_map(|address| der::tagged(0x87, &[address])).collect(),
        text(0x86, &names.uris),
    ];
    let alternatives = alternatives.concat();
    if !alternatives.is_empty() {
        add(&[2, 5, 29, 17], nameless, &der::sequence(&[&alternatives]));
    }
    Ok(all)
}

fn algorithm(of_key: &'static SignatureAlgorithm) -> Result<Vec<u8>, String> {
    let known: [(_, &[u64], bool); 4] = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, &[1, 2, 840, 10045, 4, 3, 2], false),
        (&rcgen::PKCS_ECDSA_P384_SHA384, &[1, 2, 840, 10045, 4, 3, 3], false),
        (&rcgen::PKCS_ED25519, &[1, 3, 101, 112], false),
        (&rcgen::PKCS_RSA_SHA256, &[1, 2, 840, 113_549, 1, 1, 11], true),
    ];
    let found = known.into_iter().find(|(algorithm, ..)| *algorithm == of_key);
    let (_, arcs, with_null) = found.ok_or("the authority's key is of a kind that signs no requests")?;
    let null: &[u8] = if with_null { &[5, 0] } else { &[] };
    Ok(der::sequence(&[&der::oid(arcs), null]))
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests;
