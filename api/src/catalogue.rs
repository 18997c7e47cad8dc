//! The catalogue: one row a resource that is served.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One resource in one version.
#[derive(Debug, Clone, Default)]
pub struct Resource {
    /// The group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// `pods`
    pub plural: String,
    /// `pod`
    pub singular: String,
    /// `Pod`
    pub kind: String,
    /// `PodList`
    pub list_kind: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// What may be done.
    pub verbs: Vec<String>,
    /// `po`
    pub short_names: Vec<String>,
    /// `all`
    pub categories: Vec<String>,
    /// `status`, `scale`, …
    pub subresources: Vec<Subresource>,
    /// The version in which objects are stored.
    pub storage_version: String,
    /// Whether a custom resource definition made this row.
    pub custom: bool,
}

/// One subresource.
#[derive(Debug, Clone, Default)]
pub struct Subresource {
    /// `scale`
    pub name: String,
    /// The group of its kind.
    pub group: String,
    /// The version of its kind.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// What may be done.
    pub verbs: Vec<String>,
}

/// All rows: an immutable value.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    rows: BTreeMap<(String, String, String), Arc<Resource>>,
}

impl Catalogue {
    /// A resource by group, version and plural.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.rows.get(&(group.to_string(), version.to_string(), plural.to_string()))
    }

    /// Every row.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.rows.values()
    }
}
