//! The fields that nobody owns: those that an endpoint ignores, and metadata that the server sets.

use std::sync::LazyLock;

use super::compare::Difference;
use super::set::{PathElement, Set};
use crate::catalogue::Flags;

/// The fields that a write through one endpoint does not touch, so that its manager does not own them.
#[derive(Debug, Clone, PartialEq)]
pub enum Reset {
    /// All but these.
    Exclude(Set),
    /// None but `status`.
    OnlyStatus,
}

const STATUS: &[&[&str]] = &[&["status"]];
const SPEC: &[&[&str]] = &[&["spec"]];

impl Reset {
    /// The fields that an endpoint ignores. `has_status` is whether the resource has a status subresource.
    pub fn of(flags: &Flags, subresource: &str, has_status: bool) -> Self {
        if flags.status_alone && subresource == "status" {
            return Self::OnlyStatus;
        }
        if let Some((_, fields)) = flags.reset.iter().find(|(name, _)| *name == subresource) {
            let fields: Vec<&[&str]> = fields.iter().map(Vec::as_slice).collect();
            return Self::Exclude(Set::of_fields(&fields));
        }
        Self::Exclude(Set::of_fields(match subresource {
            "" | "ephemeralcontainers" if has_status => STATUS,
            "status" => SPEC,
            _ => &[],
        }))
    }

    pub(super) fn filter(&self, mut set: Set) -> Set {
        match self {
            Self::Exclude(fields) => {
                set.subtract_recursively(fields);
                set
            }
            Self::OnlyStatus => {
                let status = PathElement::field("status");
                Set { nodes: set.nodes.into_iter().filter(|node| node.element == status).collect() }
            }
        }
    }

    pub(super) fn filter_difference(&self, difference: Difference) -> Difference {
        match self {
            Self::Exclude(fields) => difference.without(fields),
            Self::OnlyStatus => Difference {
                added: self.filter(difference.added),
                removed: self.filter(difference.removed),
                modified: self.filter(difference.modified),
                untyped: difference.untyped,
            },
        }
    }
}

/// What no manager owns, whoever writes it.
pub(super) fn never_owned() -> &'static Set {
    static SET: LazyLock<Set> = LazyLock::new(|| Set::of_fields(NEVER_OWNED));
    &SET
}

const NEVER_OWNED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];
