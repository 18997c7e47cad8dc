//! What of a service may change.

use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;

use super::services::{is_headless, load_balancer_class};

const FIXED: &str = "may not change once set";

/// The checks that compare a service with the one before it.
pub(super) fn spec(spec: &At<'_>, before: &At<'_>, errors: &mut ErrorList) {
    let external = |spec: &At<'_>| spec.field("type").text() == "ExternalName";
    if !external(spec) && !external(before) {
        let (headless, was_headless) = (is_headless(spec), is_headless(before));
        if !headless || !was_headless {
            addresses(spec, before, errors);
        }
        if !headless && !was_headless {
            families(spec, before, errors);
        }
    }
    load_balancer_class(spec, Some(before), errors);
    let checked = |spec: &At<'_>| {
        spec.field("type").text() == "LoadBalancer" && spec.field("externalTrafficPolicy").text() == "Local"
    };
    let health = spec.field("healthCheckNodePort");
    if checked(spec) && checked(before) && health.value != before.field("healthCheckNodePort").value {
        errors.push(FieldError::forbidden(&health.path, "field is immutable"));
    }
}

fn text_at<'a>(list: &At<'a>, index: usize) -> Option<&'a str> {
    list.items().nth(index).map(|item| item.text())
}

/// What a release of the second address or family needs.
fn single_stack(spec: &At<'_>, what: &str, errors: &mut ErrorList) {
    let policy = spec.field("ipFamilyPolicy");
    if policy.text() != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.push(FieldError::invalid(&policy.path, policy.value.clone(), detail));
    }
}

/// `validateUpgradeDowngradeClusterIPs`
fn addresses(spec: &At<'_>, before: &At<'_>, errors: &mut ErrorList) {
    let (now, then) = (spec.field("clusterIPs"), before.field("clusterIPs"));
    let refuse = |index: usize, detail: &str| FieldError::invalid(&now.path.index(index), now.value.clone(), detail);
    if now.len() == then.len() {
        let pairs = now.items().zip(then.items()).enumerate();
        errors.extend(pairs.filter(|(_, (a, b))| a.value != b.value).map(|(index, _)| refuse(index, FIXED)));
        return;
    }
    let lost = now.len() < then.len();
    if lost && now.is_empty() {
        errors.push(refuse(0, "primary clusterIP can not be unset"));
    }
    if !now.is_empty() && !then.is_empty() && text_at(&now, 0) != text_at(&then, 0) {
        errors.push(refuse(0, FIXED));
    }
    if lost && now.len() == 1 {
        single_stack(spec, "clusterIP", errors);
    }
}

/// `validateUpgradeDowngradeIPFamilies`, which shows addresses where their number changes.
fn families(spec: &At<'_>, before: &At<'_>, errors: &mut ErrorList) {
    let (now, then) = (spec.field("ipFamilies"), before.field("ipFamilies"));
    let first = now.path.index(0);
    let addresses = spec.field("clusterIPs");
    if now.len() == then.len() {
        for _ in now.items().zip(then.items()).filter(|(a, b)| a.value != b.value) {
            errors.push(FieldError::invalid(&first, now.value.clone(), FIXED));
        }
        return;
    }
    let lost = now.len() < then.len();
    if lost && addresses.is_empty() {
        errors.push(FieldError::invalid(&first, now.value.clone(), "primary ipFamily can not be unset"));
    }
    if !now.is_empty() && !then.is_empty() && text_at(&now, 0) != text_at(&then, 0) {
        errors.push(FieldError::invalid(&first, addresses.value.clone(), FIXED));
    }
    if lost && now.len() == 1 {
        single_stack(spec, "ipFamily", errors);
    }
}
