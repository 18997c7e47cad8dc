//! Files of configuration: JSON or YAML of a kind that no request can send, decoded strictly (`UniversalDecoder` of a
//! codec factory with `EnableStrict`).

use serde_json::Value;

use super::target::stated_kind;
use super::tree::Tree;
use super::{json, typed, yaml};
use crate::schema::Schema;

/// The largest file of configuration, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Why a file of configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// It is longer than any configuration is.
    #[error("configuration of {0} bytes: no more than {FILE_BYTES_MAX} are read")]
    TooLarge(usize),
    /// It is neither JSON nor YAML, or nothing says what it is.
    #[error("{0}")]
    Unreadable(String),
    /// It is of a kind that is no configuration.
    #[error("no kind {kind:?} is registered for version {version:?}")]
    Unknown {
        /// The kind that it states.
        kind: String,
        /// The group and version that it states.
        version: String,
    },
    /// It is of a kind of configuration that belongs elsewhere.
    #[error("expected {expected}, got {found}")]
    Other {
        /// The kind that is wanted.
        expected: String,
        /// The kind that it is of.
        found: String,
    },
    /// Fields that are unknown or given twice.
    #[error("strict decoding error: {0}")]
    Strict(String),
}

/// Decodes a file of configuration that must be of this kind, in any of its versions; the fields are those of the version
/// that it states, which is left out with the kind.
///
/// # Errors
/// [`ConfigurationError`]
pub fn configuration(file: &[u8], kind: &str) -> Result<Value, ConfigurationError> {
    let (value, strict) = configuration_in(file, kind, |_| true)?;
    if strict.is_empty() { Ok(value) } else { Err(ConfigurationError::Strict(strict.join(", "))) }
}

/// The same of kinds whose name is that of others too: it must be in one of the groups that are wanted. Fields that are
/// unknown or given twice are told beside it, for files that are not refused for them.
///
/// # Errors
/// [`ConfigurationError`], but never [`ConfigurationError::Strict`].
pub fn configuration_in(
    file: &[u8],
    kind: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<(Value, Vec<String>), ConfigurationError> {
    if file.len() > FILE_BYTES_MAX {
        return Err(ConfigurationError::TooLarge(file.len()));
    }
    let mut strict = Vec::new();
    let tree = parse(file, &mut strict).map_err(ConfigurationError::Unreadable)?;
    let (version, found) = stated_kind(&tree).map_err(ConfigurationError::Unreadable)?;
    let missing = |what: &str| {
        let text = String::from_utf8_lossy(file);
        ConfigurationError::Unreadable(format!("Object '{what}' is missing in '{text}'"))
    };
    if found.is_empty() {
        return Err(missing("Kind"));
    }
    if version.is_empty() {
        return Err(missing("apiVersion"));
    }
    let (group, bare) = version.split_once('/').unwrap_or(("", &version));
    let Some(schema) = Schema::configuration(group, bare, &found).filter(|_| wanted(group)) else {
        return Err(ConfigurationError::Unknown { kind: found, version });
    };
    if found != kind {
        return Err(ConfigurationError::Other { expected: kind.into(), found });
    }
    let mut value =
        typed::convert(tree, schema.root(), false, true, &mut strict).map_err(ConfigurationError::Unreadable)?;
    if let Value::Object(fields) = &mut value {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    without_nulls(&mut value);
    Ok((value, strict))
}

/// Takes out what Go prints of fields that were never set.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// JSON where it is JSON, for the sake of what is said of it; else YAML.
fn parse<'a>(file: &'a [u8], strict: &mut Vec<String>) -> Result<Tree<'a>, String> {
    if file.trim_ascii_start().starts_with(b"{") { json::parse(file) } else { yaml::parse(file, strict) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, expected: &str) {
        let found = configuration(file.as_bytes(), "AuthorizationConfiguration");
        let found = found.map_or_else(|error| error.to_string(), |value| value.to_string());
        assert!(found.contains(expected), "{file}: {found}");
    }

    /// The cases of `TestLoadFromData` in apiserver's `apis/apiserver/load`.
    #[test]
    fn files_are_decoded_strictly() {
        for version in ["v1", "v1beta1", "v1alpha1"] {
            let head =
                format!(r#""apiVersion":"apiserver.config.k8s.io/{version}","kind":"AuthorizationConfiguration""#);
            check(&format!(r#"{{{head},"authorizers":[{{"type":"Webhook"}}]}}"#), r#""type":"Webhook""#);
            check(&format!(r#"{{{head},"authorzers":[{{"type":"Webhook"}}]}}"#), r#"unknown field "authorzers""#);
        }
        let yaml =
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- type: RBAC\n";
        check(yaml, r#""type":"RBAC""#);
        check(&format!("{yaml}  type: Node\n"), "already set");
        check(r#"{"kind":"AuthorizationConfiguration"}"#, "'apiVersion' is missing");
        check(r#"{"apiVersion":"apiserver.config.k8s.io/v1alpha1"}"#, "'Kind' is missing");
        let unknown = r#"no kind "AuthorizationConfiguration" is registered for version "apps/v1alpha1""#;
        check(r#"{"apiVersion":"apps/v1alpha1","kind":"AuthorizationConfiguration"}"#, unknown);
        check(r#"{"apiVersion":"apiserver.config.k8s.io/v99","kind":"AuthorizationConfiguration"}"#, "/v99");
        check(r#"{"apiVersion":"apiserver.config.k8s.io/v1","kind":"SomeConfiguration"}"#, "SomeConfiguration");
        let other = r#"{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration"}"#;
        check(other, "expected AuthorizationConfiguration, got AuthenticationConfiguration");
        check("", "'Kind' is missing");
        check("{", "unexpected end of JSON input");
        check(&"x".repeat(FILE_BYTES_MAX + 1), "no more than 1048576 are read");
    }

    #[test]
    fn a_request_cannot_name_a_kind_of_configuration() {
        assert!(Schema::of("apiserver.config.k8s.io", "v1", "AuthorizationConfiguration").is_none());
    }
}
