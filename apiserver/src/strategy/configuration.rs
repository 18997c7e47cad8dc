//! Secrets, and the accounts that refer to them.

use api::Object;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData};
use serde_json::Value;
use x509_parser::pem::Pem;

use super::Strategy;
use crate::Context;

/// Secrets.
pub(super) struct Secret;

impl Strategy for Secret {
    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        // An update that leaves the type out means the same type (it is defaulted before it comes here).
        if new.str_at(&["type"]).is_empty()
            && let Some(kind) = old.at(&["type"])
        {
            new.set(&["type"], kind.clone());
        }
    }

    fn warnings(&self, _: &Context, new: &Object, _: Option<&Object>) -> Vec<String> {
        if new.str_at(&["type"]) != "kubernetes.io/tls" {
            return Vec::new();
        }
        let part = |name: &str| STANDARD.decode(new.str_at(&["data", name])).unwrap_or_default();
        pair_fault(&part("tls.crt"), &part("tls.key")).map(String::from).into_iter().collect()
    }
}

/// Service accounts.
pub(super) struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        name_secrets(new);
    }

    fn prepare_for_update(&self, _: &Context, new: &mut Object, _: &Object) {
        name_secrets(new);
    }
}

/// Of a reference to a secret only the name is kept (`cleanSecretReferences`).
fn name_secrets(account: &mut Object) {
    for secret in account.0.get_mut("secrets").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(fields) = secret.as_object_mut() {
            fields.retain(|field, _| field == "name");
        }
    }
}

/// What is plainly wrong with a certificate and its key (`X509KeyPair` in Go's `crypto/tls`).
fn pair_fault(certificate: &[u8], key: &[u8]) -> Option<&'static str> {
    let first = |text: &[u8]| Pem::iter_from_buffer(text).next().and_then(Result::ok);
    let Some(certificate) = first(certificate) else {
        return Some("tls: failed to find any PEM data in certificate input");
    };
    if first(key).is_none() {
        return Some("tls: failed to find any PEM data in key input");
    }
    let key = KeyPair::from_pem(str::from_utf8(key).ok()?).ok()?;
    let matches = certificate.parse_x509().ok()?.public_key().raw == key.subject_public_key_info();
    (!matches).then_some("tls: private key does not match public key")
}
