//! Affinity and tolerations.

use super::spread;
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// `validateAffinity`
pub(crate) fn affinity(at: &At<'_>, errors: &mut ErrorList) {
    let node = at.field("nodeAffinity");
    if node.field(REQUIRED).is_set() {
        node_selector(&node.field(REQUIRED), errors);
    }
    for term in node.field(PREFERRED).items() {
        weight(&term.field("weight"), errors);
        node_selector_term(&term.field("preference"), false, errors);
    }
    for kind in at.fields(["podAffinity", "podAntiAffinity"]) {
        for term in kind.field(REQUIRED).items() {
            pod_term(&term, errors);
        }
        for term in kind.field(PREFERRED).items() {
            weight(&term.field("weight"), errors);
            pod_term(&term.field("podAffinityTerm"), errors);
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
pub(crate) fn node_selector(at: &At<'_>, errors: &mut ErrorList) {
    let terms = at.field("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(FieldError::required(&terms.path, "must have at least one node selector term"));
    }
    for term in terms.items() {
        node_selector_term(&term, true, errors);
    }
}

/// One term; values are looked at only where they bind.
fn node_selector_term(term: &At<'_>, binds: bool, errors: &mut ErrorList) {
    for expression in term.field("matchExpressions").items() {
        requirement(&expression, binds, errors);
    }
    for field in term.field("matchFields").items() {
        let (key, values) = (field.field("key"), field.field("values"));
        if matches!(field.field("operator").text(), "In" | "NotIn") {
            if values.len() != 1 {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(FieldError::required(&values.path, detail));
            }
        } else {
            let operator = field.field("operator");
            errors.push(FieldError::invalid(&operator.path, operator.text(), "not a valid selector operator"));
        }
        if key.text() != "metadata.name" {
            errors.push(FieldError::invalid(&key.path, key.text(), "not a valid field selector key"));
            continue;
        }
        for value in values.items() {
            rules::invalid_each(&value, names::dns1123_subdomain(value.text()), errors);
        }
    }
}

fn requirement(at: &At<'_>, binds: bool, errors: &mut ErrorList) {
    let (operator, values) = (at.field("operator"), at.field("values"));
    rules::requirement(at, errors);
    match operator.text() {
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(&values.path, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(FieldError::invalid(&operator.path, other, "not a valid selector operator")),
    }
    let key = at.field("key");
    rules::invalid_each(&key, names::label_key(key.text()), errors);
    for value in values.items().filter(|_| binds) {
        rules::invalid_each(&value, names::label_value(value.text()), errors);
    }
}

fn pod_term(term: &At<'_>, errors: &mut ErrorList) {
    for selector in term.fields(["labelSelector", "namespaceSelector"]).iter().filter(|selector| selector.is_set()) {
        rules::label_selector(selector, errors);
    }
    for namespace in term.field("namespaces").items() {
        for message in names::dns1123_label(namespace.text()) {
            errors.push(FieldError::invalid(&term.path.child("namespace"), namespace.text(), message));
        }
    }
    spread::label_keys(term, Some(&term.field("mismatchLabelKeys")), errors);
    let key = term.field("topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(&key.path, "can not be empty"));
    }
    let messages = names::label_key(key.text());
    rules::invalid_each(&key, messages, errors);
}

/// `ValidateTolerations`
pub(crate) fn tolerations(at: &At<'_>, errors: &mut ErrorList) {
    for toleration in at.items() {
        let (key, operator, value) = (toleration.field("key"), toleration.field("operator"), toleration.field("value"));
        let effect = toleration.field("effect");
        if !key.is_empty() {
            rules::invalid_each(&key, names::label_key(key.text()), errors);
        }
        if key.is_empty() && operator.text() != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&operator.path, operator.text(), detail));
        }
        if toleration.field("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&effect.path, effect.text(), detail));
        }
        match operator.text() {
            "" | "Equal" => {
                let wrong = names::label_value(value.text());
                if !wrong.is_empty() {
                    errors.push(FieldError::invalid(&operator.path, value.text(), wrong.join(";")));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    let detail = "value must be empty when `operator` is 'Exists'";
                    errors.push(FieldError::invalid(&operator.path, value.text(), detail));
                }
            }
            // Comparing is known, and disabled.
            other @ ("Lt" | "Gt") => {
                let supported = ["Equal", "Exists", "Lt", "Gt"];
                errors.push(FieldError::not_supported(&operator.path, other, &supported));
            }
            other => errors.push(FieldError::not_supported(&operator.path, other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            rules::one_of(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"], errors);
        }
    }
}
