//! Which resources there are: one row a group, version and plural, built in or from a custom resource definition.

mod builtin;
pub mod custom;
mod flags;
mod resource;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use builtin::columns;
pub use custom::PrinterColumn;
pub use flags::{Again, Flags, Generation, LabelError};
pub use resource::{Column, Resource, SelectableField, Subresource, version_order};

/// All resources that are served. Immutable: a change makes the next catalogue.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// In order of group, version and plural.
    rows: Vec<Arc<Resource>>,
    /// Places in `rows` in order of group, version and kind.
    kinds: Vec<u32>,
}

impl Catalogue {
    /// The resources of Kubernetes 1.36.
    pub fn builtin() -> Self {
        Self::default().with(builtin::rows().iter().cloned())
    }

    /// The resource of this group, version and plural.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        let key = (group, version, plural);
        self.rows.binary_search_by(|r| r.key_parts().cmp(&key)).ok().map(|i| &self.rows[i])
    }

    /// The resource whose objects are of this kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let key = (group, version, kind);
        let place = self.kinds.binary_search_by(|i| self.rows[*i as usize].kind_parts().cmp(&key)).ok()?;
        Some(&self.rows[self.kinds[place] as usize])
    }

    /// All resources in order of group, version and plural.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Resource>> {
        self.rows.iter()
    }

    /// The resources of one group and version in order of plural.
    pub fn of_version(&self, group: &str, version: &str) -> &[Arc<Resource>] {
        let key = (group, version);
        let start = self.rows.partition_point(|r| (r.group.as_str(), r.version.as_str()) < key);
        let end = self.rows.partition_point(|r| (r.group.as_str(), r.version.as_str()) <= key);
        &self.rows[start..end]
    }

    /// The versions of a group, the preferred one first; empty if the group is not served.
    pub fn versions(&self, group: &str) -> Vec<&str> {
        let start = self.rows.partition_point(|r| r.group.as_str() < group);
        let rows = self.rows[start..].iter().take_while(|r| r.group == group);
        let mut versions: Vec<&str> = rows.map(|r| r.version.as_str()).collect();
        versions.dedup();
        versions.sort_by(|a, b| version_order(a, b));
        versions
    }

    /// The groups in the order in which the reference lists them: the core group, the built-in ones by their
    /// priority, then those of custom resources by name.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = self.rows.iter().map(|r| r.group.as_str()).collect();
        groups.dedup();
        groups.sort_by_key(|group| builtin::group_place(group));
        groups
    }

    /// The storage row of a resource: the one of the version that its objects are stored in.
    pub fn storage(&self, resource: &Resource) -> Option<&Arc<Resource>> {
        self.get(&resource.storage_group, &resource.storage_version, &resource.plural)
    }

    /// A catalogue with these rows added; a row replaces the one of the same group, version and plural.
    #[must_use]
    pub fn with(&self, rows: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut next = self.rows.clone();
        for row in rows {
            match next.binary_search_by(|r| r.key_parts().cmp(&row.key_parts())) {
                Ok(place) => next[place] = row,
                Err(place) => next.insert(place, row),
            }
        }
        Self::of_rows(next)
    }

    /// A catalogue without the resources of this group and plural, in all versions.
    #[must_use]
    pub fn without(&self, group: &str, plural: &str) -> Self {
        let keep = self.rows.iter().filter(|r| r.group != group || r.plural != plural);
        Self::of_rows(keep.cloned().collect())
    }

    fn of_rows(rows: Vec<Arc<Resource>>) -> Self {
        let mut kinds: Vec<u32> = (0..rows.len() as u32).collect();
        kinds.sort_by(|a, b| rows[*a as usize].kind_parts().cmp(&rows[*b as usize].kind_parts()));
        Self { rows, kinds }
    }
}
