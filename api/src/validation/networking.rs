//! Ingresses and network policies.

use std::collections::HashSet;

use super::at::At;
use super::{addresses, rules};
use crate::field::{ErrorList, FieldError};
use crate::names;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// What of an ingress that is stored already was valid once and may stay.
#[derive(Clone, Copy, Default)]
struct Kept {
    secret_names: bool,
    wildcard_rules: bool,
}

/// `ValidateIngressCreate` and `ValidateIngressUpdate`
pub(crate) fn ingress(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    ingress_spec(&spec, kept(old), errors);
    let annotation = new.at(&["metadata", "annotations"]).key(CLASS_ANNOTATION);
    let class = spec.field("ingressClassName");
    if old.is_none() && annotation.is_set() && class.is_set() && annotation.text() != class.text() {
        let path = crate::field::Path::new("annotations").child(CLASS_ANNOTATION);
        let detail = "must match `ingressClassName` when both are specified";
        errors.push(FieldError::invalid(&path, annotation.text(), detail));
    }
}

fn kept(old: Option<&At<'_>>) -> Kept {
    let Some(spec) = old.map(|old| old.field("spec")) else { return Kept::default() };
    let is_bad = |name: &At<'_>| !name.is_empty() && !names::dns1123_subdomain(name.text()).is_empty();
    let is_bad_rule = |rule: &At<'_>| {
        let mut errors = ErrorList::new();
        http(rule, &mut errors);
        rule.field("host").text().contains('*') && !errors.is_empty()
    };
    Kept {
        secret_names: spec.field("tls").items().any(|tls| is_bad(&tls.field("secretName"))),
        wildcard_rules: spec.field("rules").items().any(|rule| is_bad_rule(&rule)),
    }
}

/// `ValidateIngressSpec`
fn ingress_spec(spec: &At<'_>, kept: Kept, errors: &mut ErrorList) {
    let (default, rules_list) = (spec.field("defaultBackend"), spec.field("rules"));
    if rules_list.is_empty() && default.is_absent() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&spec.path, rules_list.value.clone(), detail));
    }
    if default.is_set() {
        backend(&default, errors);
    }
    for rule in rules_list.items() {
        let name = rule.field("host");
        if !name.is_empty() {
            if addresses::parse_address(name.text()).is_some() {
                errors.push(FieldError::invalid(&name.path, name.text(), "must be a DNS name, not an IP address"));
            }
            host(&name, errors);
        }
        if !(kept.wildcard_rules && name.text().contains('*')) {
            http(&rule, errors);
        }
    }
    for tls in spec.field("tls").items() {
        for item in tls.field("hosts").items() {
            host(&item, errors);
        }
        let secret = tls.field("secretName");
        if !kept.secret_names && !secret.is_empty() {
            rules::invalid_each(&secret, names::dns1123_subdomain(secret.text()), errors);
        }
    }
    let class = spec.field("ingressClassName");
    if class.is_set() {
        rules::invalid_each(&class, names::dns1123_subdomain(class.text()), errors);
    }
}

fn host(at: &At<'_>, errors: &mut ErrorList) {
    let check = if at.text().contains('*') { names::wildcard_subdomain } else { names::dns1123_subdomain };
    rules::invalid_each(at, check(at.text()), errors);
}

/// `validateIngressRuleValue`
fn http(rule: &At<'_>, errors: &mut ErrorList) {
    let http = rule.field("http");
    if http.is_set() && http.field("paths").is_empty() {
        errors.push(FieldError::required(&http.field("paths").path, ""));
    }
    for path in http.field("paths").items() {
        ingress_path(&path, errors);
    }
}

/// `validateHTTPIngressPath`
fn ingress_path(item: &At<'_>, errors: &mut ErrorList) {
    const INVALID_SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
    const INVALID_SUFFIXES: [&str; 2] = ["/..", "/."];
    let (path, type_) = (item.field("path"), item.field("pathType"));
    if type_.is_absent() {
        errors.push(FieldError::required(&type_.path, "pathType must be specified"));
        return;
    }
    let is_relative = !path.text().starts_with('/');
    match type_.text() {
        "Exact" | "Prefix" => {
            if is_relative {
                errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
            }
            for sequence in INVALID_SEQUENCES.iter().filter(|sequence| path.text().contains(**sequence)) {
                let detail = format!("must not contain '{sequence}'");
                errors.push(FieldError::invalid(&path.path, path.text(), detail));
            }
            for suffix in INVALID_SUFFIXES.iter().filter(|suffix| path.text().ends_with(**suffix)) {
                errors.push(FieldError::invalid(&path.path, path.text(), format!("cannot end with '{suffix}'")));
            }
        }
        "ImplementationSpecific" if !path.is_empty() && is_relative => {
            errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
        }
        "ImplementationSpecific" => {}
        other => {
            let supported = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.push(FieldError::not_supported(&type_.path, other, &supported));
        }
    }
    backend(&item.field("backend"), errors);
}

/// `validateIngressBackend`
fn backend(at: &At<'_>, errors: &mut ErrorList) {
    let (service, resource) = (at.field("service"), at.field("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => {
            let detail = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(&at.path, "", detail));
        }
        (false, false) => {
            errors.push(FieldError::invalid(&at.path, "", "resource or service backend is required"));
        }
        (false, true) => {
            let group = resource.field("apiGroup");
            if group.is_set() {
                rules::invalid_each(&group, names::dns1123_subdomain(group.text()), errors);
            }
            for field in resource.fields(["kind", "name"]) {
                if rules::required(&field, errors) {
                    rules::invalid_each(&field, names::path_segment(field.text()), errors);
                }
            }
        }
        (true, false) => service_backend(at, &service, errors),
    }
}

fn service_backend(at: &At<'_>, service: &At<'_>, errors: &mut ErrorList) {
    let name = service.field("name");
    if rules::required(&name, errors) {
        rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
    }
    let (port_name, number) = (service.at(&["port", "name"]), service.at(&["port", "number"]));
    match (port_name.is_empty(), rules::is_zero(&number)) {
        (true, true) => errors.push(FieldError::required(&at.path, "port name or number is required")),
        (false, false) => {
            errors.push(FieldError::invalid(&at.path, "", "cannot set both port name & port number"));
        }
        (false, true) => rules::invalid_each(&port_name, names::port_name(port_name.text()), errors),
        (true, false) => rules::port(&number, errors),
    }
}

/// `ValidateIngressLoadBalancerStatus`
pub(crate) fn ingress_status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let before = old.map(|old| old.at(&["status", "loadBalancer", "ingress"]));
    let kept: HashSet<&str> =
        before.iter().flat_map(At::items).map(|item| item.field("ip").text()).filter(|ip| !ip.is_empty()).collect();
    for item in new.at(&["status", "loadBalancer", "ingress"]).items() {
        let (ip, host) = (item.field("ip"), item.field("hostname"));
        if !ip.is_empty() {
            addresses::legacy_address(&ip, &kept, errors);
        }
        if !host.is_empty() {
            rules::invalid_each(&host, names::dns1123_subdomain(host.text()), errors);
            if addresses::parse_address(host.text()).is_some() {
                errors.push(FieldError::invalid(&host.path, host.text(), "must be a DNS name, not an IP address"));
            }
        }
    }
}
