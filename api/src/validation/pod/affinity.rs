//! Affinity, tolerations and topology spread.

use std::collections::BTreeSet;

use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// `validateAffinity`
pub fn affinity(at: &At<'_>, errors: &mut ErrorList) {
    let node = at.get("nodeAffinity");
    if node.get(REQUIRED).is_set() {
        node_selector(&node.get(REQUIRED), errors);
    }
    for term in node.get(PREFERRED).items() {
        weight(&term.get("weight"), errors);
        node_selector_term(&term.get("preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        for term in at.get(kind).get(REQUIRED).items() {
            pod_term(&term, errors);
        }
        for term in at.get(kind).get(PREFERRED).items() {
            weight(&term.get("weight"), errors);
            pod_term(&term.get("podAffinityTerm"), errors);
        }
    }
}

fn weight(at: &At<'_>, errors: &mut ErrorList) {
    let number = at.number().unwrap_or(0);
    if !(1..=100).contains(&number) {
        errors.push(FieldError::invalid(&at.path, number, "must be in the range 1-100"));
    }
}

/// `ValidateNodeSelector`
pub fn node_selector(at: &At<'_>, errors: &mut ErrorList) {
    let terms = at.get("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(FieldError::required(&terms.path, "must have at least one node selector term"));
    }
    for term in terms.items() {
        node_selector_term(&term, errors);
    }
}

fn node_selector_term(term: &At<'_>, errors: &mut ErrorList) {
    for expression in term.get("matchExpressions").items() {
        requirement(&expression, errors);
    }
    for field in term.get("matchFields").items() {
        let (key, values) = (field.get("key"), field.get("values"));
        if matches!(field.get("operator").text(), "In" | "NotIn") {
            if values.len() != 1 {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(FieldError::required(&values.path, detail));
            }
        } else {
            let operator = field.get("operator");
            errors.push(FieldError::invalid(&operator.path, operator.text(), "not a valid selector operator"));
        }
        if key.text() != "metadata.name" {
            errors.push(FieldError::invalid(&key.path, key.text(), "not a valid field selector key"));
        }
    }
}

fn requirement(at: &At<'_>, errors: &mut ErrorList) {
    let (operator, values) = (at.get("operator"), at.get("values"));
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(&values.path, detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(&values.path, detail));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(&values.path, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(FieldError::invalid(&operator.path, other, "not a valid selector operator")),
    }
    let key = at.get("key");
    rules::invalid_each(&key, names::label_key(key.text()), errors);
}

fn pod_term(term: &At<'_>, errors: &mut ErrorList) {
    for name in ["labelSelector", "namespaceSelector"] {
        if term.get(name).is_set() {
            rules::label_selector(&term.get(name), errors);
        }
    }
    for namespace in term.get("namespaces").items() {
        rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors);
    }
    let key = term.get("topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(&key.path, "can not be empty"));
    }
    let messages = names::label_key(key.text());
    rules::invalid_each(&key, messages, errors);
}

/// `ValidateTolerations`
pub fn tolerations(at: &At<'_>, errors: &mut ErrorList) {
    for toleration in at.items() {
        let (key, operator, value) = (toleration.get("key"), toleration.get("operator"), toleration.get("value"));
        let effect = toleration.get("effect");
        if !key.is_empty() {
            rules::invalid_each(&key, names::label_key(key.text()), errors);
        }
        if key.is_empty() && operator.text() != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&operator.path, operator.text(), detail));
        }
        if toleration.get("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&effect.path, effect.text(), detail));
        }
        match operator.text() {
            "" | "Equal" => rules::invalid_each(&value, label_value(&value), errors),
            "Exists" => {
                if !value.is_empty() {
                    let detail = "value must be empty when `operator` is 'Exists'";
                    errors.push(FieldError::invalid(&operator.path, value.text(), detail));
                }
            }
            other => errors.push(FieldError::not_supported(&operator.path, other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            rules::one_of(&effect, &["NoExecute", "NoSchedule", "PreferNoSchedule"], errors);
        }
    }
}

fn label_value(value: &At<'_>) -> Vec<String> {
    names::label_value(value.text())
}

/// `validateTopologySpreadConstraints`
pub fn spread(at: &At<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for constraint in at.items() {
        let (skew, key, when) =
            (constraint.get("maxSkew"), constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        if skew.number().unwrap_or(0) <= 0 {
            errors.push(FieldError::invalid(&skew.path, skew.number().unwrap_or(0), rules::NOT_POSITIVE));
        }
        if key.is_empty() {
            errors.push(FieldError::required(&key.path, "can not be empty"));
        } else {
            rules::invalid_each(&key, names::label_key(key.text()), errors);
        }
        if !matches!(when.text(), "DoNotSchedule" | "ScheduleAnyway") {
            let supported = ["DoNotSchedule", "ScheduleAnyway"];
            errors.push(FieldError::not_supported(&when.path, when.text(), &supported));
        }
        if !seen.insert((key.text(), when.text())) {
            let shown = format!("{{{}, {}}}", key.text(), when.text());
            let path = constraint.path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&path, shown));
        }
        let domains = constraint.get("minDomains");
        if domains.number().is_some_and(|number| number <= 0) {
            errors.push(FieldError::invalid(&domains.path, domains.value.clone(), rules::NOT_POSITIVE));
        }
        if domains.is_set() && when.text() != "DoNotSchedule" {
            let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
            errors.push(FieldError::invalid(&domains.path, domains.value.clone(), detail));
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            rules::one_of(&constraint.get(name), &["Honor", "Ignore"], errors);
        }
        if constraint.get("labelSelector").is_set() {
            rules::label_selector(&constraint.get("labelSelector"), errors);
        }
    }
}
