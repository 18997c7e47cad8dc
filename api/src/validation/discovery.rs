//! Endpoint slices.

use std::collections::{BTreeSet, HashSet};

use super::at::At;
use super::{addresses, rules};
use crate::field::{ErrorList, FieldError};
use crate::names;

const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20000;
const ENDPOINTS_MAX: usize = 1000;
const HINTS_MAX: usize = 8;
const TOPOLOGY_LABELS_MAX: usize = 16;

/// `ValidateEndpointSliceCreate` and `ValidateEndpointSliceUpdate`
pub(crate) fn slice(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let type_ = new.field("addressType");
    if rules::required(&type_, errors) {
        rules::one_of(&type_, &["FQDN", "IPv4", "IPv6"], errors);
    }
    ports(&new.field("ports"), errors);
    let list = new.field("endpoints");
    let unchanged = old.is_some_and(|old| old.field("endpoints").value == list.value);
    if list.len() > ENDPOINTS_MAX && !unchanged {
        errors.push(FieldError::too_many(&list.path, list.len(), ENDPOINTS_MAX));
    } else if !unchanged {
        for endpoint in list.items() {
            self::endpoint(&endpoint, type_.text(), errors);
        }
    }
    if let Some(old) = old {
        rules::immutable(&type_, &old.field("addressType"), errors);
    }
}

fn ports(at: &At<'_>, errors: &mut ErrorList) {
    if at.len() > PORTS_MAX {
        errors.push(FieldError::too_many(&at.path, at.len(), PORTS_MAX));
        return;
    }
    let mut seen = BTreeSet::new();
    for port in at.items() {
        let name = port.field("name");
        if !name.is_empty() {
            rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
        }
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
        let protocol = port.field("protocol");
        if protocol.is_absent() {
            errors.push(FieldError::required(&protocol.path, ""));
        }
        rules::one_of(&protocol, &["SCTP", "TCP", "UDP"], errors);
        let application = port.field("appProtocol");
        if application.is_set() {
            rules::invalid_each(&application, names::label_key(application.text()), errors);
        }
    }
}

fn endpoint(at: &At<'_>, type_: &str, errors: &mut ErrorList) {
    let list = at.field("addresses");
    if list.is_empty() {
        errors.push(FieldError::required(&list.path, "must contain at least 1 address"));
    } else if list.len() > ADDRESSES_MAX {
        errors.push(FieldError::too_many(&list.path, list.len(), ADDRESSES_MAX));
    }
    for address in list.items() {
        if type_ == "FQDN" {
            domain(&address, errors);
        } else if matches!(type_, "IPv4" | "IPv6") {
            self::address(&list, &address, type_, errors);
        }
    }
    let node = at.field("nodeName");
    if node.is_set() {
        rules::invalid_each(&node, names::dns1123_subdomain(node.text()), errors);
    }
    let topology = at.field("deprecatedTopology");
    if topology.len() > TOPOLOGY_LABELS_MAX {
        errors.push(FieldError::too_many(&topology.path, topology.len(), TOPOLOGY_LABELS_MAX));
    }
    rules::labels(&topology, errors);
    let host = at.field("hostname");
    if host.is_set() {
        rules::invalid_each(&host, names::dns1123_label(host.text()), errors);
    }
    hints(&at.field("hints"), errors);
}

/// An address that others can reach; those of version 6 must be in their canonical form.
fn address(list: &At<'_>, at: &At<'_>, type_: &str, errors: &mut ErrorList) {
    let before = errors.len();
    if type_ == "IPv4" {
        addresses::legacy_address(at, &HashSet::new(), errors);
    } else {
        rules::invalid_each(at, addresses::address(at.text()), errors);
    }
    if errors.len() > before {
        return;
    }
    let Some(ip) = addresses::parse_address(at.text()) else { return };
    if ip.is_ipv4() != (type_ == "IPv4") {
        errors.push(FieldError::invalid(&list.path, at.text(), format!("must be an {type_} address")));
    }
    rules::endpoint_ip(at, errors);
}

/// `IsFullyQualifiedDomainName`
fn domain(at: &At<'_>, errors: &mut ErrorList) {
    if !rules::required(at, errors) {
        return;
    }
    let name = at.text().strip_suffix('.').unwrap_or(at.text());
    let wrong = names::dns1123_subdomain(name);
    if !wrong.is_empty() {
        errors.push(FieldError::invalid(&at.path, name, wrong.join(",")));
    } else if !name.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(&at.path, name, detail));
    } else if let Some(label) = name.split('.').find(|label| !names::dns1123_label(label).is_empty()) {
        errors.push(FieldError::invalid(&at.path, label, names::dns1123_label(label).join(",")));
    }
}

fn hints(at: &At<'_>, errors: &mut ErrorList) {
    let (zones, nodes) = (at.field("forZones"), at.field("forNodes"));
    let lists = [(zones, names::label_value as fn(&str) -> Vec<String>), (nodes, names::dns1123_subdomain)];
    for (list, check) in lists {
        if list.len() > HINTS_MAX {
            errors.push(FieldError::too_many(&list.path, list.len(), HINTS_MAX));
            return;
        }
        let mut seen = BTreeSet::new();
        for name in list.items().map(|item| item.field("name")) {
            if !seen.insert(name.text()) {
                errors.push(FieldError::duplicate(&name.path, name.text()));
            }
            rules::invalid_each(&name, check(name.text()), errors);
        }
    }
}
