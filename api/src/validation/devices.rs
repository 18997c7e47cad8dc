//! Devices that pods claim (`pkg/apis/resource/validation`): classes here, claims, slices and what both describe below.

mod attributes;
mod capacity;
mod claims;
mod slices;
mod status;

use std::collections::BTreeSet;

use serde_json::Value;

use super::at::At;
use super::csi::driver_name;
use super::pod::resources::is_extended;
use super::rules;
use crate::cel::devices::{self, Problem};
use crate::field::{ErrorList, FieldError, Path};
use crate::names;
pub(crate) use claims::{claim, template};
pub(crate) use slices::slice;
pub(crate) use status::claim_status;

const SELECTORS_MAX: usize = 32;
const CONFIG_MAX: usize = 32;
const EXPRESSION_LENGTH_MAX: usize = 10 * 1024;
const PARAMETERS_LENGTH_MAX: usize = 10 * 1024;
const POOL_NAME_LENGTH_MAX: usize = 253;
const CONDITIONS_MAX: usize = 4;
const TAINT_EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

/// `ValidateDeviceClass` and `ValidateDeviceClassUpdate`
pub(crate) fn class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    selectors(&spec.field("selectors"), errors);
    let config = spec.field("config");
    let is_stored = old.is_some_and(|old| rules::same(old.at(&["spec", "config"]).value, config.value));
    list(&config, CONFIG_MAX, errors, |item, errors| configuration(item, is_stored, errors));
    let name = spec.field("extendedResourceName");
    if name.is_set() && !is_extended(name.text()) {
        errors.push(FieldError::invalid(&name.path, name.text(), "must be a valid extended resource name"));
    }
}

/// Checks each item of a list that is not too long; whether it is not.
fn list(at: &At<'_>, max: usize, errors: &mut ErrorList, mut each: impl FnMut(&At<'_>, &mut ErrorList)) -> bool {
    let fits = at.len() <= max;
    if fits {
        at.items().for_each(|item| each(&item, errors));
    } else {
        errors.push(FieldError::too_many(&at.path, at.len(), max));
    }
    fits
}

/// A list in which no key stands twice.
fn set(
    at: &At<'_>,
    max: usize,
    key: impl Fn(&At<'_>) -> String,
    errors: &mut ErrorList,
    each: impl FnMut(&At<'_>, &mut ErrorList),
) {
    if !list(at, max, errors, each) {
        return;
    }
    let mut seen = BTreeSet::new();
    for item in at.items() {
        let key = key(&item);
        if seen.contains(&key) {
            errors.push(FieldError::duplicate(&item.path, key));
        } else {
            seen.insert(key);
        }
    }
}

/// The name of an item of a set.
fn name_of(at: &At<'_>) -> String {
    at.field("name").text().to_string()
}

/// `validateSelectorSlice`
fn selectors(at: &At<'_>, errors: &mut ErrorList) {
    list(at, SELECTORS_MAX, errors, |selector, errors| {
        let cel = selector.field("cel");
        if cel.is_absent() {
            errors.push(FieldError::required(&cel.path, ""));
            return;
        }
        let expression = cel.field("expression");
        if expression.text().len() > EXPRESSION_LENGTH_MAX {
            errors.push(FieldError::too_long(&expression.path, EXPRESSION_LENGTH_MAX));
        } else if let Some(problem) = devices::problem(expression.text()) {
            errors.push(match problem {
                Problem::Invalid(why) => FieldError::invalid(&expression.path, expression.text(), why),
                Problem::TooComplex => FieldError::forbidden(&expression.path, "too complex, exceeds cost limit"),
            });
        }
    });
}

/// `validateDeviceConfiguration`; what is stored may be longer than what is new.
fn configuration(at: &At<'_>, is_stored: bool, errors: &mut ErrorList) {
    let opaque = at.field("opaque");
    if opaque.is_absent() {
        errors.push(FieldError::required(&opaque.path, ""));
        return;
    }
    driver_name(&opaque.field("driver"), errors);
    let length_max = if is_stored { usize::MAX } else { PARAMETERS_LENGTH_MAX };
    raw_object(&opaque.field("parameters"), length_max, errors);
}

/// An object of any kind (`validateRawExtension`).
fn raw_object(at: &At<'_>, length_max: usize, errors: &mut ErrorList) {
    match at.value {
        Value::Null => errors.push(FieldError::required(&at.path, "")),
        value if value.to_string().len() > length_max => errors.push(FieldError::too_long(&at.path, length_max)),
        Value::Object(_) => {}
        _ => errors.push(FieldError::invalid(&at.path, "<value omitted>", "must be a valid JSON object")),
    }
}

/// `validatePoolName`
fn pool_name(at: &At<'_>, errors: &mut ErrorList) {
    if !rules::required(at, errors) {
        return;
    }
    if at.text().len() > POOL_NAME_LENGTH_MAX {
        errors.push(FieldError::too_long(&at.path, POOL_NAME_LENGTH_MAX));
    }
    for part in at.text().split('/') {
        errors.extend(names::dns1123_subdomain(part).into_iter().map(|why| FieldError::invalid(&at.path, part, why)));
    }
}

/// A name that is a label (`ValidateDNS1123Label`).
fn label(at: &At<'_>, errors: &mut ErrorList) {
    rules::invalid_each(at, names::dns1123_label(at.text()), errors);
}

/// `validateDeviceTaint`; an effect that was there is left alone.
fn taint(at: &At<'_>, errors: &mut ErrorList) {
    let (key, value, effect) = (at.field("key"), at.field("value"), at.field("effect"));
    rules::invalid_each(&key, names::label_key(key.text()), errors);
    rules::invalid_each(&value, names::label_value(value.text()), errors);
    rules::required_one_of(&effect, &TAINT_EFFECTS, "", errors);
}

/// `validateDeviceToleration`
fn toleration(at: &At<'_>, errors: &mut ErrorList) {
    let (key, operator, value, effect) = (at.field("key"), at.field("operator"), at.field("value"), at.field("effect"));
    if !key.is_empty() {
        rules::invalid_each(&key, names::label_key(key.text()), errors);
    }
    match operator.text() {
        "Exists" if !value.is_empty() => {
            let detail = "must be empty for operator `Exists`";
            errors.push(FieldError::invalid(&value.path, value.text(), detail));
        }
        "Equal" => rules::invalid_each(&value, names::label_value(value.text()), errors),
        _ => rules::required_one_of(&operator, &["Equal", "Exists"], "", errors),
    }
    if !effect.is_empty() {
        rules::one_of(&effect, &TAINT_EFFECTS, errors);
    }
}

/// `validateDeviceBindingParameters`
fn binding_conditions(at: &At<'_>, errors: &mut ErrorList) {
    let (wanted, failing) = (at.field("bindingConditions"), at.field("bindingFailureConditions"));
    for conditions in [&wanted, &failing] {
        list(conditions, CONDITIONS_MAX, errors, |name, errors| {
            rules::invalid_each(name, names::label_key(name.text()), errors);
        });
    }
    let mut seen = BTreeSet::new();
    for name in wanted.items().filter(|name| !seen.insert(name.text())) {
        errors.push(FieldError::duplicate(&name.path, name.text()));
    }
    let mut seen_failing = BTreeSet::new();
    for name in failing.items() {
        if !seen_failing.insert(name.text()) {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
        if seen.contains(name.text()) {
            let detail = "bindingFailureConditions must not overlap with bindingConditions";
            errors.push(FieldError::invalid(&name.path, name.text(), detail));
        }
    }
    for (one, other) in [(&wanted, &failing), (&failing, &wanted)] {
        if one.is_empty() && !other.is_empty() {
            let [one_name, other_name] = [one, other].map(|at| last_name(&at.path));
            let detail = format!("{one_name} are required to use {other_name}");
            errors.push(FieldError::invalid(&one.path, one.value.clone(), detail));
        }
    }
}

fn last_name(path: &Path) -> String {
    path.as_str().rsplit('.').next().unwrap_or_default().to_string()
}
