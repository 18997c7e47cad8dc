//! Rules that many kinds share, each with the words of its original in apimachinery or `pkg/apis/core/validation`.

mod shown;

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::addresses;
use super::at::{At, Name};
use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

/// `isNegativeErrorMsg`
pub(crate) const NEGATIVE: &str = "must be greater than or equal to 0";
/// `isNotPositiveErrorMsg`
pub(crate) const NOT_POSITIVE: &str = "must be greater than zero";
/// `fieldImmutableErrorMsg`
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// What the metadata of a template may not have, in the order of the fields.
const TEMPLATE_FORBIDDEN: [&str; 13] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// A number that must not be negative (`ValidateNonnegativeField`).
pub(crate) fn nonnegative(at: &At<'_>, errors: &mut ErrorList) {
    if let Some(number) = at.number().filter(|number| *number < 0) {
        errors.push(FieldError::invalid(&at.path, number, NEGATIVE));
    }
}

/// A field that must be there.
pub(crate) fn required(at: &At<'_>, errors: &mut ErrorList) -> bool {
    if at.is_empty() {
        errors.push(FieldError::required(&at.path, ""));
    }
    !at.is_empty()
}

/// A text that must be one of several, if it is there.
pub(crate) fn one_of(at: &At<'_>, supported: &[&str], errors: &mut ErrorList) {
    if at.is_set() && !supported.contains(&at.text()) {
        errors.push(FieldError::not_supported(&at.path, at.text(), supported));
    }
}

/// A text that must be there and one of several; `missing` is said when it is not there.
pub(crate) fn required_one_of(at: &At<'_>, supported: &[&str], missing: &str, errors: &mut ErrorList) {
    if at.is_empty() {
        errors.push(FieldError::required(&at.path, missing));
    } else {
        one_of(at, supported, errors);
    }
}

/// Each of the messages is an invalid value; what is absent is an empty text.
pub(crate) fn invalid_each(at: &At<'_>, messages: Vec<String>, errors: &mut ErrorList) {
    for message in messages {
        let value = if at.is_absent() { Value::from("") } else { at.value.clone() };
        errors.push(FieldError::invalid(&at.path, value, message));
    }
}

/// A label key, or anything that is spelled like one (`ValidateQualifiedName`).
pub(crate) fn label_name(path: &Path, name: &str, errors: &mut ErrorList) {
    errors.extend(names::label_key(name).into_iter().map(|message| FieldError::invalid(path, name, message)));
}

/// The metadata of what is made from a template: labels and annotations, and nothing else (`ValidateTemplateObjectMeta`).
pub(crate) fn template_metadata(at: &At<'_>, errors: &mut ErrorList) {
    annotations(&at.field("annotations"), errors);
    labels(&at.field("labels"), errors);
    for name in at.known(TEMPLATE_FORBIDDEN) {
        let field = at.get(name);
        // An empty list is something that was set.
        if !field.is_empty() || field.value.is_array() {
            // The name is that of Go's field with its first letter made small.
            let shown = if &*name == "uid" { "uID" } else { &name };
            errors.push(FieldError::forbidden(&at.path.child(shown), "cannot be set"));
        }
    }
}

/// What is wrong with a subdomain that more letters may follow (`NameIsDNSSubdomain` of a prefix).
pub(crate) fn prefix_of_subdomain(name: &str) -> Vec<String> {
    match name.strip_suffix('-').filter(|_| name.len() > 1) {
        Some(rest) => names::dns1123_subdomain(&format!("{}a", &rest[..rest.len().saturating_sub(1)])),
        None => names::dns1123_subdomain(name),
    }
}

/// A path that does not lead upwards (`validatePathNoBacksteps`).
pub(crate) fn no_backsteps(at: &At<'_>, errors: &mut ErrorList) {
    if at.text().split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(&at.path, at.text(), "must not contain '..'"));
    }
}

/// A path that leads downwards only (`validateLocalDescendingPath`).
pub(crate) fn descending_path(at: &At<'_>, errors: &mut ErrorList) {
    if at.text().starts_with('/') {
        errors.push(FieldError::invalid(&at.path, at.text(), "must be a relative path"));
    }
    no_backsteps(at, errors);
}

/// A path of a file in a volume (`ValidateLocalNonReservedPath`).
pub(crate) fn local_path(at: &At<'_>, errors: &mut ErrorList) {
    descending_path(at, errors);
    if at.text().starts_with("..") && !at.text().starts_with("../") {
        errors.push(FieldError::invalid(&at.path, at.text(), "must not start with '..'"));
    }
}

/// Whether two values mean the same: what is unset may be absent, null, empty or zero (`Semantic.DeepEqual`).
pub(crate) use super::pod::same;
pub(crate) use shown::{duplicate_as, invalid_as, invalid_selector, invalid_without_value, not_supported_as};

/// A port number.
pub(crate) fn port(at: &At<'_>, errors: &mut ErrorList) {
    let number = at.number().unwrap_or(0);
    if !(1..=65535).contains(&number) {
        errors.push(FieldError::invalid(&at.path, number, "must be between 1 and 65535, inclusive"));
    }
}

/// A port number or the name of one (`ValidatePortNumOrName`).
pub(crate) fn port_or_name(at: &At<'_>, errors: &mut ErrorList) {
    match at.value {
        Value::String(_) => invalid_each(at, names::port_name(at.text()), errors),
        _ => port(at, errors),
    }
}

/// A field that may not change (`ValidateImmutableField`).
pub(crate) fn immutable(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    if !same(new.value, old.value) {
        errors.push(invalid_as(new, "null", IMMUTABLE));
    }
}

/// A label selector that may not change (`ValidateImmutableField`), shown as the reference prints it.
pub(crate) fn immutable_selector(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    if !same(new.value, old.value) {
        errors.push(invalid_selector(new, IMMUTABLE));
    }
}

/// A label selector (`ValidateLabelSelector`).
pub(crate) fn label_selector(at: &At<'_>, errors: &mut ErrorList) {
    labels(&at.field("matchLabels"), errors);
    for expression in at.field("matchExpressions").items() {
        requirement(&expression, errors);
        let operator = expression.field("operator");
        if !OPERATORS.contains(&operator.text()) {
            errors.push(FieldError::invalid(&operator.path, operator.text(), "not a valid selector operator"));
        }
        key_and_values(&expression, errors);
    }
}

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// Whether a requirement has values where its operator wants some, and none elsewhere.
pub(crate) fn requirement(at: &At<'_>, errors: &mut ErrorList) {
    let values = at.field("values");
    match at.field("operator").text() {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(&values.path, detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(&values.path, detail));
        }
        _ => {}
    }
}

fn key_and_values(at: &At<'_>, errors: &mut ErrorList) {
    let key = at.field("key");
    invalid_each(&key, names::label_key(key.text()), errors);
    for value in at.field("values").items() {
        invalid_each(&value, names::label_value(value.text()), errors);
    }
}

/// The selectors of a review, which newer clients may write with operators that are not known here
/// (`validateResourceAttributes`).
pub fn review_selectors(attributes: &At<'_>, errors: &mut ErrorList) {
    for name in attributes.known(["fieldSelector", "labelSelector"]) {
        let selector = attributes.get(name);
        if selector.is_absent() {
            continue;
        }
        let (raw, requirements) = (selector.field("rawSelector"), selector.field("requirements"));
        match (raw.is_empty(), requirements.is_empty()) {
            (false, false) => {
                let detail = "may not specified at the same time as requirements";
                errors.push(FieldError::invalid(&raw.path, raw.text(), detail));
            }
            (true, true) => {
                let path = selector.path.as_str();
                let detail = format!("when {path} is specified, requirements or rawSelector is required");
                errors.push(FieldError::required(&requirements.path, detail));
            }
            _ => {}
        }
        for one in requirements.items() {
            let key = one.field("key");
            if &*name == "labelSelector" {
                requirement(&one, errors);
                key_and_values(&one, errors);
                continue;
            }
            if key.is_empty() {
                errors.push(FieldError::required(&key.path, "must be specified"));
            }
            requirement(&one, errors);
        }
    }
}

/// Labels (`ValidateLabels`): the path is that of the map, the value the key or the value that is wrong.
pub(crate) fn labels(at: &At<'_>, errors: &mut ErrorList) {
    for (key, value) in at.entries() {
        for message in names::label_key(key) {
            errors.push(FieldError::invalid(&at.path, key, message));
        }
        for message in names::label_value(value.text()) {
            errors.push(FieldError::invalid(&at.path, value.text(), message));
        }
    }
}

/// A quantity; one that does not parse was refused when the body was read.
pub(crate) fn quantity(at: &At<'_>) -> Option<Quantity> {
    if at.is_absent() { None } else { Quantity::from_json(at.value).ok() }
}

/// A quantity that must not be negative (`ValidateNonnegativeQuantity`).
pub(crate) fn nonnegative_quantity(at: &At<'_>, errors: &mut ErrorList) {
    if quantity(at).is_some_and(|quantity| quantity.sign() < 0) {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), NEGATIVE));
    }
}

/// A quantity that must be more than nothing (`ValidatePositiveQuantityValue`).
pub(crate) fn positive_quantity(at: &At<'_>, errors: &mut ErrorList) {
    if quantity(at).is_some_and(|quantity| quantity.sign() <= 0) {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), NOT_POSITIVE));
    }
}

/// A quantity as messages show it.
pub(crate) fn quantity_text(at: &At<'_>) -> String {
    quantity(at).map_or_else(String::new, |quantity| quantity.to_string())
}

/// A quantity that may be nothing but not less (`validateBasicResource`).
pub(crate) fn basic_amount(at: &At<'_>, errors: &mut ErrorList) {
    let value = quantity(at).map_or(0, |quantity| quantity.overflowing_value());
    if value < 0 {
        errors.push(FieldError::invalid(&at.path, value, "must be a valid resource quantity"));
    }
}

/// An address in a field that once took more than it does.
pub(crate) fn ip(at: &At<'_>, errors: &mut ErrorList) -> Option<IpAddr> {
    addresses::legacy_address(at, &HashSet::new(), errors);
    addresses::parse_address(at.text())
}

/// An address that traffic can be sent to (`ValidateEndpointIP`).
pub(crate) fn endpoint_ip(at: &At<'_>, errors: &mut ErrorList) {
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(&at.path, at.text(), detail));
    let Some(ip) = addresses::parse_address(at.text()) else { return refuse("must be a valid IP address") };
    if ip.is_unspecified() {
        refuse(&format!("may not be unspecified ({})", at.text()));
    }
    if ip.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// An address range in a field that once took more than it does.
pub(crate) fn cidr(at: &At<'_>, errors: &mut ErrorList) -> Option<IpNet> {
    addresses::legacy_range(at, &HashSet::new(), errors);
    addresses::parse_range(at.text())
}

/// A number or a percentage that must not be negative (`ValidatePositiveIntOrPercent`).
pub(crate) fn int_or_percent(at: &At<'_>, errors: &mut ErrorList) {
    match at.value {
        Value::String(text) => {
            let digits = text.strip_suffix('%');
            if !digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())) {
                let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  \
                              or '93%', regex used for validation is '[0-9]+%')";
                errors.push(FieldError::invalid(&at.path, text.as_str(), detail));
            }
        }
        Value::Null => {}
        _ => nonnegative(at, errors),
    }
}

/// A percentage may be 100 at most (`IsNotMoreThan100Percent`).
pub(crate) fn at_most_100_percent(at: &At<'_>, errors: &mut ErrorList) {
    let percent = at.value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|digits| digits.parse().ok());
    if percent.is_some_and(|percent: u64| percent > 100) {
        errors.push(FieldError::invalid(&at.path, at.text(), "must not be greater than 100%"));
    }
}

/// The plain number behind a number or a percentage, where zero is all that matters.
pub(crate) fn is_zero(at: &At<'_>) -> bool {
    match at.value {
        Value::String(text) => match text.strip_suffix('%').filter(|digits| digits.parse::<u64>().is_ok()) {
            Some(digits) => digits.parse() == Ok(0u64),
            // A text that is no number counts as zero.
            None => text.parse::<i64>().unwrap_or(0) == 0,
        },
        _ => at.number().unwrap_or(0) == 0,
    }
}

/// Makes a field of one value what it is in another.
pub(crate) fn copy(to: &mut Value, from: &Value, field: Name) {
    let Some(map) = to.as_object_mut() else { return };
    match from.get(&*field) {
        Some(value) => _ = map.insert(field.to_string(), value.clone()),
        None => _ = map.remove(&*field),
    }
}

/// Annotations (`ValidateAnnotations`), but for their size.
pub(crate) fn annotations(at: &At<'_>, errors: &mut ErrorList) {
    for (key, _) in at.entries() {
        for message in names::label_key(&key.to_lowercase()) {
            errors.push(FieldError::invalid(&at.path, key, message));
        }
    }
}

/// A path below a domain (`IsDomainPrefixedPath`).
pub(crate) fn domain_prefixed_path(at: &At<'_>, errors: &mut ErrorList) {
    if !required(at, errors) {
        return;
    }
    for (value, message) in names::domain_prefixed_path(at.text()) {
        errors.push(FieldError::invalid(&at.path, value, message));
    }
}
