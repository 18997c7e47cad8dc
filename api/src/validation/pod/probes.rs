//! Probes and lifecycle hooks.

use super::scope::Scope;
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::{At, Name};
use crate::validation::rules;

/// Where a handler may stand: the kinds of it.
const PROBE_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];

/// The hooks and probes of a container.
pub(super) fn all(container: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    for hook in container.field("lifecycle").fields(["postStart", "preStop"]) {
        if hook.is_set() {
            handler(&hook, hook.known(HOOK_HANDLERS), scope, errors);
        }
    }
    for kind in container.known(["livenessProbe", "readinessProbe", "startupProbe"]) {
        let at = container.get(kind);
        if at.is_set() {
            probe(&at, &kind, scope, errors);
        }
    }
}

/// `validateProbe` with the rules of its kind.
fn probe(at: &At<'_>, kind: &str, scope: &Scope<'_>, errors: &mut ErrorList) {
    handler(at, at.known(PROBE_HANDLERS), scope, errors);
    const COUNTS: [&str; 5] =
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    for count in at.fields(COUNTS) {
        rules::nonnegative(&count, errors);
    }
    let (grace, success) = (at.field("terminationGracePeriodSeconds"), at.field("successThreshold"));
    if grace.number().is_some_and(|number| number <= 0) {
        errors.push(FieldError::invalid(&grace.path, grace.value.clone(), "must be greater than 0"));
    }
    if kind == "readinessProbe" {
        if grace.is_set() {
            errors.push(FieldError::invalid(&grace.path, grace.value.clone(), "must not be set for readinessProbes"));
        }
    } else if success.number().unwrap_or(0) != 1 {
        errors.push(FieldError::invalid(&success.path, success.number().unwrap_or(0), "must be 1"));
    }
}

/// `validateHandler`: the first that is there counts.
fn handler(at: &At<'_>, kinds: [Name; 4], scope: &Scope<'_>, errors: &mut ErrorList) {
    let mut found = false;
    for (kind, action) in kinds.iter().map(|kind| (kind, at.get(*kind))).filter(|(_, action)| action.is_set()) {
        if std::mem::replace(&mut found, true) {
            errors.push(FieldError::forbidden(&action.path, "may not specify more than 1 handler type"));
            continue;
        }
        match &**kind {
            "exec" => _ = rules::required(&action.field("command"), errors),
            "httpGet" => http_get(&action, errors),
            "tcpSocket" => rules::port_or_name(&action.field("port"), errors),
            "grpc" => rules::port(&action.field("port"), errors),
            _ => sleep(&action, scope, errors),
        }
    }
    if !found {
        errors.push(FieldError::required(&at.path, "must specify a handler type"));
    }
}

fn sleep(at: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let seconds = at.field("seconds").number().unwrap_or(0);
    if let Some(grace) = scope.grace.filter(|grace| !(0..=*grace).contains(&seconds)) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(FieldError::invalid(&at.path, seconds, detail));
    }
}

fn http_get(at: &At<'_>, errors: &mut ErrorList) {
    rules::required(&at.field("path"), errors);
    rules::port_or_name(&at.field("port"), errors);
    let scheme = at.field("scheme");
    if !["HTTP", "HTTPS"].contains(&scheme.text()) {
        errors.push(FieldError::not_supported(&scheme.path, scheme.text(), &["HTTP", "HTTPS"]));
    }
    let headers = at.field("httpHeaders");
    for header in headers.items() {
        let name = header.field("name").text();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
            let detail = names::regex_error(message, "[-A-Za-z0-9]+", &["X-Header-Name"]);
            errors.push(FieldError::invalid(&headers.path, name, detail));
        }
    }
}
