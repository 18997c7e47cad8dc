//! The fields that nobody owns: those that an endpoint ignores, and metadata that the server sets.

use std::sync::LazyLock;

use super::compare::Difference;
use super::set::{PathElement, Set};

/// The fields that a write through one endpoint does not touch, so that its manager does not own them.
#[derive(Debug, Clone, PartialEq)]
pub enum Reset {
    /// All but these.
    Exclude(Set),
    /// None but `status`.
    OnlyStatus,
}

type Row = (&'static str, &'static str, &'static str, &'static [&'static [&'static str]]);

const STATUS: &[&[&str]] = &[&["status"]];
const SPEC: &[&[&str]] = &[&["spec"]];
const METADATA_AND_SPEC: &[&[&str]] = &[&["metadata"], &["spec"]];
/// What is not `status` for the object itself and `spec` for its status: group, resource, subresource, fields.
const ROWS: &[Row] = &[
    ("", "namespaces", "finalize", STATUS),
    ("", "pods", "status", &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]),
    ("", "pods", "resize", STATUS),
    ("apps", "deployments", "status", &[&["spec"], &["metadata", "labels"]]),
    ("certificates.k8s.io", "certificatesigningrequests", "", &[&["spec"], &["status"]]),
    ("certificates.k8s.io", "certificatesigningrequests", "status", &[&["spec"], &["status", "conditions"]]),
    ("certificates.k8s.io", "certificatesigningrequests", "approval", &[&["spec"], &["status", "certificate"]]),
    ("apiextensions.k8s.io", "customresourcedefinitions", "status", METADATA_AND_SPEC),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", "status", METADATA_AND_SPEC),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "status", METADATA_AND_SPEC),
    ("internal.apiserver.k8s.io", "storageversions", "status", METADATA_AND_SPEC),
    ("networking.k8s.io", "servicecidrs", "status", METADATA_AND_SPEC),
    ("resource.k8s.io", "devicetaintrules", "status", METADATA_AND_SPEC),
    ("resource.k8s.io", "resourceclaims", "status", METADATA_AND_SPEC),
    ("resource.k8s.io", "resourcepoolstatusrequests", "status", METADATA_AND_SPEC),
    ("scheduling.k8s.io", "podgroups", "status", METADATA_AND_SPEC),
    ("storage.k8s.io", "volumeattachments", "status", METADATA_AND_SPEC),
    ("storagemigration.k8s.io", "storageversionmigrations", "status", METADATA_AND_SPEC),
];

impl Reset {
    /// The fields that an endpoint ignores. `has_status` is whether the resource has a status subresource.
    pub fn of(group: &str, resource: &str, subresource: &str, has_status: bool, custom: bool) -> Self {
        if custom && subresource == "status" {
            return Self::OnlyStatus;
        }
        let row = ROWS.iter().find(|(g, r, s, _)| *g == group && *r == resource && *s == subresource);
        let fields = match (row, subresource) {
            (Some((_, _, _, fields)), _) => fields,
            (None, "" | "ephemeralcontainers") if has_status => STATUS,
            (None, "status") => SPEC,
            _ => &[],
        };
        Self::Exclude(Set::of_fields(fields))
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
