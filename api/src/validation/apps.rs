//! The workloads of `apps`: what their specs and their statuses have in common.

pub(crate) mod daemon_set;
pub(crate) mod deployment;
pub(crate) mod stateful_set;
pub(crate) mod status;

pub(crate) use daemon_set::daemon_set;
pub(crate) use deployment::{deployment, replica_set};
pub(crate) use stateful_set::stateful_set;
pub(crate) use status::{daemon_set_status, deployment_status, replica_set_status, stateful_set_status};

use super::at::At;
use super::{pod, rules};
use crate::field::{ErrorList, FieldError};
use crate::selector::LabelSelector;

/// A selector that must be there, be valid and not be empty.
fn selector(at: &At<'_>, kind: &str, errors: &mut ErrorList) {
    if at.is_absent() {
        errors.push(FieldError::required(&at.path, ""));
        return;
    }
    rules::label_selector(at, errors);
    empty_selector(at, kind, errors);
}

fn empty_selector(at: &At<'_>, kind: &str, errors: &mut ErrorList) {
    if at.is_set() && at.field("matchLabels").is_empty() && at.field("matchExpressions").is_empty() {
        let detail = format!("empty selector is invalid for {kind}");
        errors.push(rules::invalid_selector(at, detail));
    }
}

/// Whether a selector that can be parsed selects the labels of the template; none if it cannot be.
fn selects(selector: &At<'_>, template: &At<'_>) -> Option<bool> {
    let labels = template.at(&["metadata", "labels"]).value.as_object().cloned().unwrap_or_default();
    LabelSelector::from_object(Some(selector.value)).ok().map(|selector| selector.matches(&labels))
}

/// The selector of a set must select what its template makes; an empty one is told of elsewhere.
fn template_labels(selector: &At<'_>, template: &At<'_>, errors: &mut ErrorList) {
    let is_empty = selector.field("matchLabels").is_empty() && selector.field("matchExpressions").is_empty();
    if selector.is_set() && is_empty {
        return;
    }
    if selects(selector, template) == Some(false) {
        let labels = template.at(&["metadata", "labels"]);
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value.clone(), detail));
    }
}

/// `ValidatePodTemplateSpecForReplicaSet`
fn replica_template(selector: &At<'_>, template: &At<'_>, errors: &mut ErrorList) {
    template_labels(selector, template, errors);
    pod::template(template, errors);
    only_always(template, "ReplicaSet", errors);
}

fn only_always(template: &At<'_>, kind: &str, errors: &mut ErrorList) {
    let policy = template.at(&["spec", "restartPolicy"]);
    if policy.text() != "Always" {
        errors.push(FieldError::not_supported(&policy.path, policy.text(), &["Always"]));
    }
    let deadline = template.at(&["spec", "activeDeadlineSeconds"]);
    if deadline.is_set() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(&deadline.path, detail));
    }
}

/// `ValidateControllerRevisionCreate` and `ValidateControllerRevisionUpdate`
pub(crate) fn controller_revision(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    rules::nonnegative(&new.field("revision"), errors);
    let data = new.field("data");
    match old {
        Some(old) if data.value != old.field("data").value => {
            errors.push(FieldError::invalid(&data.path, data.value.clone(), rules::IMMUTABLE));
        }
        Some(_) => {}
        None if data.is_absent() => errors.push(FieldError::required(&data.path, "data is mandatory")),
        None if !data.value.is_object() => {
            errors.push(FieldError::required(&data.path, "data must be a valid JSON object"));
        }
        None => {}
    }
}
