//! When a job fails, succeeds, and replaces its pods.

use std::collections::BTreeSet;

use super::indexes;
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const INDEXES_LENGTH_MAX: usize = 64 * 1024;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];

/// `fmt` shows a list of quoted texts so.
fn quoted(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

/// `validatePodFailurePolicy`
pub(super) fn failure(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.field("podFailurePolicy");
    if policy.is_absent() {
        return;
    }
    let list = policy.field("rules");
    if list.len() > RULES_MAX {
        errors.push(FieldError::too_many(&list.path, list.len(), RULES_MAX));
    }
    let pod = spec.at(&["template", "spec"]);
    let containers: BTreeSet<&str> = pod
        .fields(["containers", "initContainers"])
        .iter()
        .flat_map(At::items)
        .map(|container| container.field("name").text())
        .collect();
    for rule in list.items() {
        failure_rule(spec, &rule, &containers, errors);
    }
}

fn failure_rule(spec: &At<'_>, rule: &At<'_>, containers: &BTreeSet<&str>, errors: &mut ErrorList) {
    let action = rule.field("action");
    match action.text() {
        "" => errors.push(FieldError::required(&action.path, quoted(&ACTIONS))),
        "FailIndex" if spec.field("backoffLimitPerIndex").is_absent() => {
            let detail = "requires the backoffLimitPerIndex to be set";
            errors.push(FieldError::invalid(&action.path, "FailIndex", detail));
        }
        other if !ACTIONS.contains(&other) => {
            errors.push(FieldError::not_supported(&action.path, other, &ACTIONS));
        }
        _ => {}
    }
    let (codes, conditions) = (rule.field("onExitCodes"), rule.field("onPodConditions"));
    if codes.is_set() {
        exit_codes(&codes, containers, errors);
    }
    if conditions.len() > CONDITIONS_MAX {
        errors.push(FieldError::too_many(&conditions.path, conditions.len(), CONDITIONS_MAX));
    }
    for pattern in conditions.items() {
        condition(&pattern, errors);
    }
    match (codes.is_set(), conditions.is_empty()) {
        (true, false) => {
            let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
            errors.push(rules::invalid_without_value(&rule.path, detail));
        }
        (false, true) => {
            let detail = "specifying one of OnExitCodes and OnPodConditions is required";
            errors.push(rules::invalid_without_value(&rule.path, detail));
        }
        _ => {}
    }
}

fn condition(pattern: &At<'_>, errors: &mut ErrorList) {
    const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
    let (type_, status) = (pattern.field("type"), pattern.field("status"));
    for message in names::label_key(type_.text()) {
        errors.push(FieldError::invalid(&type_.path, type_.text(), message));
    }
    match status.text() {
        "" => errors.push(FieldError::required(&status.path, quoted(&STATUSES))),
        other if !STATUSES.contains(&other) => {
            errors.push(FieldError::not_supported(&status.path, other, &STATUSES));
        }
        _ => {}
    }
}

fn exit_codes(at: &At<'_>, containers: &BTreeSet<&str>, errors: &mut ErrorList) {
    const OPERATORS: [&str; 2] = ["In", "NotIn"];
    let operator = at.field("operator");
    match operator.text() {
        "" => errors.push(FieldError::required(&operator.path, quoted(&OPERATORS))),
        other if !OPERATORS.contains(&other) => {
            errors.push(FieldError::not_supported(&operator.path, other, &OPERATORS));
        }
        _ => {}
    }
    let name = at.field("containerName");
    if name.is_set() && !containers.contains(name.text()) {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(&name.path, name.text(), detail));
    }
    let values = at.field("values");
    if values.is_empty() {
        errors.push(FieldError::invalid(&values.path, values.value.clone(), "at least one value is required"));
    } else if values.len() > EXIT_CODES_MAX {
        errors.push(FieldError::too_many(&values.path, values.len(), EXIT_CODES_MAX));
    }
    let mut seen = BTreeSet::new();
    let mut last = i64::MIN;
    let mut is_ordered = true;
    for value in values.items() {
        let code = value.number().unwrap_or(0);
        if operator.text() == "In" && code == 0 {
            errors.push(FieldError::invalid(&value.path, 0, "must not be 0 for the In operator"));
        }
        if !seen.insert(code) {
            errors.push(FieldError::duplicate(&value.path, code));
        }
        is_ordered &= last <= code;
        last = code;
    }
    if !is_ordered {
        errors.push(FieldError::invalid(&values.path, values.value.clone(), "must be ordered"));
    }
}

/// `validateSuccessPolicy`
pub(super) fn success(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.field("successPolicy");
    if policy.is_absent() {
        return;
    }
    if spec.field("completionMode").text() != "Indexed" {
        errors.push(rules::invalid_as(&policy, "batch.SuccessPolicy", "requires indexed completion mode"));
        return;
    }
    let list = policy.field("rules");
    if list.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(&list.path, detail));
    }
    if list.len() > RULES_MAX {
        errors.push(FieldError::too_many(&list.path, list.len(), RULES_MAX));
    }
    let completions = spec.field("completions").number().unwrap_or(0);
    for rule in list.items() {
        success_rule(&rule, completions, errors);
    }
}

fn success_rule(rule: &At<'_>, completions: i64, errors: &mut ErrorList) {
    let (indexes, count) = (rule.field("succeededIndexes"), rule.field("succeededCount"));
    if indexes.is_absent() && count.is_absent() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(FieldError::required(&rule.path, detail));
    }
    let mut total = 0;
    if indexes.is_set() {
        if indexes.text().len() > INDEXES_LENGTH_MAX {
            errors.push(FieldError::too_long(&indexes.path, INDEXES_LENGTH_MAX));
        }
        match indexes::total(indexes.text(), completions) {
            Ok(found) => total = found,
            Err(problem) => {
                let detail = format!("error parsing succeededIndexes: {problem}");
                errors.push(FieldError::invalid(&indexes.path, indexes.text(), detail));
            }
        }
    }
    let Some(number) = count.number() else { return };
    rules::nonnegative(&count, errors);
    if number > completions {
        let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(FieldError::invalid(&count.path, number, detail));
    }
    if indexes.is_set() && number > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.push(FieldError::invalid(&count.path, number, detail));
    }
}

/// `validatePodReplacementPolicy`
pub(super) fn replacement(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.field("podReplacementPolicy");
    let supported: &[&str] =
        if spec.field("podFailurePolicy").is_set() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    rules::one_of(&policy, supported, errors);
}
