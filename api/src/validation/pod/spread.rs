//! Topology spread constraints, and the keys of labels that selectors take from the pod itself.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

/// `validateTopologySpreadConstraints`
pub(super) fn constraints(at: &At<'_>, errors: &mut ErrorList) {
    let pair =
        |at: &At<'_>| (at.field("topologyKey").text().to_string(), at.field("whenUnsatisfiable").text().to_string());
    let mut last: HashMap<(String, String), usize> = HashMap::new();
    at.items().enumerate().for_each(|(index, constraint)| _ = last.insert(pair(&constraint), index));
    for (index, constraint) in at.items().enumerate() {
        let constraint = &constraint;
        let (skew, key) = (constraint.field("maxSkew"), constraint.field("topologyKey"));
        let when = constraint.field("whenUnsatisfiable");
        if skew.number().unwrap_or(0) <= 0 {
            errors.push(FieldError::invalid(&skew.path, skew.number().unwrap_or(0), rules::NOT_POSITIVE));
        }
        if key.is_empty() {
            errors.push(FieldError::required(&key.path, "can not be empty"));
        }
        if !matches!(when.text(), "DoNotSchedule" | "ScheduleAnyway") {
            let supported = ["DoNotSchedule", "ScheduleAnyway"];
            errors.push(FieldError::not_supported(&when.path, when.text(), &supported));
        }
        if last.get(&pair(constraint)).is_some_and(|last| *last > index) {
            let shown = format!("{{{}, {}}}", key.text(), when.text());
            let path = constraint.path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&path, shown));
        }
        domains(constraint, when.text(), errors);
        for policy in constraint.fields(["nodeAffinityPolicy", "nodeTaintsPolicy"]) {
            rules::one_of(&policy, &["Honor", "Ignore"], errors);
        }
        label_keys(constraint, None, errors);
        if constraint.field("labelSelector").is_set() {
            rules::label_selector(&constraint.field("labelSelector"), errors);
        }
    }
}

fn domains(constraint: &At<'_>, when: &str, errors: &mut ErrorList) {
    let at = constraint.field("minDomains");
    if at.number().is_some_and(|number| number <= 0) {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), rules::NOT_POSITIVE));
    }
    if at.is_set() && when != "DoNotSchedule" {
        let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}

/// `ValidateMatchLabelKeysAndMismatchLabelKeys`, of a constraint or of a term of pod affinity,
/// which may name others that do not match.
pub(super) fn label_keys(at: &At<'_>, other: Option<&At<'_>>, errors: &mut ErrorList) {
    let selector = at.field("labelSelector");
    let matching = at.field("matchLabelKeys");
    for list in [&matching].into_iter().chain(other).filter(|list| !list.is_empty()) {
        if selector.is_absent() {
            errors.push(FieldError::forbidden(&list.path, "must not be specified when labelSelector is not set"));
            continue;
        }
        for key in list.items() {
            rules::invalid_each(&key, names::label_key(key.text()), errors);
        }
    }
    // The expressions that were made of the keys when the pod was created may stand beside no others of the key.
    let mut seen: HashSet<&str> = selector.field("matchLabels").entries().map(|(key, _)| key).collect();
    let mut given: HashMap<&str, usize> = HashMap::new();
    matching.items().enumerate().for_each(|(index, key)| _ = given.entry(key.text()).or_insert(index));
    for key in selector.field("matchExpressions").items().map(|expression| expression.field("key").text()) {
        if let Some(index) = given.get(key).filter(|_| seen.contains(key)) {
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.push(FieldError::invalid(&at.path.index(*index), key, detail));
        }
        seen.insert(key);
    }
    let values: HashSet<&Value> = other.into_iter().flat_map(At::items).map(|key| key.value).collect();
    for key in matching.items().filter(|key| values.contains(&key.value)) {
        let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.push(FieldError::invalid(&key.path, key.text(), detail));
    }
}
