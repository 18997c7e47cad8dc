//! What is said to the service (`k8s.io/kms/apis/v2`), and what is stored (`EncryptedObject`).

use std::collections::BTreeMap;

use api::field::{FieldError, Path};
use api::names::{dns1123_label, dns1123_subdomain};
use prost::Message;

/// How much a service may want to be kept beside each value.
const ANNOTATIONS_BYTES_MAX: usize = 32 * 1024;
const KEY_ID_BYTES_MAX: usize = 1024;
const SOURCE_BYTES_MAX: usize = 1024;

/// The source of the key is the key.
pub(super) const KEY: i32 = 0;
/// The source of the key is a seed.
pub(super) const SEED: i32 = 1;

/// What is asked for with nothing.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusResponse {
    #[prost(string, tag = "1")]
    pub(super) version: String,
    #[prost(string, tag = "2")]
    pub(super) healthz: String,
    #[prost(string, tag = "3")]
    pub(super) key_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DecryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) key_id: String,
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub(super) annotations: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DecryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) plaintext: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EncryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) plaintext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EncryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) key_id: String,
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub(super) annotations: BTreeMap<String, Vec<u8>>,
}

/// A value as it is stored.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EncryptedObject {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) encrypted_data: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) key_id: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) source: Vec<u8>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub(super) annotations: BTreeMap<String, Vec<u8>>,
    #[prost(int32, tag = "5")]
    pub(super) source_type: i32,
}

impl EncryptedObject {
    /// `ValidateEncryptedObject`
    pub(super) fn validate(&self) -> Result<(), String> {
        if !matches!(self.source_type, KEY | SEED) {
            return Err(format!("unknown encryptedDEKSourceType: {}", self.source_type));
        }
        if self.encrypted_data.is_empty() {
            return Err("encrypted data is empty".into());
        }
        self.validate_template()
    }

    /// The same before anything is encrypted.
    pub(super) fn validate_template(&self) -> Result<(), String> {
        let (length, limit) = (self.source.len(), SOURCE_BYTES_MAX);
        let invalid = |error: String| format!("failed to validate encrypted DEK source: {error}");
        if length == 0 {
            return Err(invalid("encrypted DEK source is empty".into()));
        }
        if length > limit {
            return Err(invalid(format!(
                "encrypted DEK source is {length} bytes, which exceeds the max size of {limit}"
            )));
        }
        validate_key_id(&self.key_id).map_err(|(_, error)| format!("failed to validate key id: {error}"))?;
        validate_annotations(&self.annotations).map_err(|error| format!("failed to validate annotations: {error}"))
    }

    /// What the same seed always has, and another never (`generateCacheKey`).
    pub(super) fn cache_key(&self) -> Vec<u8> {
        let Self { key_id, source, annotations, source_type, .. } = self.clone();
        Self { encrypted_data: Vec::new(), key_id, source, annotations, source_type }.encode_to_vec()
    }
}

/// `ValidateKeyID`: the code under which it is counted, and what is wrong.
pub(super) fn validate_key_id(key_id: &str) -> Result<(), (&'static str, String)> {
    match key_id.len() {
        0 => Err(("empty", "keyID is empty".into())),
        length if length > KEY_ID_BYTES_MAX => {
            Err(("too_long", format!("keyID is {length} bytes, which exceeds the max size of {KEY_ID_BYTES_MAX}")))
        }
        _ => Ok(()),
    }
}

/// `IsFullyQualifiedDomainName`
fn not_a_domain(name: &str) -> Option<String> {
    let path = Path::new("annotations");
    if name.is_empty() {
        return Some(FieldError::required(&path, "").to_string());
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    let mut wrong = dns1123_subdomain(bare);
    if wrong.is_empty() && !bare.contains('.') {
        wrong.push("should be a domain with at least two segments separated by dots".into());
    }
    if wrong.is_empty() {
        wrong = bare.split('.').flat_map(dns1123_label).collect();
    }
    (!wrong.is_empty()).then(|| FieldError::invalid(&path, bare, wrong.join(",")).to_string())
}

fn validate_annotations(annotations: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let mut errors = Vec::new();
    let mut total = 0;
    for (name, value) in annotations {
        if let Some(error) = not_a_domain(name) {
            errors.push(error);
        }
        total += name.len() + value.len();
    }
    if total > ANNOTATIONS_BYTES_MAX {
        let limit = ANNOTATIONS_BYTES_MAX;
        errors.push(format!("total size of annotations is {total}, which exceeds the max size of {limit}"));
    }
    if errors.is_empty() { Ok(()) } else { Err(super::super::provider::aggregate(&errors)) }
}
