//! Claims and templates of claims.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::attributes::fully_qualified_name;
use super::{CONFIG_MAX, configuration, label, list, name_of, selectors, set, toleration};
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

const REQUESTS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const NO_SUCH_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
/// The reference says so although no field is set.
const NO_ATTRIBUTE: &str =
    "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
const ONE_SORT: &str = "exactly one of `exactly` or `firstAvailable` is required";

/// `ValidateResourceClaim` and `ValidateResourceClaimUpdate`
pub(crate) fn claim(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    match old {
        Some(old) => fixed(&spec, &old.field("spec"), "resource.ResourceClaimSpec", errors),
        None => devices(&spec.field("devices"), errors),
    }
}

/// `ValidateResourceClaimTemplate` and `ValidateResourceClaimTemplateUpdate`
pub(crate) fn template(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    rules::template_metadata(&spec.field("metadata"), errors);
    devices(&spec.at(&["spec", "devices"]), errors);
    if let Some(old) = old {
        fixed(&spec, &old.field("spec"), "resource.ResourceClaimTemplateSpec", errors);
    }
}

fn fixed(new: &At<'_>, old: &At<'_>, form: &str, errors: &mut ErrorList) {
    if !rules::same(new.value, old.value) {
        errors.push(rules::invalid_as(new, form, rules::IMMUTABLE));
    }
}

/// `validateDeviceClaim`
fn devices(at: &At<'_>, errors: &mut ErrorList) {
    let names = RequestNames::of(at);
    set(&at.field("requests"), REQUESTS_MAX, name_of, errors, request);
    list(&at.field("constraints"), CONSTRAINTS_MAX, errors, |item, errors| constraint(item, &names, errors));
    list(&at.field("config"), CONFIG_MAX, errors, |item, errors| {
        names.refer(&item.field("requests"), errors);
        configuration(item, false, errors);
    });
}

/// The requests of a claim, each with its alternatives (`gatherRequestNames`).
pub(super) struct RequestNames<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> RequestNames<'a> {
    pub(super) fn of(devices: &At<'a>) -> Self {
        let alternatives = |request: &At<'a>| request.field("firstAvailable").items().map(|a| a.field("name").text());
        let of_one = |request: At<'a>| (request.field("name").text(), alternatives(&request).collect());
        Self(devices.field("requests").items().map(of_one).collect())
    }

    fn has(&self, name: &str) -> bool {
        let (request, alternative) = name.split_once('/').map_or((name, None), |(name, rest)| (name, Some(rest)));
        let found = self.0.get(request);
        found.is_some_and(|known| alternative.is_none_or(|alternative| known.contains(alternative)))
    }

    /// A set of names of requests.
    pub(super) fn refer(&self, at: &At<'_>, errors: &mut ErrorList) {
        set(at, REQUESTS_MAX, |name| name.text().to_string(), errors, |name, errors| self.refer_to(name, errors));
    }

    /// `validateRequestNameRef`
    pub(super) fn refer_to(&self, at: &At<'_>, errors: &mut ErrorList) {
        let name = at.text();
        if name.split('/').count() <= 2 {
            for part in name.split('/') {
                let wrong = names::dns1123_label(part).into_iter();
                errors.extend(wrong.map(|why| FieldError::invalid(&at.path, part, why)));
            }
        }
        if !self.has(name) {
            errors.push(FieldError::invalid(&at.path, name, NO_SUCH_REQUEST));
        }
    }
}

/// `validateDeviceRequest`
fn request(at: &At<'_>, errors: &mut ErrorList) {
    label(&at.field("name"), errors);
    let (exactly, alternatives) = (at.field("exactly"), at.field("firstAvailable"));
    match (exactly.is_set(), !alternatives.is_empty()) {
        (false, false) => errors.push(FieldError::required(&at.path, ONE_SORT)),
        (true, true) => {
            let detail = format!("{ONE_SORT}, but multiple fields are set");
            errors.push(FieldError::invalid(&at.path, Value::Null, detail));
        }
        (true, false) => of_class(&exactly, errors),
        (false, true) => set(&alternatives, ALTERNATIVES_MAX, name_of, errors, |alternative, errors| {
            label(&alternative.field("name"), errors);
            of_class(alternative, errors);
        }),
    }
}

/// What a request and its alternatives have in common.
fn of_class(at: &At<'_>, errors: &mut ErrorList) {
    let class = at.field("deviceClassName");
    if rules::required(&class, errors) {
        rules::invalid_each(&class, names::dns1123_subdomain(class.text()), errors);
    }
    selectors(&at.field("selectors"), errors);
    allocation_mode(&at.field("allocationMode"), &at.field("count"), errors);
    at.field("tolerations").items().for_each(|item| toleration(&item, errors));
}

/// `validateDeviceAllocationMode`
fn allocation_mode(mode: &At<'_>, count: &At<'_>, errors: &mut ErrorList) {
    let number = count.number().unwrap_or(0);
    match mode.text() {
        "All" if number != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(&count.path, number, detail));
        }
        "ExactCount" if number <= 0 => {
            errors.push(FieldError::invalid(&count.path, number, rules::NOT_POSITIVE));
        }
        "All" | "ExactCount" => {}
        other => errors.push(FieldError::not_supported(&mode.path, other, &["All", "ExactCount"])),
    }
}

/// `validateDeviceConstraint`
fn constraint(at: &At<'_>, names: &RequestNames<'_>, errors: &mut ErrorList) {
    names.refer(&at.field("requests"), errors);
    let given = at.fields(["matchAttribute", "distinctAttribute"]).into_iter().find(At::is_set);
    match given {
        Some(attribute) => fully_qualified_name(&attribute, errors),
        None => errors.push(FieldError::required(&at.path, NO_ATTRIBUTE)),
    }
}
