//! Roles that are put together from others, and bindings.

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::selector::LabelSelector;

const GROUP: &str = "rbac.authorization.k8s.io";

/// `ValidateClusterRole`, but for the policy rules.
pub(crate) fn cluster_role(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let rule = new.field("aggregationRule");
    let selectors = rule.field("clusterRoleSelectors");
    if rule.is_set() && selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(&selectors.path, detail));
    }
    for selector in selectors.items() {
        rules::label_selector(&selector, errors);
        if LabelSelector::from_object(Some(selector.value)).is_err() {
            errors.push(FieldError::invalid(&selector.path, serde_json::Value::Null, "invalid label selector."));
        }
    }
}

/// `ValidateRoleBinding`
pub(crate) fn role_binding(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    binding(new, &["Role", "ClusterRole"], true, errors);
}

/// `ValidateClusterRoleBinding`
pub(crate) fn cluster_role_binding(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    binding(new, &["ClusterRole"], false, errors);
}

fn binding(new: &At<'_>, kinds: &[&str], namespaced: bool, errors: &mut ErrorList) {
    let role = new.field("roleRef");
    supported(&role.field("apiGroup"), &[GROUP], errors);
    supported(&role.field("kind"), kinds, errors);
    let name = role.field("name");
    if rules::required(&name, errors) {
        rules::invalid_each(&name, names::path_segment(name.text()), errors);
    }
    for subject in new.field("subjects").items() {
        self::subject(&subject, namespaced, errors);
    }
}

/// A text that must be one of several, and is empty where it is absent.
fn supported(at: &At<'_>, values: &[&str], errors: &mut ErrorList) {
    if !values.contains(&at.text()) {
        errors.push(FieldError::not_supported(&at.path, at.text(), values));
    }
}

/// `ValidateRoleBindingSubject`
fn subject(at: &At<'_>, namespaced: bool, errors: &mut ErrorList) {
    let (name, kind, namespace) = (at.field("name"), at.field("kind"), at.field("namespace"));
    rules::required(&name, errors);
    match kind.text() {
        "ServiceAccount" => {
            if !name.is_empty() {
                rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
            }
            supported(&at.field("apiGroup"), &[""], errors);
            if !namespaced {
                rules::required(&namespace, errors);
            }
        }
        "User" | "Group" => supported(&at.field("apiGroup"), &[GROUP], errors),
        _ => supported(&kind, &["ServiceAccount", "User", "Group"], errors),
    }
}
