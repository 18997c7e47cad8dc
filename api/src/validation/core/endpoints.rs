//! Endpoints.

use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

/// `ValidateEndpoints`; subsets that were stored so stay as they are.
pub(crate) fn endpoints(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let subsets = new.field("subsets");
    if old.is_some_and(|old| rules::same(old.field("subsets").value, subsets.value)) {
        return;
    }
    for subset in subsets.items() {
        let (ready, other, ports) =
            (subset.field("addresses"), subset.field("notReadyAddresses"), subset.field("ports"));
        if ready.is_empty() && other.is_empty() {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&subset.path, detail));
        }
        for at in ready.items().chain(other.items()) {
            address(&at, errors);
        }
        for at in ports.items() {
            port(&at, ports.len() > 1, errors);
        }
    }
}

fn address(address: &At<'_>, errors: &mut ErrorList) {
    let (ip, host, node) = (address.field("ip"), address.field("hostname"), address.field("nodeName"));
    rules::ip(&ip, errors);
    if !host.is_empty() {
        rules::invalid_each(&host, names::dns1123_label(host.text()), errors);
    }
    if node.is_set() {
        rules::invalid_each(&node, names::dns1123_subdomain(node.text()), errors);
    }
    rules::endpoint_ip(&ip, errors);
}

fn port(port: &At<'_>, needs_name: bool, errors: &mut ErrorList) {
    let (name, protocol) = (port.field("name"), port.field("appProtocol"));
    if !name.is_empty() {
        rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
    } else if needs_name {
        errors.push(FieldError::required(&name.path, ""));
    }
    rules::port(&port.field("port"), errors);
    rules::required_one_of(&port.field("protocol"), &["SCTP", "TCP", "UDP"], "", errors);
    if protocol.is_set() {
        rules::invalid_each(&protocol, names::label_key(protocol.text()), errors);
    }
}
