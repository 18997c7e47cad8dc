//! Slices: the devices of a driver on one or several nodes.

use serde_json::Value;

use super::attributes::{attribute, by_name};
use super::capacity::capacity;
use super::{binding_conditions, label, list, name_of, pool_name, set, taint};
use crate::field::{ErrorList, FieldError};
use crate::go::internal;
use crate::names;
use crate::validation::at::At;
use crate::validation::csi::driver_name;
use crate::validation::pod::affinity::node_selector;
use crate::validation::rules;

const DEVICES_MAX: usize = 128;
/// As long as a device has taints or consumes counters.
const DEVICES_ADVANCED_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const CONSUMPTIONS_MAX: usize = 2;
const TAINTS_MAX: usize = 16;
const ATTRIBUTES_AND_CAPACITIES_MAX: usize = 32;
const ATTRIBUTE_VALUES_MAX: usize = 48;
const ONE_PLACE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
const ONE_PLACE_OF_DEVICE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                                   `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
const NO_PLACE_OF_DEVICE: &str = "`nodeName`, `nodeSelector` and `allNodes` can only be set if \
                                  `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

/// What of a slice never changes.
fn frozen<'a>(spec: &At<'a>) -> [At<'a>; 3] {
    [spec.at(&["pool", "name"]), spec.field("driver"), spec.field("nodeName")]
}

/// `ValidateResourceSlice` and `ValidateResourceSliceUpdate`
pub(crate) fn slice(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let before = old.map(|old| old.field("spec"));
    driver_name(&spec.field("driver"), errors);
    pool(&spec.field("pool"), errors);
    if let Some(before) = &before {
        for (now, then) in frozen(&spec).iter().zip(frozen(before)) {
            // An empty name is not no name.
            if now.value != then.value {
                errors.push(FieldError::invalid(&now.path, now.value.clone(), rules::IMMUTABLE));
            }
        }
    }
    let mut set_places = place(&spec, true, errors);
    flag(&spec.field("perDeviceNodeSelection"), "`perDeviceNodeSelection`", &mut set_places, errors);
    match set_places[..] {
        [] => errors.push(FieldError::required(&spec.path, ONE_PLACE)),
        [_] => {}
        _ => {
            let detail = format!("{ONE_PLACE}, but multiple fields are set");
            errors.push(FieldError::invalid(&spec.path, format!("{{{}}}", set_places.join(", ")), detail));
        }
    }
    let (counters, devices) = (spec.field("sharedCounters"), spec.field("devices"));
    if counters.is_set() && devices.is_set() {
        errors.push(FieldError::invalid(&spec.path, "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let max = if devices.items().any(|device| is_advanced(&device)) { DEVICES_ADVANCED_MAX } else { DEVICES_MAX };
    set(&devices, max, name_of, errors, |item, errors| {
        let known = before.as_ref().map(|before| before.field("devices"));
        let known =
            known.and_then(|all| all.items().find(|other| other.field("name").value == item.field("name").value));
        device(item, known.as_ref(), spec.field("perDeviceNodeSelection").is_true(), errors);
    });
    set(&counters, COUNTER_SETS_MAX, name_of, errors, |item, errors| {
        counters_of(item, &item.field("name"), errors);
    });
}

/// `validateResourcePool`
fn pool(at: &At<'_>, errors: &mut ErrorList) {
    pool_name(&at.field("name"), errors);
    let (count, generation) = (at.field("resourceSliceCount"), at.field("generation"));
    if count.number().unwrap_or(0) <= 0 {
        errors.push(FieldError::invalid(&count.path, count.number().unwrap_or(0), rules::NOT_POSITIVE));
    }
    if let Some(number) = generation.number().filter(|number| *number < 0) {
        errors.push(FieldError::invalid(&generation.path, number, "must be greater than or equal to zero"));
    }
}

/// Where the devices of a slice are, or one device: the fields that say so, in the reference's order.
fn place(at: &At<'_>, of_slice: bool, errors: &mut ErrorList) -> Vec<&'static str> {
    let (name, selector, all) = (at.field("nodeName"), at.field("nodeSelector"), at.field("allNodes"));
    let mut set_fields = Vec::new();
    if name.is_set() && name.is_empty() {
        let detail = if of_slice { "must be either unset or set to a non-empty string" } else { "must not be empty" };
        errors.push(FieldError::invalid(&name.path, "", detail));
    } else if name.is_set() {
        set_fields.push("`nodeName`");
        rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
    }
    if selector.is_set() {
        set_fields.push("`nodeSelector`");
        node_selector(&selector, errors);
        let terms = selector.field("nodeSelectorTerms");
        if terms.len() != 1 && of_slice {
            let shown = internal::shown("[]core.NodeSelectorTerm", terms.value);
            let detail = "must have exactly one node selector term";
            errors.push(FieldError::invalid_text(&terms.path, shown, detail));
        }
    }
    flag(&all, "`allNodes`", &mut set_fields, errors);
    set_fields
}

/// A field that is true or not there.
fn flag(at: &At<'_>, name: &'static str, set_fields: &mut Vec<&'static str>, errors: &mut ErrorList) {
    if at.is_true() {
        set_fields.push(name);
    } else if at.is_set() {
        errors.push(FieldError::invalid(&at.path, false, "must be either unset or set to true"));
    }
}

fn is_advanced(device: &At<'_>) -> bool {
    device.fields(["taints", "consumesCounters"]).iter().any(|list| !list.is_empty())
}

/// A set of counters, or what is consumed of one (`validateCounterSet`, `validateDeviceCounterConsumption`).
fn counters_of(at: &At<'_>, name: &At<'_>, errors: &mut ErrorList) {
    let counters = at.field("counters");
    if rules::required(name, errors) {
        label(name, errors);
    }
    if counters.len() > COUNTERS_MAX {
        errors.push(FieldError::too_many(&counters.path, counters.len(), COUNTERS_MAX));
    } else if rules::required(&counters, errors) {
        for (key, _) in counters.entries() {
            let wrong = names::dns1123_label(key).into_iter();
            errors.extend(wrong.map(|why| FieldError::invalid(&counters.path, key, why)));
        }
    }
}

/// `validateDevice`
fn device(at: &At<'_>, before: Option<&At<'_>>, has_place: bool, errors: &mut ErrorList) {
    label(&at.field("name"), errors);
    sizes(at, errors);
    by_name(&at.field("attributes"), errors, attribute);
    let is_shared = at.field("allowMultipleAllocations").is_true();
    by_name(&at.field("capacity"), errors, |item, errors| capacity(item, is_shared, errors));
    let taints = at.field("taints");
    if before.is_none_or(|before| !rules::same(before.field("taints").value, taints.value)) {
        list(&taints, TAINTS_MAX, errors, taint);
    }
    let key = |item: &At<'_>| item.field("counterSet").text().to_string();
    set(&at.field("consumesCounters"), CONSUMPTIONS_MAX, key, errors, |item, errors| {
        counters_of(item, &item.field("counterSet"), errors);
    });
    if has_place {
        place_of_device(at, errors);
    } else if at.fields(["nodeName", "nodeSelector", "allNodes"]).iter().any(At::is_set) {
        errors.push(FieldError::invalid(&at.path, Value::Null, NO_PLACE_OF_DEVICE));
    }
    binding_conditions(at, errors);
}

fn place_of_device(at: &At<'_>, errors: &mut ErrorList) {
    let set_fields = place(at, false, errors);
    match set_fields[..] {
        [] => errors.push(FieldError::required(&at.path, ONE_PLACE_OF_DEVICE)),
        [_] => {}
        _ => {
            let shown = format!("{{{}}}", set_fields.join(", "));
            errors.push(FieldError::invalid(&at.path, shown, ONE_PLACE_OF_DEVICE));
        }
    }
}

/// How many attributes, values of attributes and capacities there are.
fn sizes(at: &At<'_>, errors: &mut ErrorList) {
    let (attributes, capacities) = (at.field("attributes"), at.field("capacity"));
    let both = attributes.len() + capacities.len();
    if both > ATTRIBUTES_AND_CAPACITIES_MAX {
        let detail =
            format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_AND_CAPACITIES_MAX}");
        errors.push(FieldError::invalid(&at.path, both, detail));
    }
    if attributes.len() > ATTRIBUTE_VALUES_MAX {
        let detail = format!("the total number of attribute values must not exceed {ATTRIBUTE_VALUES_MAX}");
        errors.push(FieldError::invalid(&at.path, attributes.len(), detail));
    }
}
