//! Resource quotas.

use std::collections::BTreeSet;

use crate::field::{ErrorList, FieldError};
use crate::go::internal;
use crate::validation::at::At;
use crate::validation::pod::resources;
use crate::validation::rules::IMMUTABLE;

/// What a quota may count without a qualified name (`standardQuotaResources`).
const STANDARD: [&str; 18] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
];
const LOAD_BALANCERS: &str = "services.loadbalancers";
const PODS_AND_COMPUTE: [&str; 7] =
    ["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const CONFLICTS: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

/// `ValidateResourceQuota` and `ValidateResourceQuotaUpdate`
pub(crate) fn quota(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let hard = spec.field("hard");
    for (key, amount) in hard.entries() {
        resource(key, &amount, errors);
    }
    let limited: Vec<&str> = hard.entries().map(|(key, _)| key).filter(|key| is_standard(key)).collect();
    scopes(&spec.field("scopes"), &limited, errors);
    selector(&spec, &limited, errors);
    let Some(old) = old else { return };
    let set =
        |spec: &At<'_>| spec.field("scopes").items().map(|scope| scope.text().to_string()).collect::<BTreeSet<_>>();
    if set(&spec) != set(&old.field("spec")) {
        let at = spec.field("scopes");
        errors.push(FieldError::invalid(&at.path, at.value.clone(), IMMUTABLE));
    }
}

fn is_standard(key: &str) -> bool {
    STANDARD.contains(&key) || key == LOAD_BALANCERS || is_huge_pages(key)
}

fn is_huge_pages(key: &str) -> bool {
    key.strip_prefix("requests.").unwrap_or(key).starts_with("hugepages-")
}

/// `ValidateResourceQuotaResourceName` and `ValidateResourceQuantityValue`
fn resource(key: &str, amount: &At<'_>, errors: &mut ErrorList) {
    resources::any_name(key, &amount.path, errors);
    if !key.contains('/') && !is_standard(key) {
        errors.push(FieldError::invalid(&amount.path, key, "must be a standard resource for quota"));
    }
    resources::amount(key, amount, errors);
}

/// `ValidateResourceQuotaStatusUpdate`
pub(crate) fn status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    for list in new.field("status").fields(["hard", "used"]) {
        for (key, amount) in list.entries() {
            resource(key, &amount, errors);
        }
    }
}

fn is_scope(scope: &str) -> bool {
    applies(scope, "pods").is_some()
}

/// Whether a scope may limit a resource; nothing if it is no scope (`IsResourceQuotaScopeValidForResource`).
fn applies(scope: &str, resource: &str) -> Option<bool> {
    Some(match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            PODS_AND_COMPUTE.contains(&resource)
        }
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => return None,
    })
}

/// `validateResourceQuotaScopes`
fn scopes(at: &At<'_>, limited: &[&str], errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    for scope in at.items() {
        if !is_scope(scope.text()) {
            refuse("unsupported scope");
        }
        for _ in limited.iter().filter(|resource| applies(scope.text(), resource) == Some(false)) {
            refuse("unsupported scope applied to resource");
        }
        seen.insert(scope.text());
    }
    for _ in CONFLICTS.iter().filter(|pair| pair.iter().all(|scope| seen.contains(scope))) {
        refuse("conflicting scopes");
    }
}

/// `validateScopedResourceSelectorRequirement`, whose paths name no item.
fn selector(spec: &At<'_>, limited: &[&str], errors: &mut ErrorList) {
    const EXISTS_ONLY: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                               ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                               ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let at = spec.field("scopeSelector");
    let list = at.field("matchExpressions");
    let mut seen = BTreeSet::new();
    for item in list.items() {
        let (scope, operator, values) =
            (item.field("scopeName").text(), item.field("operator").text(), item.field("values"));
        if !is_scope(scope) {
            errors.push(FieldError::invalid(&list.path.child("scopeName"), scope, "unsupported scope"));
        }
        for _ in limited.iter().filter(|resource| applies(scope, resource) == Some(false)) {
            let detail = "unsupported scope applied to resource";
            let shown = internal::shown("core.ScopeSelector", at.value);
            errors.push(FieldError::invalid_text(&list.path, shown, detail));
        }
        let by_value = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if is_scope(scope) && !by_value && operator != "Exists" {
            errors.push(FieldError::invalid(&list.path.child("operator"), operator, EXISTS_ONLY));
        }
        let path = list.path.child("values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(FieldError::required(&path, detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(FieldError::invalid(&path, values.value.clone(), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let detail = "not a valid selector operator";
                errors.push(FieldError::invalid(&list.path.child("operator"), other, detail));
            }
        }
        seen.insert(scope);
    }
    for _ in CONFLICTS.iter().filter(|pair| pair.iter().all(|scope| seen.contains(scope))) {
        errors.push(FieldError::invalid(&list.path, spec.field("scopes").value.clone(), "conflicting scopes"));
    }
}
