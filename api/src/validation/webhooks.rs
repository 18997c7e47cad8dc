//! Configurations of admission webhooks, validating and mutating.

use std::collections::BTreeSet;

use serde_json::Value;

use super::admission_policies::match_conditions;
use super::at::At;
use super::rules;
use crate::cel::admission::Scope;
use crate::field::{ErrorList, FieldError, Path};
use crate::names;

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const TIMEOUT_SECONDS_MAX: i64 = 30;

/// `ValidateValidatingWebhookConfiguration`
pub(crate) fn validating(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    configuration(new, |_| None, errors);
}

/// `ValidateMutatingWebhookConfiguration`
pub(crate) fn mutating(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    configuration(new, |hook| Some(hook.field("reinvocationPolicy")), errors);
}

fn configuration<'a>(new: &At<'a>, reinvocation: fn(&At<'a>) -> Option<At<'a>>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for hook in new.field("webhooks").items() {
        webhook(&hook, reinvocation(&hook).as_ref(), errors);
        review_versions(&hook.field("admissionReviewVersions"), errors);
        let name = hook.field("name");
        if !name.is_empty() && !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
    }
}

fn webhook(hook: &At<'_>, reinvocation: Option<&At<'_>>, errors: &mut ErrorList) {
    qualified_name(&hook.field("name"), errors);
    for rule in hook.field("rules").items() {
        self::rule(&rule, errors);
    }
    rules::one_of(&hook.field("failurePolicy"), &["Fail", "Ignore"], errors);
    rules::one_of(&hook.field("matchPolicy"), &["Equivalent", "Exact"], errors);
    let effects = hook.field("sideEffects");
    if effects.is_absent() {
        errors.push(FieldError::required(&effects.path, "must specify one of None, NoneOnDryRun"));
    }
    rules::one_of(&effects, &["None", "NoneOnDryRun"], errors);
    let timeout = hook.field("timeoutSeconds");
    if let Some(number) = timeout.number().filter(|number| !(1..=TIMEOUT_SECONDS_MAX).contains(number)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&timeout.path, number, detail));
    }
    rules::label_selector(&hook.field("namespaceSelector"), errors);
    rules::label_selector(&hook.field("objectSelector"), errors);
    if let Some(policy) = reinvocation {
        rules::one_of(policy, &["IfNeeded", "Never"], errors);
    }
    client(&hook.field("clientConfig"), errors);
    match_conditions(&hook.field("matchConditions"), &Scope::default(), errors);
}

/// `IsFullyQualifiedName`
fn qualified_name(at: &At<'_>, errors: &mut ErrorList) {
    if !rules::required(at, errors) {
        return;
    }
    let wrong = names::dns1123_subdomain(at.text());
    if !wrong.is_empty() {
        errors.push(FieldError::invalid(&at.path, at.text(), wrong.join(",")));
    } else if at.text().split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(&at.path, at.text(), detail));
    }
}

/// `validateRuleWithOperations`
pub(super) fn rule(at: &At<'_>, errors: &mut ErrorList) {
    const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    let operations = at.field("operations");
    rules::required(&operations, errors);
    alone(&operations, "operations", errors);
    for operation in operations.items() {
        rules::one_of(&operation, &OPERATIONS, errors);
    }
    let (groups, versions) = (at.field("apiGroups"), at.field("apiVersions"));
    rules::required(&groups, errors);
    alone(&groups, "API groups", errors);
    rules::required(&versions, errors);
    alone(&versions, "API versions", errors);
    for version in versions.items() {
        rules::required(&version, errors);
    }
    resources(&at.field("resources"), errors);
    rules::one_of(&at.field("scope"), &["*", "Cluster", "Namespaced"], errors);
}

/// A wildcard stands alone.
fn alone(at: &At<'_>, what: &str, errors: &mut ErrorList) {
    if at.len() > 1 && at.items().any(|item| item.text() == "*") {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}

/// `validateResources`
fn resources(at: &At<'_>, errors: &mut ErrorList) {
    rules::required(at, errors);
    let (mut all_of, mut any_with) = (BTreeSet::new(), BTreeSet::new());
    let mut plain = false;
    for item in at.items() {
        if !rules::required(&item, errors) {
            continue;
        }
        let whole = item.text();
        let Some((resource, sub)) = whole.split_once('/') else {
            plain = whole != "*";
            continue;
        };
        for (_, covered) in
            [(all_of.contains(resource), format!("{resource}/*")), (any_with.contains(sub), format!("*/{sub}"))]
                .into_iter()
                .filter(|(present, _)| *present)
        {
            let detail = format!("if '{covered}' is present, must not specify {whole}");
            errors.push(FieldError::invalid(&item.path, whole, detail));
        }
        if sub == "*" {
            all_of.insert(resource);
        }
        if resource == "*" {
            any_with.insert(sub);
        }
    }
    let has = |name: &str| at.items().any(|item| item.text() == name);
    if at.len() > 1 && has("*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
    if has("*") && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}

fn review_versions(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_empty() {
        let detail = format!("must specify one of {}", REVIEW_VERSIONS.join(", "));
        errors.push(FieldError::required(&at.path, detail));
        return;
    }
    let mut seen = BTreeSet::new();
    for version in at.items() {
        if !seen.insert(version.text()) {
            errors.push(FieldError::invalid(&version.path, version.text(), "duplicate version"));
            continue;
        }
        rules::invalid_each(&version, names::dns1035_label(version.text()), errors);
    }
    if !REVIEW_VERSIONS.iter().any(|version| seen.contains(version)) {
        let detail = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}

/// Where a webhook is, in a definition of custom resources.
pub(crate) fn client_config(value: &Value, path: &Path, errors: &mut ErrorList) {
    client(&At::new(path.clone(), value), errors);
}

fn client(at: &At<'_>, errors: &mut ErrorList) {
    let (url, service) = (at.field("url"), at.field("service"));
    match (url.is_set(), service.is_set()) {
        (true, false) => self::url(&url, errors),
        (false, true) => self::service(&service, errors),
        _ => errors.push(FieldError::required(&at.path, "exactly one of url or service is required")),
    }
}

/// `ValidateWebhookURL`
fn url(at: &At<'_>, errors: &mut ErrorList) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (rest, fragment) = at.text().split_once('#').unwrap_or((at.text(), ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once(':').unwrap_or(("", rest));
    let authority = rest.strip_prefix("//").unwrap_or("").split('/').next().unwrap_or("");
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let mut refuse = |value: &str, detail: String| errors.push(FieldError::invalid(&at.path, value, detail));
    if !scheme.eq_ignore_ascii_case("https") {
        refuse(&scheme.to_lowercase(), format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        refuse(host, format!("host must be specified{FORM}"));
    }
    if let Some(user) = user {
        refuse(user, "user information is not permitted in the URL".into());
    }
    if !fragment.is_empty() {
        refuse(fragment, "fragments are not permitted in the URL".into());
    }
    if !query.is_empty() {
        refuse(query, "query parameters are not permitted in the URL".into());
    }
}

/// `ValidateWebhookService`, which is called with name and namespace exchanged, so the paths are too.
fn service(at: &At<'_>, errors: &mut ErrorList) {
    let (name, namespace) = (at.field("name"), at.field("namespace"));
    for (given, told) in [(&namespace, &name), (&name, &namespace)] {
        if given.is_empty() {
            errors.push(FieldError::required(&told.path, ""));
        }
    }
    let port = at.field("port");
    if let Some(number) = port.number().filter(|number| !(1..=65535).contains(number)) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(&port.path, number, detail));
    }
    let path = at.field("path");
    let text = path.text();
    let mut refuse = |detail: String| errors.push(FieldError::invalid(&path.path, text, detail));
    if matches!(text, "" | "/") {
        return;
    }
    if text == "//" {
        return refuse("segment[0] may not be empty".into());
    }
    if !text.starts_with('/') {
        refuse("must start with a '/'".into());
    }
    let mut letters = text.chars();
    letters.next();
    let inner = letters.as_str();
    for (index, step) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if step.is_empty() {
            refuse(format!("segment[{index}] may not be empty"));
            continue;
        }
        for message in names::dns1123_subdomain(step) {
            refuse(format!("segment[{index}]: {message}"));
        }
    }
}
