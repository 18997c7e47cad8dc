//! Probes and lifecycle hooks.

use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

/// Where a handler may stand: the kinds of it.
const PROBE_HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "sleep"];

/// `validateProbe` with the rules of its kind.
pub fn probe(at: &At<'_>, kind: &str, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    handler(at, PROBE_HANDLERS, errors);
    for name in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        rules::nonnegative(&at.get(name), errors);
    }
    let grace = at.get("terminationGracePeriodSeconds");
    if grace.number().is_some_and(|number| number <= 0) {
        errors.push(FieldError::invalid(&grace.path, grace.value.clone(), "must be greater than 0"));
    }
    let success = at.get("successThreshold");
    if kind != "readinessProbe" && success.number().is_some_and(|number| number != 1) {
        errors.push(FieldError::invalid(&success.path, success.value.clone(), "must be 1"));
    }
    if kind == "readinessProbe" && grace.is_set() {
        errors.push(FieldError::invalid(&grace.path, grace.value.clone(), "must not be set for readinessProbes"));
    }
}

/// `validateLifecycle`
pub fn lifecycle(at: &At<'_>, errors: &mut ErrorList) {
    for name in ["postStart", "preStop"] {
        let hook = at.get(name);
        if hook.is_set() {
            handler(&hook, HOOK_HANDLERS, errors);
        }
    }
}

fn handler(at: &At<'_>, kinds: &[&str], errors: &mut ErrorList) {
    let mut found = 0;
    for kind in kinds {
        let action = at.get(kind);
        if action.is_absent() {
            continue;
        }
        found += 1;
        if found > 1 {
            errors.push(FieldError::forbidden(&action.path, "may not specify more than 1 handler type"));
            continue;
        }
        match *kind {
            "exec" => _ = rules::required(&action.get("command"), errors),
            "httpGet" => http_get(&action, errors),
            "tcpSocket" => rules::port_or_name(&action.get("port"), errors),
            "grpc" => rules::port(&action.get("port"), errors),
            _ => rules::nonnegative(&action.get("seconds"), errors),
        }
    }
    if found == 0 {
        errors.push(FieldError::required(&at.path, "must specify a handler type"));
    }
}

fn http_get(at: &At<'_>, errors: &mut ErrorList) {
    rules::required(&at.get("path"), errors);
    rules::port_or_name(&at.get("port"), errors);
    rules::one_of(&at.get("scheme"), &["HTTP", "HTTPS"], errors);
    for header in at.get("httpHeaders").items() {
        let name = header.get("name");
        let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if name.is_empty() || !name.text().bytes().all(valid) {
            let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
            let detail = names::regex_error(message, "[-A-Za-z0-9]+", &["X-Header-Name"]);
            errors.push(FieldError::invalid(&name.path, name.text(), detail));
        }
    }
}
