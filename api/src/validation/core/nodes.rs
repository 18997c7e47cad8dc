//! Nodes: their taints, address ranges and resources.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::validation::at::At;
use crate::validation::pod::resources;
use crate::validation::rules;

const TAINTS_ANNOTATION: &str = "scheduler.alpha.kubernetes.io/taints";
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const RANGES_MAX: usize = 2;

/// `ValidateNode`, and on an update `ValidateNodeUpdate` after it.
pub(crate) fn node(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    annotations(new, errors);
    taints(&new.at(&["spec", "taints"]).moved(Path::new("metadata.taints")), errors);
    amounts(new, errors);
    swap(new, errors);
    features(&new.at(&["status", "declaredFeatures"]), errors);
    ranges(&new.at(&["spec", "podCIDRs"]), errors);
    update(new, old, errors);
}

/// The status of a node (`ValidateNodeUpdate`).
pub(crate) fn update(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let Some(old) = old else { return };
    annotations(new, errors);
    amounts(new, errors);
    features(&new.at(&["status", "declaredFeatures"]), errors);
    let mut seen = BTreeSet::new();
    for address in new.at(&["status", "addresses"]).items() {
        if !seen.insert((address.field("type").text(), address.field("address").text())) {
            errors.push(rules::duplicate_as(&address, "core.NodeAddress"));
        }
    }
    let (spec, before) = (new.field("spec"), old.field("spec"));
    let (ranges, then) = (spec.field("podCIDRs"), before.field("podCIDRs"));
    if !then.is_empty() {
        let changed = match ranges.len() == then.len() {
            true => then.items().zip(ranges.items()).filter(|(a, b)| a.value != b.value).count(),
            false => 1,
        };
        for _ in 0..changed {
            let detail = "node updates may not change podCIDR except from \"\" to valid";
            errors.push(FieldError::forbidden(&ranges.path, detail));
        }
    }
    let provider = spec.field("providerID");
    if !before.field("providerID").is_empty() && before.field("providerID").text() != provider.text() {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden(&provider.path, detail));
    }
    taints(&spec.field("taints").moved(Path::new("metadata.taints")), errors);
    if before.field("externalID").text() != spec.field("externalID").text() {
        errors.push(FieldError::forbidden(&spec.field("externalID").path, "may not be updated"));
    }
}

fn annotations(new: &At<'_>, errors: &mut ErrorList) {
    let annotations = new.at(&["metadata", "annotations"]);
    let text = annotations.key(TAINTS_ANNOTATION).text();
    if text.is_empty() {
        return;
    }
    match serde_json::from_str::<Value>(text) {
        Ok(list) => {
            let list = new.at(&["spec", "taints"]).like(annotations.path.child(TAINTS_ANNOTATION), &list);
            taints(&list, errors);
        }
        Err(error) => errors.push(FieldError::invalid(&annotations.path, TAINTS_ANNOTATION, error.to_string())),
    }
}

/// `validateNodeTaints`, which places the taints below the metadata.
fn taints(at: &At<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for taint in at.items() {
        let (key, value, effect) = (taint.field("key"), taint.field("value"), taint.field("effect"));
        rules::invalid_each(&key, names::label_key(key.text()), errors);
        let wrong = names::label_value(value.text());
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(&value.path, value.text(), wrong.join(";")));
        }
        if rules::required(&effect, errors) {
            rules::one_of(&effect, EFFECTS, errors);
        }
        if !seen.insert((effect.text(), key.text())) {
            let detail = "taints must be unique by key and effect pair".into();
            errors.push(FieldError { detail, ..rules::duplicate_as(&taint, "core.Taint") });
        }
    }
}

/// `ValidateNodeResources`, whose paths know no keys.
fn amounts(new: &At<'_>, errors: &mut ErrorList) {
    for list in new.field("status").fields(["capacity", "allocatable"]) {
        for (name, amount) in list.entries() {
            resources::amount(name, &amount.moved(list.path.child(name)), errors);
        }
    }
}

fn swap(new: &At<'_>, errors: &mut ErrorList) {
    let capacity = new.at(&["status", "nodeInfo", "swap", "capacity"]);
    if let Some(number) = capacity.number().filter(|number| *number <= 0) {
        errors.push(FieldError::invalid(&Path::new("metadata.nodeSwapStatus.capacity"), number, rules::NOT_POSITIVE));
    }
}

/// `validateNodeDeclaredFeatures`
fn features(at: &At<'_>, errors: &mut ErrorList) {
    let all: Vec<At<'_>> = at.items().collect();
    for (index, feature) in all.iter().enumerate() {
        let name = feature.text();
        if name.len() > names::SUBDOMAIN_LENGTH_MAX {
            let most = names::SUBDOMAIN_LENGTH_MAX;
            let detail = format!("invalid feature name {name:?}: must be no more than {most} characters");
            errors.push(FieldError::invalid(&feature.path, name, detail));
        } else if !is_feature(name) {
            let detail = format!(
                "invalid feature name {name:?}: must start with an UpperCamelCase segment, with subsequent segments \
                 separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters \
                 and slashes"
            );
            errors.push(FieldError::invalid(&feature.path, name, detail));
        }
        let Some(next) = all.get(index + 1) else { continue };
        if name == next.text() {
            errors.push(FieldError::duplicate(&next.path, next.text()));
        } else if name > next.text() {
            errors.push(FieldError::invalid(&next.path, next.text(), "list must be sorted alphabetically"));
        }
    }
}

fn is_feature(name: &str) -> bool {
    name.split('/').enumerate().all(|(index, part)| {
        let starts = |c: char| if index == 0 { c.is_ascii_uppercase() } else { c.is_ascii_alphabetic() };
        part.starts_with(starts) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn ranges(at: &At<'_>, errors: &mut ErrorList) {
    for range in at.items() {
        rules::cidr(&range, errors);
    }
    if at.len() < 2 {
        return;
    }
    let parsed: Vec<Option<ipnet::IpNet>> = at.items().map(|range| range.text().parse().ok()).collect();
    if let Some(index) = parsed.iter().position(Option::is_none) {
        let text = at.items().nth(index).map_or("", |range| range.text());
        let detail = format!(
            "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{index}]: <nil> (invalid CIDR \
             address: {text})"
        );
        errors.push(FieldError::internal(&at.path, detail));
    }
    let families: BTreeSet<bool> = parsed.iter().flatten().map(|net| net.addr().is_ipv4()).collect();
    if families.len() < 2 || at.len() > RANGES_MAX {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}
