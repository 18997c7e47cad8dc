//! Ingresses and network policies.

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;

/// `ValidateIngressCreate` and `ValidateIngressUpdate`
pub fn ingress(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    let (default, rules_list) = (spec.get("defaultBackend"), spec.get("rules"));
    if rules_list.is_empty() && default.is_absent() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&spec.path, rules_list.value.clone(), detail));
    }
    if default.is_set() {
        backend(&default, errors);
    }
    for rule in rules_list.items() {
        host(&rule.get("host"), errors);
        let http = rule.get("http");
        if http.is_set() && http.get("paths").is_empty() {
            errors.push(FieldError::required(&http.get("paths").path, ""));
        }
        for path in http.get("paths").items() {
            ingress_path(&path, errors);
        }
    }
    for tls in spec.get("tls").items() {
        for item in tls.get("hosts").items() {
            host(&item, errors);
        }
        let secret = tls.get("secretName");
        if !secret.is_empty() {
            rules::invalid_each(&secret, names::dns1123_subdomain(secret.text()), errors);
        }
    }
    let class = spec.get("ingressClassName");
    if class.is_set() {
        rules::invalid_each(&class, names::dns1123_subdomain(class.text()), errors);
    }
}

fn host(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_empty() {
        return;
    }
    if at.text().parse::<std::net::IpAddr>().is_ok() {
        errors.push(FieldError::invalid(&at.path, at.text(), "must be a DNS name, not an IP address"));
        return;
    }
    match at.text().strip_prefix("*.") {
        Some(rest) if at.text().contains('*') => {
            let messages = names::dns1123_subdomain(rest);
            if !messages.is_empty() {
                rules::invalid_each(at, names::wildcard_subdomain(at.text()), errors);
            }
        }
        _ if at.text().contains('*') => rules::invalid_each(at, names::wildcard_subdomain(at.text()), errors),
        _ => rules::invalid_each(at, names::dns1123_subdomain(at.text()), errors),
    }
}

/// `validateHTTPIngressPath`
fn ingress_path(item: &At<'_>, errors: &mut ErrorList) {
    const INVALID_SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
    const INVALID_SUFFIXES: [&str; 2] = ["/..", "/."];
    let (path, type_) = (item.get("path"), item.get("pathType"));
    if type_.is_absent() {
        errors.push(FieldError::required(&type_.path, "pathType must be specified"));
    }
    match type_.text() {
        "Exact" | "Prefix" => {
            if !path.text().starts_with('/') {
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
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.text().starts_with('/') {
                errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
            }
        }
        _ if type_.is_absent() => {}
        other => {
            let supported = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.push(FieldError::not_supported(&type_.path, other, &supported));
        }
    }
    backend(&item.get("backend"), errors);
}

fn backend(at: &At<'_>, errors: &mut ErrorList) {
    let (service, resource) = (at.get("service"), at.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => {
            let detail = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(&at.path, "", detail));
        }
        (false, false) => {
            errors.push(FieldError::required(&at.path, "port name or number is required"));
        }
        (false, true) => {
            rules::required(&resource.get("kind"), errors);
            rules::required(&resource.get("name"), errors);
        }
        (true, false) => {
            let name = service.get("name");
            if rules::required(&name, errors) {
                rules::invalid_each(&name, names::dns1035_label(name.text()), errors);
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
    }
}

/// `ValidateNetworkPolicy`
pub fn policy(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    rules::label_selector(&spec.get("podSelector"), errors);
    for (list, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(list).items() {
            for port in rule.get("ports").items() {
                policy_port(&port, errors);
            }
            for peer in rule.get(peers).items() {
                policy_peer(&peer, errors);
            }
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > 2 {
        let detail = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(&types.path, types.value.clone(), detail));
        return;
    }
    for type_ in types.items() {
        rules::one_of(&type_, &["Egress", "Ingress"], errors);
    }
}

fn policy_port(port: &At<'_>, errors: &mut ErrorList) {
    rules::one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"], errors);
    let (number, end) = (port.get("port"), port.get("endPort"));
    if number.is_set() {
        rules::port_or_name(&number, errors);
    }
    let Some(last) = end.number() else { return };
    match number.number() {
        None if number.is_absent() => {
            let detail = "may not be specified when `port` is not specified";
            errors.push(FieldError::invalid(&end.path, last, detail));
        }
        None => {
            let detail = "may not be specified when `port` is non-numeric";
            errors.push(FieldError::invalid(&end.path, last, detail));
        }
        Some(first) if last < first => {
            errors.push(FieldError::invalid(&end.path, last, "must be greater than or equal to `port`"));
        }
        Some(_) => rules::port(&end, errors),
    }
}

fn policy_peer(peer: &At<'_>, errors: &mut ErrorList) {
    let (pods, namespaces, block) = (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    for selector in [&pods, &namespaces] {
        if selector.is_set() {
            rules::label_selector(selector, errors);
        }
    }
    if block.is_set() {
        if let Some(range) = rules::cidr(&block.get("cidr"), errors) {
            for except in block.get("except").items() {
                let inner = rules::cidr(&except, errors);
                if inner.is_some_and(|inner| !range.contains(&inner) || inner.prefix_len() <= range.prefix_len()) {
                    let detail = "must be a strict subset of `cidr`";
                    errors.push(FieldError::invalid(&except.path, except.text(), detail));
                }
            }
        }
        if pods.is_set() || namespaces.is_set() {
            let detail = "may not specify both ipBlock and another peer";
            errors.push(FieldError::forbidden(&peer.path, detail));
        }
    } else if pods.is_absent() && namespaces.is_absent() {
        errors.push(FieldError::required(&peer.path, "must specify a peer"));
    }
}
