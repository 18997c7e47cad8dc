//! Ingress classes, and the objects that share out the addresses of services.

use super::at::At;
use super::{addresses, rules};
use crate::field::{ErrorList, FieldError};
use crate::names;

const CONTROLLER_LENGTH_MAX: usize = 250;

/// `ValidateIngressClass` and `ValidateIngressClassUpdate`
pub(crate) fn ingress_class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let controller = spec.field("controller");
    if old.is_some_and(|old| old.at(&["spec", "controller"]).text() != controller.text()) {
        errors.push(FieldError::invalid(&controller.path, controller.text(), rules::IMMUTABLE));
    }
    if controller.text().len() > CONTROLLER_LENGTH_MAX {
        errors.push(FieldError::too_long(&controller.path, CONTROLLER_LENGTH_MAX));
    }
    rules::domain_prefixed_path(&controller, errors);
    parameters(&spec.field("parameters"), errors);
}

fn parameters(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    let (group, scope, namespace) = (at.field("apiGroup"), at.field("scope"), at.field("namespace"));
    if group.is_set() {
        rules::invalid_each(&group, names::dns1123_subdomain(group.text()), errors);
    }
    for field in at.fields(["kind", "name"]) {
        path_segment(&field, errors);
    }
    match scope.text() {
        _ if scope.is_absent() => errors.push(FieldError::required(&scope.path, "")),
        "Namespace" if namespace.is_absent() => {
            let detail = "`parameters.scope` is set to 'Namespace'";
            errors.push(FieldError::required(&namespace.path, detail));
        }
        "Namespace" => rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors),
        "Cluster" if namespace.is_set() => {
            errors.push(FieldError::forbidden(&namespace.path, "`parameters.scope` is set to 'Cluster'"));
        }
        "Cluster" => {}
        other => errors.push(FieldError::not_supported(&scope.path, other, &["Cluster", "Namespace"])),
    }
}

/// A name that must be there and may stand in a path.
fn path_segment(at: &At<'_>, errors: &mut ErrorList) {
    if rules::required(at, errors) {
        rules::invalid_each(at, names::path_segment(at.text()), errors);
    }
}

/// `ValidateIPAddress` and `ValidateIPAddressUpdate`
pub(crate) fn ip_address(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let parent = new.at(&["spec", "parentRef"]);
    if parent.is_absent() {
        errors.push(FieldError::required(&parent.path, ""));
    } else {
        self::parent(&parent, errors);
    }
    if old.is_some_and(|old| old.at(&["spec", "parentRef"]).value != parent.value) {
        errors.push(rules::invalid_as(&parent, "*networking.ParentReference", rules::IMMUTABLE));
    }
}

/// `validateIPAddressParentReference`
fn parent(parent: &At<'_>, errors: &mut ErrorList) {
    let (group, namespace) = (parent.field("group"), parent.field("namespace"));
    if !group.is_empty() {
        rules::invalid_each(&group, names::dns1123_subdomain(group.text()), errors);
    }
    path_segment(&parent.field("resource"), errors);
    path_segment(&parent.field("name"), errors);
    if !namespace.is_empty() {
        rules::invalid_each(&namespace, names::path_segment(namespace.text()), errors);
    }
}

/// `ValidateServiceCIDR` and `ValidateServiceCIDRUpdate`
pub(crate) fn service_cidr(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let ranges = new.at(&["spec", "cidrs"]);
    let Some(before) = old.map(|old| old.at(&["spec", "cidrs"])) else {
        return self::ranges(&ranges, errors);
    };
    let widened = before.len() == 1 && ranges.len() == 2;
    if before.len() != ranges.len() && !widened {
        errors.push(FieldError::invalid(&ranges.path, ranges.value.clone(), rules::IMMUTABLE));
        return;
    }
    for (then, now) in before.items().zip(ranges.items()) {
        rules::immutable(&now, &then, errors);
    }
    if widened {
        self::ranges(&ranges, errors);
    }
}

/// `validateServiceCIDRSpec`
fn ranges(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_empty() {
        errors.push(FieldError::required(&at.path, "at least one CIDR required"));
        return;
    }
    if at.len() > 2 {
        let shown = serde_json::json!({"CIDRs": at.value});
        errors.push(FieldError::invalid(&at.path, shown, "may only hold up to 2 values"));
        return;
    }
    for range in at.items() {
        addresses::range(&range, errors);
    }
    let families: Vec<bool> =
        at.items().filter_map(|range| addresses::parse_range(range.text())).map(|net| net.addr().is_ipv4()).collect();
    if let [first, second] = families.as_slice()
        && first == second
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}
