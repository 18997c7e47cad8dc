//! Amounts that containers and pods ask for, and the names of resources.

use std::collections::BTreeSet;

use super::scope::Scope;
use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::pods::{self, ContainerView, Half};
use crate::quantity::Quantity;
use crate::resources::ResourceList;
use crate::validation::at::At;
use crate::validation::rules;

/// Resources that need no prefix (`standardResources`).
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
/// Resources that are counted in whole numbers (`integerResources`).
const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const HUGE_PAGES: &str = "hugepages-";

fn is_huge(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// `IsExtendedResourceName`
pub fn is_extended(name: &str) -> bool {
    let for_quota = format!("requests.{name}");
    !is_native(name) && !name.starts_with("requests.") && names::label_key(&for_quota).is_empty()
}

/// Whether more may be asked for than there is (`IsOvercommitAllowed`).
pub(crate) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge(name)
}

/// `validateResourceName`
pub(crate) fn any_name(name: &str, path: &Path, errors: &mut ErrorList) -> bool {
    let mut messages = names::label_key(name);
    let is_standard = STANDARD.contains(&name) || is_huge(name.strip_prefix("requests.").unwrap_or(name));
    if messages.is_empty() && !name.contains('/') && !is_standard {
        messages.push("must be a standard resource type or fully qualified".into());
    }
    let fine = messages.is_empty();
    errors.extend(messages.into_iter().map(|message| FieldError::invalid(path, name, message)));
    fine
}

/// `validateContainerResourceName`
pub(crate) fn resource_name(name: &str, path: &Path, errors: &mut ErrorList) {
    any_name(name, path, errors);
    let fits = matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge(name);
    if !name.contains('/') && !fits {
        errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
    } else if !is_native(name) && !is_extended(name) {
        errors.push(FieldError::invalid(path, name, "doesn't follow extended resource name standard"));
    }
}

/// `ValidateResourceQuantityValue`
pub(crate) fn amount(name: &str, at: &At<'_>, errors: &mut ErrorList) {
    rules::nonnegative_quantity(at, errors);
    let is_whole = WHOLE.contains(&name) || is_extended(name);
    if is_whole && rules::quantity(at).is_some_and(|quantity| quantity.overflowing_milli_value() % 1000 != 0) {
        errors.push(FieldError::invalid(&at.path, rules::quantity_text(at), "must be an integer"));
    }
}

fn divides(name: &str, quantity: &Quantity) -> bool {
    let size = name.strip_prefix(HUGE_PAGES).and_then(|size| Quantity::parse(size).ok());
    size.is_some_and(|size| {
        let is_whole = size.sign() > 0 && size.overflowing_milli_value() % 1000 == 0;
        is_whole && quantity.overflowing_value().checked_rem(size.overflowing_value()) == Some(0)
    })
}

/// One amount, with the rules of its name.
fn entry(name: &str, at: &At<'_>, check: NameCheck, errors: &mut ErrorList) {
    check(name, &at.path, errors);
    amount(name, at, errors);
    if let Some(quantity) = rules::quantity(at).filter(|quantity| is_huge(name) && !divides(name, quantity)) {
        let detail = format!("{quantity} is not positive integer multiple of {name}");
        errors.push(FieldError::invalid(&at.path, quantity.to_string(), detail));
    }
}

type NameCheck = fn(&str, &Path, &mut ErrorList);

/// `ValidateContainerResourceRequirements`
pub(crate) fn requirements(at: &At<'_>, errors: &mut ErrorList) {
    checked(at, resource_name, errors);
}

/// Amounts that are limits and nothing else, as the overhead of a pod (`validateOverhead`).
pub(crate) fn limits(at: &At<'_>, errors: &mut ErrorList) {
    let limits = at.moved(at.path.child("limits"));
    for (name, amount) in limits.entries() {
        entry(name, &amount, resource_name, errors);
    }
    huge_pages_need_more(&limits, &at.like(at.path.child("requests"), &serde_json::Value::Null), &at.path, errors);
}

fn checked(at: &At<'_>, check: NameCheck, errors: &mut ErrorList) {
    let (limits, requests) = (at.field("limits"), at.field("requests"));
    for (name, amount) in limits.entries() {
        entry(name, &amount, check, errors);
    }
    for (name, amount) in requests.entries() {
        check(name, &amount.path, errors);
        self::amount(name, &amount, errors);
        let (wanted, limit) = (rules::quantity(&amount), rules::quantity(&limits.key(name)));
        let mut refuse = |what: &str, wanted: &Quantity, limit: &Quantity| {
            let detail = format!("must be {what} {name} limit of {limit}");
            errors.push(FieldError::invalid(&requests.path, wanted.to_string(), detail));
        };
        match (&wanted, &limit) {
            (Some(wanted), Some(limit)) if wanted != limit && !may_overcommit(name) => {
                refuse("equal to", wanted, limit);
            }
            (Some(wanted), Some(limit)) if wanted > limit => refuse("less than or equal to", wanted, limit),
            (Some(_), None) if !may_overcommit(name) => {
                let detail = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(&limits.path, detail));
            }
            _ => {}
        }
        if let Some(quantity) = wanted.filter(|quantity| is_huge(name) && !divides(name, quantity)) {
            let detail = format!("{quantity} is not positive integer multiple of {name}");
            errors.push(FieldError::invalid(&amount.path, quantity.to_string(), detail));
        }
    }
    huge_pages_need_more(&limits, &requests, &at.path, errors);
}

fn huge_pages_need_more(limits: &At<'_>, requests: &At<'_>, path: &Path, errors: &mut ErrorList) {
    let names: BTreeSet<&str> = limits.entries().chain(requests.entries()).map(|(name, _)| name).collect();
    if names.iter().any(|name| is_huge(name)) && !names.contains("cpu") && !names.contains("memory") {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
}

/// Resources of the pod as a whole (`validatePodResources`).
pub(super) fn of_pod(spec: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let at = spec.field("resources");
    if at.is_absent() {
        return;
    }
    if spec.at(&["os", "name"]).text() == "windows" {
        errors.push(FieldError::forbidden(&at.path, "may not be set for a windows pod"));
        return;
    }
    let claims = at.field("claims");
    if claims.is_set() {
        errors.push(FieldError::forbidden(&claims.path, "claims may not be set for Resources at pod-level"));
    }
    checked(&at, pod_resource_name, errors);
    super::claims::of_container(&claims, scope, errors);
    consistency(spec, &at, errors);
}

/// `validatePodResourceName`
fn pod_resource_name(name: &str, path: &Path, errors: &mut ErrorList) {
    if any_name(name, path, errors) && !matches!(name, "cpu" | "memory") && !is_huge(name) {
        errors.push(FieldError::not_supported(path, name, &["cpu", HUGE_PAGES, "memory"]));
    }
}

/// `validatePodResourceConsistency`
fn consistency(spec: &At<'_>, at: &At<'_>, errors: &mut ErrorList) {
    for (list, half) in at.known(["requests", "limits"]).into_iter().zip([Half::Requests, Half::Limits]) {
        let of = |container: &ContainerView<'_, _>| pods::read::<ResourceList>(half.of(&container.resources));
        for (name, together) in pods::containers_together(spec.value, of).0 {
            let own = at.get(list).key(&name);
            let Some(given) = rules::quantity(&own).filter(|_| &*list == "requests" || is_huge(&name)) else {
                continue;
            };
            if together > given {
                let detail = format!("must be greater than or equal to aggregate container {list} of {together}");
                errors.push(FieldError::invalid(&own.path, given.to_string(), detail));
            }
        }
    }
    for (index, container) in spec.field("containers").items().enumerate() {
        for (name, limit) in container.at(&["resources", "limits"]).entries() {
            let (own, most) = (rules::quantity(&limit), rules::quantity(&at.field("limits").key(name)));
            if let Some((own, most)) = own.zip(most).filter(|(own, most)| own > most) {
                let path = at.path.child("containers").index(index).key(name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {most}");
                errors.push(FieldError::invalid(&path, own.to_string(), detail));
            }
        }
    }
}
