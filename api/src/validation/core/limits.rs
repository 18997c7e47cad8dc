//! Limit ranges.

use std::collections::BTreeSet;

use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::quantity::{Format, Quantity};
use crate::validation::at::At;
use crate::validation::pod::resources;
use crate::validation::rules;

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];

/// `ValidateLimitRange`
pub(crate) fn limit_range(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let mut types = BTreeSet::new();
    for limit in new.at(&["spec", "limits"]).items() {
        let type_ = limit.field("type");
        let mut messages = names::label_key(type_.text());
        if messages.is_empty() && !type_.text().contains('/') && !TYPES.contains(&type_.text()) {
            messages.push("must be a standard limit type or fully qualified".into());
        }
        rules::invalid_each(&type_, messages, errors);
        if !types.insert(type_.text()) {
            errors.push(FieldError::duplicate(&type_.path, type_.text()));
        }
        let lists = names_of(&limit, type_.text(), errors);
        let keys: BTreeSet<&str> = lists.iter().flat_map(|list| list.entries().map(|(key, _)| key)).collect();
        for key in keys {
            compare(&limit, key, type_.text() == "Pod", errors);
        }
    }
}

/// The names in every list; the lists that count.
fn names_of<'a>(limit: &At<'a>, type_: &str, errors: &mut ErrorList) -> Vec<At<'a>> {
    let mut lists = Vec::new();
    for name in limit.known(["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]) {
        let list = limit.get(name);
        if type_ == "PersistentVolumeClaim" && &*name == "maxLimitRequestRatio" {
            let bounds = limit.fields(["min", "max"]).map(|list| list.key("storage").is_set());
            if bounds == [false, false] {
                let detail = "either minimum or maximum storage value is required, but neither was provided";
                errors.push(FieldError::required(&limit.path.child("limits"), detail));
            }
        }
        if type_ == "Pod" && name.starts_with("default") {
            if !list.is_empty() {
                errors.push(FieldError::forbidden(&list.path, "may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (key, amount) in list.entries() {
            match type_ {
                "Pod" | "Container" => resources::resource_name(key, &amount.path, errors),
                _ => _ = resources::any_name(key, &amount.path, errors),
            }
        }
        lists.push(list);
    }
    lists
}

fn compare(limit: &At<'_>, key: &str, is_pod: bool, errors: &mut ErrorList) {
    let [min, max, default, request, ratio] =
        limit.fields(["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"]).map(|list| list.key(key));
    let amount = |at: &At<'_>| rules::quantity(at);
    let mut refuse = |blamed: &At<'_>, shown: &Quantity, detail: String| {
        errors.push(FieldError::invalid(&blamed.path, shown.to_string(), detail));
    };
    let (least, most) = (amount(&min), amount(&max));
    let (usual, wanted) = if is_pod { (None, None) } else { (amount(&default), amount(&request)) };
    let mut check =
        |low: &Option<Quantity>, high: &Option<Quantity>, what: [&str; 2], blamed: &At<'_>, low_is_shown| {
            if let (Some(low), Some(high)) = (low, high)
                && low > high
            {
                let detail = format!("{} value {low} is greater than {} value {high}", what[0], what[1]);
                refuse(blamed, if low_is_shown { low } else { high }, detail);
            }
        };
    check(&least, &most, ["min", "max"], &min, true);
    check(&least, &wanted, ["min", "default request"], &request, false);
    check(&wanted, &most, ["default request", "max"], &request, true);
    check(&wanted, &usual, ["default request", "default limit"], &request, true);
    // The reference shows the bound here, not the default.
    check(&least, &usual, ["min", "default"], &default, true);
    check(&usual, &most, ["default", "max"], &default, false);
    if let Some(ratio_is) = amount(&ratio) {
        if ratio_is < Quantity::new(1, Format::DecimalSI) {
            refuse(&ratio, &ratio_is, format!("ratio {ratio_is} is less than 1"));
        }
        if let Some((least, most)) = least.as_ref().zip(most.as_ref()) {
            let bound = most.as_f64() / least.as_f64();
            if ratio_is.as_f64() > bound {
                refuse(&ratio, &ratio_is, format!("ratio {ratio_is} is greater than max/min = {bound:.6}"));
            }
        }
    }
    if let Some((usual, wanted)) = usual.zip(wanted).filter(|(a, b)| a != b && !resources::may_overcommit(key)) {
        let detail = format!("default value {usual} must equal to defaultRequest value {wanted} in {key}");
        refuse(&request, &wanted, detail);
    }
}
