//! Certificate signing requests.

use std::collections::BTreeSet;

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;

const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const EXPIRATION_SECONDS_MIN: i64 = 600;
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

/// `ValidateCertificateSigningRequestCreate`; the spec does not change afterwards.
pub fn request(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    if old.is_some() {
        return;
    }
    let spec = new.get("spec");
    let usages = spec.get("usages");
    rules::required(&usages, errors);
    for usage in usages.items() {
        rules::one_of(&usage, &USAGES, errors);
    }
    let mut seen = BTreeSet::new();
    for usage in usages.items().filter(|usage| !seen.insert(usage.text())) {
        errors.push(FieldError::duplicate(&usage.path, usage.text()));
    }
    signer(&spec.get("signerName"), errors);
    let seconds = spec.get("expirationSeconds");
    if seconds.number().is_some_and(|number| number < EXPIRATION_SECONDS_MIN) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(&seconds.path, seconds.value.clone(), detail));
    }
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
}

/// Only the first label that is wrong is told.
fn segment(at: &At<'_>, text: &str, check: fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    if let Some(label) = text.split('.').find(|label| !check(label).is_empty()) {
        for message in check(label) {
            errors.push(FieldError::invalid(&at.path, text, format!("validating label {label:?}: {message}")));
        }
    }
}
