//! How much of a device's capacity may be asked for.

use super::set;
use crate::field::{ErrorList, FieldError};
use crate::quantity::Quantity;
use crate::validation::at::At;
use crate::validation::rules;

const VALID_VALUES_MAX: usize = 10;

/// `validateMultiAllocatableDeviceCapacity`, or `validateSingleAllocatableDeviceCapacity` for a device that only one may have.
pub(super) fn capacity(at: &At<'_>, is_shared: bool, errors: &mut ErrorList) {
    let policy = at.field("requestPolicy");
    if policy.is_absent() {
        return;
    }
    if !is_shared {
        errors.push(FieldError::forbidden(&policy.path, "allowMultipleAllocations must be true"));
        return;
    }
    let (values, range) = (policy.field("validValues"), policy.field("validRange"));
    let name = match (!values.is_empty(), range.is_set()) {
        (true, true) => {
            let detail = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            errors.push(FieldError::forbidden(&policy.path, detail));
            return;
        }
        (false, false) => return,
        (true, false) => "validValues",
        (false, true) => "validRange",
    };
    let default = policy.field("default");
    let (Some(default), Some(most)) = (rules::quantity(&default), rules::quantity(&at.field("value"))) else {
        errors.push(FieldError::required(&default.path, format!("required when {name} is defined")));
        return;
    };
    match name {
        "validValues" => valid_values(&values, &default, &most, errors),
        _ => valid_range(&range, &default, &most, errors),
    }
}

/// `validateRequestPolicyValidValues`
fn valid_values(at: &At<'_>, default: &Quantity, most: &Quantity, errors: &mut ErrorList) {
    let values: Vec<At<'_>> = at.items().collect();
    for pair in values.windows(2) {
        if rules::quantity(&pair[0]) > rules::quantity(&pair[1]) {
            let detail = "values must be sorted in ascending order";
            errors.push(FieldError::invalid(&pair[1].path, rules::quantity_text(&pair[1]), detail));
        }
    }
    let mut is_found = false;
    let key = |value: &At<'_>| rules::quantity(value).unwrap_or_default().overflowing_value().to_string();
    set(at, VALID_VALUES_MAX, key, errors, |value, errors| {
        let amount = rules::quantity(value).unwrap_or_default();
        if amount > *most {
            let detail = format!("option is larger than capacity value: {most}");
            errors.push(FieldError::invalid(&value.path, amount.to_string(), detail));
        }
        is_found |= amount == *default;
    });
    if !is_found {
        let detail = "default value is not valid according to the requestPolicy";
        errors.push(FieldError::invalid(&at.path, default.to_string(), detail));
    }
}

/// `validateRequestPolicyRange`
fn valid_range(at: &At<'_>, default: &Quantity, most: &Quantity, errors: &mut ErrorList) {
    let [at_min, at_max, at_step] = at.fields(["min", "max", "step"]);
    let Some(min) = rules::quantity(&at_min) else {
        errors.push(FieldError::required(&at_min.path, "required when validRange is defined"));
        return;
    };
    let mut refuse = |at: &At<'_>, shown: &Quantity, detail: String| {
        errors.push(FieldError::invalid(&at.path, shown.to_string(), detail));
    };
    if min > *most {
        refuse(&at_min, &min, format!("min is larger than capacity value: {most}"));
    }
    if *default < min {
        refuse(&at_min, default, format!("default is less than min: {min}"));
    }
    let max = rules::quantity(&at_max);
    if let Some(max) = &max {
        if min > *max {
            refuse(&at_max, &min, format!("min is larger than max: {max}"));
        }
        if max > most {
            refuse(&at_max, max, format!("max is larger than capacity value: {most}"));
        }
        if default > max {
            refuse(&at_max, default, format!("default is more than max: {max}"));
        }
    }
    let Some(step) = rules::quantity(&at_step) else { return };
    if let Some(one_step) = min.checked_add(&step).filter(|one_step| one_step > most) {
        refuse(&at_step, &step, format!("one step {one_step} is larger than capacity value: {most}"));
    }
    for value in std::iter::once(default).chain(&max) {
        // The reference divides by zero where a step is.
        let is_multiple = (value.overflowing_value().wrapping_sub(min.overflowing_value()))
            .checked_rem(step.overflowing_value())
            == Some(0);
        if !is_multiple {
            refuse(&at_step, value, format!("value is not a multiple of a given step ({step}) from ({min})"));
        }
    }
}
