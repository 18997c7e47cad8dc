//! Certificate signing requests.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;

const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const EXPIRATION_SECONDS_MIN: i64 = 600;
const SIGNER_LENGTH_MAX: usize = 571;
/// The conditions that, once set, stay; the first two decide about the request.
const DECIDED: [&str; 3] = ["Approved", "Denied", "Failed"];
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// `ValidateCertificateSigningRequestCreate` and `ValidateCertificateSigningRequestUpdate`
pub(crate) fn request(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    whole(new, old, errors);
    changes(new, old, Allowed { decision: false, certificate: false }, errors);
}

/// `ValidateCertificateSigningRequestApprovalUpdate`
pub(crate) fn approval(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    whole(new, old, errors);
    changes(new, old, Allowed { decision: true, certificate: false }, errors);
}

/// `ValidateCertificateSigningRequestStatusUpdate`
pub(crate) fn signature(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    whole(new, old, errors);
    changes(new, old, Allowed { decision: false, certificate: true }, errors);
}

/// What a write may set.
#[derive(Clone, Copy)]
struct Allowed {
    /// Approve or deny.
    decision: bool,
    /// Issue the certificate.
    certificate: bool,
}

/// `validateCertificateSigningRequest`; whether the request can be parsed and is signed is checked elsewhere.
fn whole(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let body = spec.field("request");
    if pem_blocks(body.text()).first().is_none_or(|(type_, _)| type_ != "CERTIFICATE REQUEST") {
        let detail = "PEM block type must be CERTIFICATE REQUEST";
        errors.push(FieldError::invalid(&body.path, body.value.clone(), detail));
    }
    let usages = spec.field("usages");
    rules::required(&usages, errors);
    for usage in usages.items() {
        rules::one_of(&usage, &USAGES, errors);
    }
    let mut seen = BTreeSet::new();
    for usage in usages.items().filter(|usage| !seen.insert(usage.text())) {
        errors.push(FieldError::duplicate(&usage.path, usage.text()));
    }
    signer(&spec.field("signerName"), errors);
    let seconds = spec.field("expirationSeconds");
    if seconds.number().is_some_and(|number| number < EXPIRATION_SECONDS_MIN) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(&seconds.path, seconds.value.clone(), detail));
    }
    conditions(&new.at(&["status", "conditions"]), errors);
    let certificate = new.at(&["status", "certificate"]);
    let same = old.is_some_and(|old| old.at(&["status", "certificate"]).text() == certificate.text());
    if !same && let Some(problem) = certificate_problem(certificate.text()) {
        errors.push(FieldError::invalid(&certificate.path, "<certificate data>", problem));
    }
}

/// `validateConditions`
fn conditions(list: &At<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for condition in list.items() {
        let (type_, status) = (condition.field("type"), condition.field("status"));
        rules::required(&type_, errors);
        let supported: &[&str] =
            if DECIDED.contains(&type_.text()) { &["True"] } else { &["False", "True", "Unknown"] };
        if rules::required(&status, errors) {
            rules::one_of(&status, supported, errors);
        }
        let other = match type_.text() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "-",
        };
        if seen.contains(other) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&list.path, type_.text(), detail));
        }
        if !seen.insert(type_.text()) {
            errors.push(FieldError::duplicate(&type_.path, type_.text()));
        }
    }
}

/// `validateCertificateSigningRequestUpdate`
fn changes(new: &At<'_>, old: Option<&At<'_>>, allowed: Allowed, errors: &mut ErrorList) {
    let Some(old) = old else { return };
    let list = new.at(&["status", "conditions"]);
    let of_type = |request: &At<'_>, type_: &str| {
        let all = request.at(&["status", "conditions"]).items();
        all.filter(|c| c.field("type").text() == type_).map(|c| c.value.clone()).collect::<Vec<_>>()
    };
    for type_ in DECIDED {
        if of_type(new, type_).len() < of_type(old, type_).len() {
            let detail = format!("updates may not remove a condition of type {type_:?}");
            errors.push(FieldError::forbidden(&list.path, detail));
        }
    }
    for type_ in DECIDED[..2].iter().filter(|_| !allowed.decision) {
        let (now, before) = (of_type(new, type_), of_type(old, type_));
        let what = match now.len().cmp(&before.len()) {
            Ordering::Less => continue,
            Ordering::Equal if now == before => continue,
            Ordering::Equal => "modify",
            Ordering::Greater => "add",
        };
        let detail = format!("updates may not {what} a condition of type {type_:?}");
        errors.push(FieldError::forbidden(&list.path, detail));
    }
    let certificate = new.at(&["status", "certificate"]);
    let before = old.at(&["status", "certificate"]);
    if certificate.text() == before.text() {
        return;
    }
    if !allowed.certificate {
        errors.push(FieldError::forbidden(&certificate.path, "updates may not set certificate content"));
    } else if !before.is_empty() {
        errors.push(FieldError::forbidden(&certificate.path, "updates may not modify existing certificate content"));
    }
}

/// The blocks of a PEM text that is given in base64: type and what is between the lines.
fn pem_blocks(encoded: &str) -> Vec<(String, String)> {
    let text = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines().map(str::trim_end) {
        let marker = |start: &str| line.strip_prefix(start).and_then(|rest| rest.strip_suffix("-----"));
        if let Some(type_) = marker("-----BEGIN ") {
            open = Some((type_.to_string(), String::new()));
        } else if let Some(type_) = marker("-----END ") {
            blocks.extend(open.take().filter(|(opened, _)| opened == type_));
        } else if let Some((_, body)) = &mut open {
            body.push_str(line);
        }
    }
    blocks
}

/// `validateCertificate`; what is within the blocks is looked at no closer than that it is a sequence.
fn certificate_problem(encoded: &str) -> Option<String> {
    if encoded.is_empty() {
        return None;
    }
    let blocks = pem_blocks(encoded);
    for (type_, body) in &blocks {
        if type_ != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {type_:?}"));
        }
        if body.contains(':') {
            return Some("no PEM block headers are permitted".into());
        }
        if !STANDARD.decode(body).is_ok_and(|der| is_sequence(&der)) {
            return Some("x509: malformed certificate".into());
        }
    }
    blocks.is_empty().then(|| "must contain at least one CERTIFICATE PEM block".into())
}

/// Whether DER holds one whole sequence.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = der else { return false };
    let short = usize::from(*length);
    if short < 0x80 {
        return rest.len() == short;
    }
    let bytes = short - 0x80;
    if bytes == 0 || bytes > 4 || rest.len() < bytes {
        return false;
    }
    let length = rest[..bytes].iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    rest.len() - bytes == length
}

/// `ValidateSignerName`
fn signer(at: &At<'_>, errors: &mut ErrorList) {
    if at.text() == LEGACY_SIGNER {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid(&at.path, at.text(), detail));
        return;
    }
    if !rules::required(at, errors) {
        return;
    }
    let Some((domain, path)) = at.text().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(FieldError::invalid(&at.path, at.text(), detail));
        return;
    };
    segment(at, domain, names::dns1123_label, errors);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(&at.path, domain, detail));
    }
    segment(at, path, names::dns1123_subdomain, errors);
    if at.text().len() > SIGNER_LENGTH_MAX {
        errors.push(FieldError::too_long(&at.path, SIGNER_LENGTH_MAX));
    }
}

/// Only the first label that is wrong is told.
fn segment(at: &At<'_>, text: &str, check: fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    if let Some(label) = text.split('.').find(|label| !check(label).is_empty()) {
        for message in check(label) {
            errors.push(FieldError::invalid(&at.path, text, format!("validating label {label:?}: {message}")));
        }
    }
}
