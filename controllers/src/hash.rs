//! The short hashes that tell versions of a template apart; they equal the reference's, so that moving a cluster in or out
//! rolls nothing.

#[cfg(test)]
mod tests;

use api::go;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

use crate::error::Result;

/// Digits become these letters, so that a hash is no word (`SafeEncodeString` in apimachinery's rand).
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// The hash of a template; `collisions` makes another one when two templates collide (`ComputeHash` in pkg/controller).
///
/// # Errors
/// If the template cannot be written as JSON.
pub(crate) fn of_template(template: &PodTemplateSpec, collisions: Option<i32>) -> Result<String> {
    Ok(of_template_json(&serde_json::to_value(template)?, collisions))
}

fn of_template_json(template: &Value, collisions: Option<i32>) -> String {
    let mut bytes = go::dump_for_hash(go::POD_TEMPLATE, template).unwrap_or_default().into_bytes();
    if let Some(collisions) = collisions {
        // Eight bytes, of which four are used.
        bytes.extend_from_slice(&i64::from(collisions as u32).to_le_bytes());
    }
    safe(bytes.iter().fold(FNV_OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME)))
}

/// The patch that brings an owner back to `template`, as `kubectl rollout undo` applies it (`getPatch` of both controllers).
///
/// # Errors
/// If the template cannot be written as JSON.
pub(crate) fn revision_data(template: &PodTemplateSpec) -> Result<Value> {
    Ok(revision_data_json(&serde_json::to_value(template)?))
}

fn revision_data_json(template: &Value) -> Value {
    let mut template = go::marshal(go::POD_TEMPLATE, template).unwrap_or_default();
    template["$patch"] = "replace".into();
    json!({ "spec": { "template": template } })
}

/// The hash of what a revision holds (`HashControllerRevision` in pkg/controller/history).
pub(crate) fn of_revision(data: &Value, collisions: i32) -> String {
    let text = go::json_text(data) + &collisions.to_string();
    safe(text.bytes().fold(FNV_OFFSET, |hash, byte| hash.wrapping_mul(FNV_PRIME) ^ u32::from(byte)))
}

fn safe(sum: u32) -> String {
    sum.to_string().bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect()
}
