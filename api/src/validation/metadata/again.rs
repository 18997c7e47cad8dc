//! What kinds check once more of metadata that the generic registry has checked already.

use super::{NameRule, has_core_finalizers, validate, validate_core_finalizers, validate_update};
use crate::Object;
use crate::field::ErrorList;

/// All that is wrong with the metadata of an object of a built-in kind that is updated: what the generic registry
/// checks, and then what the kind checks once more, so causes repeat as they do in the reference.
pub fn validate_kind_update(new: &Object, old: &Object, namespaced: bool, kind: (&str, &str, &str)) -> ErrorList {
    let mut errors = validate(new, namespaced, NameRule::PathSegment);
    let changes = validate_update(new, old);
    errors.extend(changes.iter().cloned());
    let (group, resource, subresource) = kind;
    let again = Again::of(group, resource, subresource);
    let finalizers = if has_core_finalizers(group) { validate_core_finalizers(new) } else { ErrorList::new() };
    if again.changes {
        errors.extend(changes);
        errors.extend(finalizers.iter().cloned());
    }
    if again.whole {
        errors.extend(validate(new, namespaced, NameRule::of(group, resource)));
        errors.extend(finalizers);
    }
    errors
}

/// What the rules of a kind check of the metadata once more when an object is updated.
struct Again {
    /// All that a new object must have (`ValidateObjectMeta`).
    whole: bool,
    /// What may not change (`ValidateObjectMetaUpdate`).
    changes: bool,
}

impl Again {
    fn of(group: &str, resource: &str, subresource: &str) -> Self {
        let (whole, changes) = match (group, resource, subresource) {
            ("policy", ..) | ("batch", "cronjobs", "status") | ("", "events", _) => (false, false),
            (
                "",
                "configmaps"
                | "secrets"
                | "serviceaccounts"
                | "endpoints"
                | "persistentvolumeclaims"
                | "pods"
                | "persistentvolumes"
                | "namespaces"
                | "nodes",
                "",
            )
            | ("storage.k8s.io", "csistoragecapacities", _)
            | ("node.k8s.io", "runtimeclasses", _)
            | ("resource.k8s.io", "resourceclaimtemplates" | "deviceclasses", _) => (true, true),
            ("batch", "jobs", "")
            | ("networking.k8s.io", "ingresses" | "ingressclasses" | "ipaddresses", "")
            | ("storage.k8s.io", "storageclasses" | "volumeattributesclasses", _)
            | ("apiregistration.k8s.io", "apiservices", "")
            | ("apps", "controllerrevisions", _)
            | ("rbac.authorization.k8s.io" | "certificates.k8s.io", ..)
            | ("resource.k8s.io", "resourceclaims", "") => (true, true),
            ("", "limitranges", _)
            | ("storage.k8s.io", "volumeattachments" | "csinodes", _)
            | ("flowcontrol.apiserver.k8s.io" | "admissionregistration.k8s.io" | "discovery.k8s.io", ..) => {
                (true, false)
            }
            _ => (false, true),
        };
        Self { whole, changes }
    }
}
