//! One row of the catalogue.

use std::cmp::{Ordering, Reverse};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::PrinterColumn;
use super::flags::{Flags, LabelError};
use crate::Object;
use crate::kinds::Kind;
use crate::schema::Schema;

/// One resource of one version.
#[derive(Debug, Clone, Default)]
pub struct Resource {
    /// The API group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The name in paths.
    pub plural: String,
    /// The singular name.
    pub singular: String,
    /// The kind of its objects.
    pub kind: String,
    /// The kind of its lists; empty if it cannot be listed.
    pub list_kind: String,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// What can be done with it, in the reference's order.
    pub verbs: Vec<String>,
    /// Short names for people.
    pub short_names: Vec<String>,
    /// Categories such as `all`.
    pub categories: Vec<String>,
    /// Its subresources in order of name.
    pub subresources: Vec<Subresource>,
    /// The group that its objects are stored under (that of another group for events).
    pub storage_group: String,
    /// The version that its objects are stored in.
    pub storage_version: String,
    /// The hash of the storage version that discovery shows; empty if objects are not stored.
    pub storage_version_hash: String,
    /// The type of its objects.
    pub schema: Schema,
    /// Whether it comes from a custom resource definition.
    pub custom: bool,
    /// What sets its kind apart in the generic registry.
    pub flags: Flags,
    /// What its kind does about its own objects.
    pub functions: &'static Kind,
    /// What field selectors may name beside `metadata.name` and `metadata.namespace`.
    pub selectable: Vec<SelectableField>,
    /// The columns that the definition of a custom resource adds to tables.
    pub printer_columns: Vec<PrinterColumn>,
    /// What the definition of a custom resource says beyond this row.
    pub definition: Option<crate::crd::Definition>,
}

/// One subresource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subresource {
    /// Its name, such as `status`.
    pub name: String,
    /// The group of its kind.
    pub group: String,
    /// The version of its kind; empty if it is that of the resource (as discovery then leaves it out).
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

/// A field that a field selector may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectableField {
    /// The name in the selector.
    pub label: String,
    /// Where its value is in the stored object; of several the first that is not empty counts.
    pub paths: Vec<Vec<String>>,
    /// What an absent value counts as: nothing, `false` or `0`.
    pub zero: &'static str,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Its type.
    pub kind: &'static str,
    /// Its format.
    pub format: &'static str,
    /// Zero if it is always shown.
    pub priority: i64,
}

impl Resource {
    /// `group/version`, or the version alone for core.
    pub fn api_version(&self) -> String {
        join(&self.group, &self.version)
    }

    /// The `apiVersion` that stored objects have.
    pub fn storage_api_version(&self) -> String {
        join(&self.storage_group, &self.storage_version)
    }

    /// Whether objects are stored at all (reviews are not).
    pub fn stored(&self) -> bool {
        !self.storage_version.is_empty()
    }

    /// Whether the status is for the status subresource alone.
    pub fn separates_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Whether it has this verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// The subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// The name for error messages: `plural` or `plural.group`.
    pub fn qualified_name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The stored key of an object; the namespace is not used for a cluster-scoped resource.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        let mut key = self.prefix(namespace);
        key.push_str(name);
        key
    }

    /// What the keys of all objects in a namespace start with, or of all objects if it is empty. Ends in a slash.
    pub fn prefix(&self, namespace: &str) -> String {
        let mut key = String::with_capacity(64);
        key.push_str("/registry/");
        if !self.storage_group.is_empty() {
            key.push_str(&self.storage_group);
            key.push('/');
        }
        key.push_str(&self.plural);
        key.push('/');
        if self.namespaced && !namespace.is_empty() {
            key.push_str(namespace);
            key.push('/');
        }
        key
    }

    /// The namespace (empty for a cluster-scoped resource) and name in a stored key.
    pub fn split_key<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = key.strip_prefix(self.prefix("").as_str())?;
        if self.namespaced { rest.split_once('/') } else { Some(("", rest)) }
    }

    /// Whether a field selector may name this field.
    pub fn is_selectable(&self, label: &str) -> bool {
        match label {
            "metadata.name" => true,
            // The cluster-scoped kinds that name fields of their own do not have it, and no custom one does.
            "metadata.namespace" => self.namespaced || (!self.custom && self.selectable.is_empty()),
            _ => self.selectable.iter().any(|f| f.label == label),
        }
    }

    /// What a client is told that selects by a field that cannot be selected by, in the words of the reference's conversion of
    /// field labels (`addConversionFuncs`).
    pub fn unselectable(&self, label: &str) -> String {
        match self.flags.label_error {
            LabelError::Kind => format!("field label {label:?} not supported for {}", self.kind),
            LabelError::Type => {
                format!("field label not supported for {}, Kind={}: {label}", self.api_version(), self.kind)
            }
            LabelError::Plain if self.custom || !self.selectable.is_empty() => {
                format!("field label not supported: {label}")
            }
            LabelError::Plain => {
                format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            }
        }
    }

    /// The value of a selectable field of a stored object; none if the field is not selectable.
    pub fn field_value(&self, label: &str, object: &Object) -> Option<String> {
        match label {
            "metadata.name" => return Some(object.name().to_string()),
            "metadata.namespace" => return Some(object.namespace().to_string()),
            _ => {}
        }
        let field = self.selectable.iter().find(|f| f.label == label)?;
        for path in &field.paths {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            match object.at(&names) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) if text.is_empty() => {}
                Some(Value::String(text)) => return Some(text.clone()),
                Some(other) => return Some(other.to_string()),
            }
        }
        Some(field.zero.to_string())
    }

    pub(super) fn key_parts(&self) -> (&str, &str, &str) {
        (&self.group, &self.version, &self.plural)
    }

    pub(super) fn kind_parts(&self) -> (&str, &str, &str) {
        (&self.group, &self.version, &self.kind)
    }

    /// The hash that discovery shows of a storage version (`discovery.StorageVersionHash`).
    pub fn storage_hash(group: &str, version: &str, kind: &str) -> String {
        let digest = Sha256::digest(format!("{group}/{version}/{kind}"));
        STANDARD.encode(&digest[..8])
    }
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_string() } else { format!("{group}/{version}") }
}

/// The order of versions in a group: stable before beta before alpha, each by falling number, then all others
/// by name (`version.CompareKubeAwareVersionStrings` turned round).
pub fn version_order(a: &str, b: &str) -> Ordering {
    match (parse_version(a), parse_version(b)) {
        (Some(a), Some(b)) => Reverse(a).cmp(&Reverse(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability (3 stable, 2 beta, 1 alpha), major and minor.
fn parse_version(text: &str) -> Option<(u8, u64, u64)> {
    let rest = text.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..end].parse().ok()?;
    let (stability, minor) = match &rest[end..] {
        "" => return Some((3, major, 0)),
        tail if tail.starts_with("beta") => (2, &tail[4..]),
        tail if tail.starts_with("alpha") => (1, &tail[5..]),
        _ => return None,
    };
    Some((stability, major, minor.parse().ok()?))
}
