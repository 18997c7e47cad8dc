//! From the bytes of a request to an [`Object`]: JSON and YAML (protobuf is in [`crate::protobuf`]), checked against the
//! kind's schema and brought into the shape in which the reference would print it.
//!
//! For a built-in kind this reproduces what decoding into Go's structs does: wrong types are errors in the wording of
//! `encoding/json`, unknown fields are dropped (and told of in strict mode), nulls count as absent, quantities and
//! times become canonical, fields that Go always prints are there and fields that it omits when empty are not.
//! An object of a custom resource keeps its types as they are (its schema validates them later) and loses what the
//! schema does not name.

mod configuration;
pub(crate) mod json;
mod prune;
mod quantities;
mod repeated;
mod shape;
mod target;
#[cfg(test)]
mod tests;
mod tree;
pub(crate) mod typed;
pub(crate) mod yaml;

use serde_json::Value;

use crate::{Object, Status};

pub use configuration::{ConfigurationError, configuration, configuration_in};
pub use prune::prune;
pub use quantities::canonical_quantities;
pub(crate) use repeated::findings;
pub(crate) use shape::{fields_shape, is_omitted, is_zero, zero, zero_item};
pub use shape::{forget_empty_lists, normalise, normalise_metadata, without_empty_lists, zero_value};
pub use target::Target;
use target::stated_kind;
pub(crate) use target::stated_target;
pub(crate) use tree::Tree;

/// Bodies longer than this are refused (`MaxRequestBodyBytes`).
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// What happens to fields that are unknown or given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped and the client is warned.
    #[default]
    Warn,
    /// They are an error.
    Strict,
}

impl FieldValidation {
    /// From the query parameter; empty means the default, `Warn`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "Ignore" => Self::Ignore,
            "" | "Warn" => Self::Warn,
            "Strict" => Self::Strict,
            _ => return None,
        })
    }
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Format {
    /// From a content type, with or without parameters; empty means JSON.
    pub fn of_content_type(text: &str) -> Option<Self> {
        match text.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "" | "application/json" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// A decoded object and what strict decoding found in it (with [`FieldValidation::Warn`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object; its `apiVersion` and `kind` are set.
    pub object: Object,
    /// Warnings for the client.
    pub warnings: Vec<String>,
}

/// Why a body cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is longer than [`BODY_BYTES_MAX`].
    #[error("Request entity too large: limit is {BODY_BYTES_MAX}")]
    TooLarge,
    /// Not even its kind can be read.
    #[error("the object provided is unrecognized (must be of type {expected}): {why} ({summary})")]
    Unrecognized {
        /// The kind that was expected.
        expected: String,
        /// What is wrong.
        why: String,
        /// The beginning of the body.
        summary: String,
    },
    /// Its kind is known and something in it is wrong.
    #[error("{kind} in version {version:?} cannot be handled as a {expected}: {why}")]
    Malformed {
        /// The kind it states.
        kind: String,
        /// The version it states.
        version: String,
        /// The kind that was expected.
        expected: String,
        /// What is wrong.
        why: String,
    },
    /// It is of another version of the kind.
    #[error("the API version in the data ({stated}) does not match the expected API version ({expected})")]
    OtherVersion {
        /// The group and version it states.
        stated: String,
        /// Those that were expected.
        expected: String,
    },
}

impl DecodeError {
    /// What is wrong, without what was expected.
    #[must_use]
    pub fn why(self) -> String {
        match self {
            Self::Unrecognized { why, .. } | Self::Malformed { why, .. } => why,
            other => other.to_string(),
        }
    }
}

impl From<DecodeError> for Status {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLarge => Self::failure(413, "RequestEntityTooLarge", error.to_string()),
            _ => Self::failure(400, "BadRequest", error.to_string()),
        }
    }
}

/// Decodes a body into an object of the target's kind.
///
/// # Errors
/// [`DecodeError`], which becomes a [`Status`].
pub fn decode(
    body: &[u8],
    format: Format,
    target: &Target,
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(DecodeError::TooLarge);
    }
    let mut strict = Vec::new();
    let tree = match format {
        Format::Json => json::parse(body).map_err(|e| format!("couldn't get version/kind; json parse error: {e}")),
        Format::Yaml => yaml::parse(body, &mut strict),
        Format::Protobuf => return crate::protobuf::decode_body(body, target),
    };
    let tree = tree.map_err(|why| unrecognized(target, why, body))?;
    decode_tree(tree, strict, target, validation, body)
}

/// Decodes a tree that was made here, such as a patched object, as [`decode`] would its JSON.
///
/// # Errors
/// [`DecodeError`], which becomes a [`Status`].
pub fn decode_value(value: Value, target: &Target, validation: FieldValidation) -> Result<Decoded, DecodeError> {
    decode_tree(Tree::from(value), Vec::new(), target, validation, b"")
}

/// Reads JSON or YAML as a tree without a schema (patches, applied configurations).
///
/// # Errors
/// The parser's message, in the reference's words for JSON.
pub fn decode_untyped(body: &[u8], format: Format) -> Result<Value, String> {
    let tree = match format {
        Format::Json => json::parse(body)?,
        Format::Yaml => yaml::parse(body, &mut Vec::new())?,
        Format::Protobuf => return Err("protobuf has no form without a schema".to_string()),
    };
    tree.into_value()
}

/// The last entry of a name in a tree's map.
fn entry<'t, 'a>(tree: &'t Tree<'a>, name: &str) -> Option<&'t Tree<'a>> {
    let Tree::Object(entries) = tree else { return None };
    entries.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Whether `metadata.managedFields` is an empty list, which asks to drop them all. Go tells it from no list.
pub(crate) fn states_no_managers(tree: &Tree) -> bool {
    let metadata = entry(tree, "metadata").and_then(|metadata| entry(metadata, "managedFields"));
    matches!(metadata, Some(Tree::Array(items)) if items.is_empty())
}

/// Findings of strict decoding as warnings, one each.
pub(crate) fn as_warnings(findings: Vec<String>) -> Vec<String> {
    let lines = |finding: String| match finding.strip_prefix(yaml::REPEATED_KEYS) {
        Some(lines) => lines.lines().map(|line| line.trim().to_string()).collect(),
        None => vec![finding],
    };
    findings.into_iter().flat_map(lines).collect()
}

fn decode_tree(
    tree: Tree<'_>,
    mut strict: Vec<String>,
    target: &Target,
    validation: FieldValidation,
    body: &[u8],
) -> Result<Decoded, DecodeError> {
    let stated = stated_kind(&tree).map_err(|why| unrecognized(target, why, body))?;
    let (kind, api_version) = stated_target(stated, target, body)?;
    let version = api_version.rsplit('/').next().unwrap_or("").to_string();
    let malformed = |why: String| DecodeError::Malformed {
        kind: kind.clone(),
        version: version.clone(),
        expected: target.kind.clone(),
        why,
    };
    let is_strict = validation != FieldValidation::Ignore;
    let resets_managers = states_no_managers(&tree);
    if target.custom && is_strict {
        strict.extend(findings(&tree, &[]));
    }
    let told = strict.len();
    let value = typed::convert(tree, target.schema.root(), target.custom, is_strict, &mut strict).map_err(malformed)?;
    let mut object = Object::from_value(value).expect("a struct converts to an object");
    if target.custom {
        in_custom_order(&mut strict[told..]);
    }
    if resets_managers {
        object.set(&["metadata", "managedFields"], Value::Array(Vec::new()));
    }
    if !strict.is_empty() && validation == FieldValidation::Strict {
        return Err(malformed(format!("strict decoding error: {}", strict.join(", "))));
    }
    let strict = if is_strict { as_warnings(strict) } else { Vec::new() };
    let wanted = target.api_version();
    if api_version != wanted && !target.is_in_every_group() && !target.is_accepted_as(&api_version) {
        return Err(DecodeError::OtherVersion { stated: api_version, expected: wanted });
    }
    object.0.insert("apiVersion".into(), if target.is_in_every_group() { api_version } else { wanted }.into());
    object.0.insert("kind".into(), kind.into());
    Ok(Decoded { object, warnings: strict })
}

/// Unknown fields of a custom object are told in another order: those of its metadata, which is decoded by itself, then
/// those that its schema does not name, then those of the metadata of objects in it
/// (`unstructuredSchemaCoercer.apply`). The last two are sorted.
fn in_custom_order(unknown: &mut [String]) {
    // A JSON map has its keys in order of name when it is decoded into metadata.
    let rank = |text: &str| match text.strip_prefix("unknown field \"") {
        Some(path) if path.starts_with("metadata.") => 0,
        Some(path) if path.contains(".metadata.") => 2,
        _ => 1,
    };
    unknown.sort_by_cached_key(|text| (rank(text), text.clone()));
}

fn unrecognized(target: &Target, why: String, body: &[u8]) -> DecodeError {
    DecodeError::Unrecognized { expected: target.kind.clone(), why, summary: summary(body) }
}

/// Whether YAML without quotes reads as this text.
pub(crate) fn reads_as_text(text: &str) -> bool {
    yaml::is_text(text)
}

/// The beginning of a body for a message (`summarizeData` with 30 bytes).
pub(crate) fn summary(body: &[u8]) -> String {
    const SUMMARY_BYTES_MAX: usize = 30;
    if body.is_empty() {
        return "<empty>".to_string();
    }
    if body[0] == b'{' {
        let end = body.len().min(SUMMARY_BYTES_MAX);
        let more = if body.len() > SUMMARY_BYTES_MAX { " ..." } else { "" };
        return format!("{}{more}", String::from_utf8_lossy(&body[..end]));
    }
    if body.len() > SUMMARY_BYTES_MAX {
        let head: String = body[..SUMMARY_BYTES_MAX].iter().map(|b| format!("{b:02x}")).collect();
        return format!("{head} ...");
    }
    body.iter().map(|b| format!("{b:02x}")).collect()
}
