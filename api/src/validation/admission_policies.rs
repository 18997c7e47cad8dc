//! Admission policies and their bindings, validating and mutating.

use std::collections::BTreeSet;

use super::at::At;
use super::{conditions, rules, webhooks};
use crate::cel::admission::{Scope, Wanted, is_identifier};
use crate::field::{ErrorList, FieldError};
use crate::names;

const MATCH_CONDITIONS_MAX: usize = 64;
const AUDIT_ANNOTATIONS_MAX: usize = 20;
const VALUE_EXPRESSION_BYTES_MAX: usize = 5 * 1024;

/// `ValidateValidatingAdmissionPolicy` and `ValidateValidatingAdmissionPolicyUpdate`
pub(crate) fn validating_policy(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let mut scope = common(&spec, old, errors);
    if spec.field("variables").is_empty() {
        scope = Scope::without_variables(scope.has_params);
    }
    variables(&spec, &mut scope, errors);
    let (validations, annotations) = (spec.field("validations"), spec.field("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        for at in [&validations, &annotations] {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.push(FieldError::required(&at.path, detail));
        }
        return;
    }
    for validation in validations.items() {
        self::validation(&validation, &scope, errors);
    }
    if annotations.len() > AUDIT_ANNOTATIONS_MAX {
        let detail = format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations");
        errors.push(FieldError::invalid(&annotations.path, annotations.value.clone(), detail));
    }
    let mut seen = BTreeSet::new();
    for annotation in annotations.items() {
        audit_annotation(new.at(&["metadata", "name"]).text(), &annotation, &scope, errors);
        let key = annotation.field("key");
        if !seen.insert(key.text()) {
            errors.push(FieldError::duplicate(&key.path, key.text()));
        }
    }
}

/// `ValidateMutatingAdmissionPolicy` and `ValidateMutatingAdmissionPolicyUpdate`
pub(crate) fn mutating_policy(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let mut scope = common(&spec, old, errors);
    variables(&spec, &mut scope, errors);
    let mutations = spec.field("mutations");
    if mutations.is_empty() {
        errors.push(FieldError::required(&mutations.path, "mutations must contain at least one item"));
    }
    for mutation in mutations.items() {
        self::mutation(&mutation, &scope, errors);
    }
    let policy = spec.field("reinvocationPolicy");
    rules::required_one_of(&policy, &["IfNeeded", "Never"], "", errors);
}

/// `ValidateValidatingAdmissionPolicyBinding`
pub(crate) fn validating_binding(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    binding(&spec, errors);
    let actions = spec.field("validationActions");
    let mut seen = BTreeSet::new();
    for action in actions.items() {
        rules::one_of(&action, &["Audit", "Deny", "Warn"], errors);
        if !seen.insert(action.text()) {
            errors.push(FieldError::duplicate(&action.path, action.text()));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                      API response and headers serves no purpose)";
        errors.push(FieldError::invalid(&actions.path, actions.value.clone(), detail));
    }
    if seen.is_empty() {
        errors.push(FieldError::required(&actions.path, "at least one validation action is required"));
    }
}

/// `ValidateMutatingAdmissionPolicyBinding`
pub(crate) fn mutating_binding(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    binding(&new.field("spec"), errors);
}

/// `validateValidatingAdmissionPolicyStatus`
pub(crate) fn validating_policy_status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let status = new.field("status");
    for warning in status.at(&["typeChecking", "expressionWarnings"]).items() {
        rules::required(&warning.field("warning"), errors);
        rules::required(&warning.field("fieldRef"), errors);
    }
    conditions::all(&status.field("conditions"), errors);
}

/// What both kinds of policy begin with. Returns what their expressions may name.
fn common(spec: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) -> Scope {
    let failure = spec.field("failurePolicy");
    if failure.is_absent() {
        errors.push(FieldError::required(&failure.path, ""));
    } else {
        rules::one_of(&failure, &["Fail", "Ignore"], errors);
    }
    let kind = spec.field("paramKind");
    if kind.is_set() {
        param_kind(&kind, errors);
    }
    let matched = spec.field("matchConstraints");
    if matched.is_absent() {
        errors.push(FieldError::required(&matched.path, ""));
    } else {
        match_resources(&matched, errors);
        rules::required(&matched.field("resourceRules"), errors);
    }
    let list = spec.field("matchConditions");
    // Conditions that are stored and do not change are not looked at again.
    if old.is_none_or(|old| old.at(&["spec", "matchConditions"]).value != list.value) {
        let scope = Scope::without_variables(kind.is_set());
        match_conditions(&list, &scope, errors);
    }
    Scope::with_variables(kind.is_set())
}

/// `validateParamKind`
fn param_kind(at: &At<'_>, errors: &mut ErrorList) {
    let (version, kind) = (at.field("apiVersion"), at.field("kind"));
    let text = version.text();
    let mut invalid = |value: &str, detail: String| errors.push(FieldError::invalid(&version.path, value, detail));
    match text.matches('/').count() {
        _ if text.is_empty() => errors.push(FieldError::required(&version.path, "")),
        0 | 1 => {
            let (group, name) = text.split_once('/').unwrap_or(("", text));
            let problems = if group.is_empty() { Vec::new() } else { names::dns1123_subdomain(group) };
            if !problems.is_empty() {
                invalid(group, problems.join(","));
            }
            let problems = names::dns1035_label(name);
            if name.is_empty() {
                invalid(text, "version must be specified".into());
            } else if !problems.is_empty() {
                invalid(name, problems.join(","));
            }
        }
        _ => invalid(text, format!("unexpected GroupVersion string: {text}")),
    }
    if rules::required(&kind, errors) {
        let problems = names::dns1035_label(&kind.text().to_lowercase());
        if !problems.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
            errors.push(FieldError::invalid(&kind.path, kind.text(), detail));
        }
    }
}

/// `validateMatchResources`
fn match_resources(at: &At<'_>, errors: &mut ErrorList) {
    let policy = at.field("matchPolicy");
    if policy.is_absent() {
        errors.push(FieldError::required(&policy.path, ""));
    }
    rules::one_of(&policy, &["Equivalent", "Exact"], errors);
    for selector in at.fields(["namespaceSelector", "objectSelector"]) {
        if selector.is_absent() {
            errors.push(FieldError::required(&selector.path, ""));
        }
        rules::label_selector(&selector, errors);
    }
    for list in at.fields(["resourceRules", "excludeResourceRules"]) {
        for rule in list.items() {
            let mut seen = BTreeSet::new();
            for name in rule.field("resourceNames").items() {
                rules::invalid_each(&name, names::path_segment(name.text()), errors);
                if !seen.insert(name.text()) {
                    errors.push(FieldError::duplicate(&name.path, name.text()));
                }
            }
            webhooks::rule(&rule, errors);
        }
    }
}

/// `validateMatchConditions`
pub(super) fn match_conditions(list: &At<'_>, scope: &Scope, errors: &mut ErrorList) {
    if list.len() > MATCH_CONDITIONS_MAX {
        errors.push(FieldError::too_many(&list.path, list.len(), MATCH_CONDITIONS_MAX));
    }
    let mut seen = BTreeSet::new();
    for condition in list.items() {
        let (name, expression) = (condition.field("name"), condition.field("expression"));
        let source = expression.text().trim();
        if source.is_empty() {
            errors.push(FieldError::required(&expression.path, ""));
        } else if let Some(problem) = scope.problem(source, Wanted::Bool) {
            errors.push(FieldError::invalid(&expression.path, source, problem));
        }
        if rules::required(&name, errors) {
            rules::invalid_each(&name, names::label_key(name.text()), errors);
            if !seen.insert(name.text()) {
                errors.push(FieldError::duplicate(&name.path, name.text()));
            }
        }
    }
}

/// `validateVariable`
fn variables(spec: &At<'_>, scope: &mut Scope, errors: &mut ErrorList) {
    for variable in spec.field("variables").items() {
        let (name, expression) = (variable.field("name"), variable.field("expression"));
        if name.text().trim().is_empty() {
            errors.push(FieldError::required(&name.path, "name is not specified"));
        } else if !is_identifier(name.text()) {
            errors.push(FieldError::invalid(&name.path, name.text(), "must be a valid CEL identifier"));
        }
        if expression.text().trim().is_empty() {
            errors.push(FieldError::required(&expression.path, "expression is not specified"));
        } else if let Some(problem) = scope.declare(name.text(), expression.text()) {
            errors.push(FieldError::invalid(&expression.path, expression.text(), problem));
        }
    }
}

/// `validateValidation`
fn validation(at: &At<'_>, scope: &Scope, errors: &mut ErrorList) {
    let (expression, message) = (at.field("expression"), at.field("message"));
    if expression.text().trim().is_empty() {
        errors.push(FieldError::required(&expression.path, "expression is not specified"));
    } else if let Some(problem) = scope.problem(expression.text(), Wanted::Bool) {
        errors.push(FieldError::invalid(&expression.path, expression.text(), problem));
    }
    let of_message = at.field("messageExpression");
    if !of_message.is_empty() {
        let problem = match of_message.text().trim() {
            "" => Some("must be non-empty if specified".to_string()),
            _ => scope.problem(of_message.text(), Wanted::Text),
        };
        if let Some(problem) = problem {
            errors.push(FieldError::invalid(&of_message.path, of_message.text(), problem));
        }
    }
    let trimmed = message.text().trim();
    if !message.is_empty() && trimmed.is_empty() {
        errors.push(FieldError::invalid(&message.path, message.text(), "must be non-empty if specified"));
    } else if trimmed.contains(['\n', '\r']) {
        errors.push(FieldError::invalid(&message.path, message.text(), "must not contain line breaks"));
    }
    let supported = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
    rules::one_of(&at.field("reason"), &supported, errors);
}

/// `validateAuditAnnotation`
fn audit_annotation(policy: &str, at: &At<'_>, scope: &Scope, errors: &mut ErrorList) {
    let (key, expression) = (at.field("key"), at.field("valueExpression"));
    if policy.is_empty() {
        errors.push(FieldError::invalid(&key.path, key.text(), "requires metadata.name be non-empty"));
    } else {
        let whole = format!("{policy}/{}", key.text());
        for message in names::label_key(&whole) {
            errors.push(FieldError::invalid(&key.path, whole.as_str(), message));
        }
    }
    let source = expression.text().trim();
    if source.is_empty() {
        errors.push(FieldError::required(&expression.path, "valueExpression is not specified"));
    } else if source.len() > VALUE_EXPRESSION_BYTES_MAX {
        let detail = format!("must not exceed {VALUE_EXPRESSION_BYTES_MAX} bytes in length");
        errors.push(FieldError::required(&expression.path, detail));
    } else if let Some(problem) = scope.problem(source, Wanted::TextOrNull) {
        errors.push(FieldError::invalid(&expression.path, expression.text(), problem));
    }
}

/// `validateMutation`
fn mutation(at: &At<'_>, scope: &Scope, errors: &mut ErrorList) {
    let [apply, json] = at.known(["applyConfiguration", "jsonPatch"]);
    let patches = [("ApplyConfiguration", apply, Wanted::Configuration), ("JSONPatch", json, Wanted::JsonPatch)];
    let type_ = at.field("patchType");
    let Some((name, own, wanted)) = patches.iter().find(|(name, ..)| *name == type_.text()) else {
        rules::required_one_of(&type_, &patches.map(|(name, ..)| name), "", errors);
        return;
    };
    let patch = at.get(*own);
    let expression = patch.field("expression");
    let source = expression.text().trim();
    if patch.is_absent() {
        errors.push(FieldError::required(&patch.path, format!("must be specified when patchType is {name}")));
    } else if source.is_empty() {
        errors.push(FieldError::required(&expression.path, ""));
    } else if let Some(problem) = scope.problem(source, *wanted) {
        errors.push(FieldError::invalid(&expression.path, source, problem));
    }
    for (_, other, _) in patches.iter().filter(|(_, field, _)| field != own && at.get(*field).is_set()) {
        let detail = format!("must not be specified when patchType is {name}");
        errors.push(FieldError::invalid(&at.get(*other).path, format!("{{{other}}}"), detail));
    }
}

/// What both kinds of binding begin with.
fn binding(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.field("policyName");
    if rules::required(&policy, errors) {
        rules::invalid_each(&policy, names::dns1123_subdomain(policy.text()), errors);
    }
    let params = spec.field("paramRef");
    if params.is_set() {
        param_ref(&params, errors);
    }
    let matched = spec.field("matchResources");
    if matched.is_set() {
        match_resources(&matched, errors);
    }
}

/// `validateParamRef`
fn param_ref(at: &At<'_>, errors: &mut ErrorList) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let (name, selector, action) = (at.field("name"), at.field("selector"), at.field("parameterNotFoundAction"));
    if !name.is_empty() {
        rules::invalid_each(&name, names::path_segment(name.text()), errors);
        if selector.is_set() {
            errors.push(FieldError::forbidden(&name.path, EXCLUSIVE));
        }
    }
    if selector.is_set() {
        rules::label_selector(&selector, errors);
        if !name.is_empty() {
            errors.push(FieldError::forbidden(&selector.path, EXCLUSIVE));
        }
    }
    if name.is_empty() && selector.is_absent() {
        errors.push(FieldError::required(&at.path, "one of name or selector must be specified"));
    }
    rules::required_one_of(&action, &["Deny", "Allow"], "", errors);
}
