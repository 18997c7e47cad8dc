//! The approval that the groups of the Kubernetes community need.

use crate::Object;
use crate::field::{ErrorList, FieldError, Path};

const ANNOTATION: &str = "api-approved.kubernetes.io";
const LINK: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// What the annotation of a definition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::crd) enum Approval {
    /// There is none.
    Missing,
    /// It begins with `unapproved`.
    Bypassed,
    /// It is the address of an approval.
    Given,
    /// It is something else.
    Invalid,
}

impl Approval {
    /// The status and reason of the condition that tells of it.
    pub(in crate::crd) fn condition(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => ("False", "MissingAnnotation"),
            Self::Bypassed => ("False", "UnapprovedAnnotation"),
            Self::Given => ("True", "ApprovedAnnotation"),
            Self::Invalid => ("False", "InvalidAnnotation"),
        }
    }
}

/// The approval of a definition, in words too; none if its group needs none (`GetAPIApprovalState` in apihelpers).
pub(in crate::crd) fn of(definition: &Object) -> Option<(Approval, String)> {
    let group = definition.str_at(&["spec", "group"]);
    let is_below = |domain: &str| group == domain || group.strip_suffix(domain).is_some_and(|g| g.ends_with('.'));
    if !is_below("k8s.io") && !is_below("kubernetes.io") {
        return None;
    }
    let value = definition.str_at(&["metadata", "annotations", ANNOTATION]);
    let is_address = value.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or("");
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !host.is_empty()
    });
    let asked = format!("protected groups must have approval annotation {ANNOTATION:?}");
    Some(if value.is_empty() {
        (Approval::Missing, format!("{asked}, {LINK}"))
    } else if value.starts_with("unapproved") {
        (Approval::Bypassed, format!("not approved: {value:?}"))
    } else if is_address {
        (Approval::Given, format!("approved in {value}"))
    } else {
        let why = format!("{asked} with either a URL or a reason starting with \"unapproved\", {LINK}");
        (Approval::Invalid, why)
    })
}

pub(super) fn validate(definition: &Object, old: Option<&Object>, errors: &mut ErrorList) {
    let value = |object: &Object| object.str_at(&["metadata", "annotations", ANNOTATION]).to_string();
    let new = value(definition);
    if old.is_some_and(|old| value(old) == new) {
        return;
    }
    let path = Path::new("metadata.annotations").key(ANNOTATION);
    match of(definition) {
        Some((Approval::Missing, why)) => errors.push(FieldError::required(&path, why)),
        Some((Approval::Invalid, why)) => errors.push(FieldError::invalid(&path, new, why)),
        _ => {}
    }
}
