//! Network policies.

use std::collections::HashSet;

use serde_json::Value;

use super::at::At;
use super::{addresses, rules};
use crate::field::{ErrorList, FieldError};
use crate::names;

/// `ValidateNetworkPolicy` and `ValidateNetworkPolicyUpdate`
pub(crate) fn policy(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let blocks: Vec<At<'_>> = old.iter().flat_map(|old| blocks(&old.field("spec"))).collect();
    let kept: HashSet<&str> = blocks
        .iter()
        .flat_map(|block| block.field("except").items().chain([block.field("cidr")]).collect::<Vec<_>>())
        .map(|range| range.text())
        .collect();
    rules::label_selector(&spec.field("podSelector"), errors);
    for (rule, peers) in rules_with_peers(&spec) {
        for port in rule.field("ports").items() {
            self::port(&port, errors);
        }
        for peer in peers.items() {
            self::peer(&peer, &kept, errors);
        }
    }
    let types = spec.field("policyTypes");
    if types.len() > 2 {
        let detail = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(&types.path, types.value.clone(), detail));
        return;
    }
    for type_ in types.items() {
        rules::one_of(&type_, &["Ingress", "Egress"], errors);
    }
}

/// The address ranges of a policy.
pub(crate) fn blocks<'a>(spec: &At<'a>) -> Vec<At<'a>> {
    let peers = rules_with_peers(spec).flat_map(|(_, peers)| peers.items());
    peers.map(|peer| peer.field("ipBlock")).filter(At::is_set).collect()
}

/// The rules of a policy for both directions, each with its peers.
fn rules_with_peers<'a>(spec: &At<'a>) -> impl Iterator<Item = (At<'a>, At<'a>)> + use<'a> {
    let ingress = spec.field("ingress").items().map(|rule| (rule.clone(), rule.field("from")));
    let egress = spec.field("egress").items().map(|rule| (rule.clone(), rule.field("to")));
    ingress.chain(egress)
}

/// `ValidateNetworkPolicyPort`
fn port(at: &At<'_>, errors: &mut ErrorList) {
    rules::one_of(&at.field("protocol"), &["TCP", "UDP", "SCTP"], errors);
    let (port, end) = (at.field("port"), at.field("endPort"));
    match (port.value, end.number()) {
        (Value::Null, Some(last)) => {
            let detail = "may not be specified when `port` is not specified";
            errors.push(FieldError::invalid(&end.path, last, detail));
        }
        (Value::Null, None) => {}
        (Value::String(name), last) => {
            if let Some(last) = last {
                let detail = "may not be specified when `port` is non-numeric";
                errors.push(FieldError::invalid(&end.path, last, detail));
            }
            rules::invalid_each(&port, names::port_name(name), errors);
        }
        (_, last) => {
            rules::port(&port, errors);
            let first = port.number().unwrap_or(0);
            if last.is_some_and(|last| last < first) {
                // The reference shows the first port here.
                errors.push(FieldError::invalid(&end.path, first, "must be greater than or equal to `port`"));
            }
            if last.is_some() {
                rules::port(&end, errors);
            }
        }
    }
}

/// `ValidateNetworkPolicyPeer`
fn peer(at: &At<'_>, kept: &HashSet<&str>, errors: &mut ErrorList) {
    let selectors = at.fields(["podSelector", "namespaceSelector"]);
    for selector in selectors.iter().filter(|selector| selector.is_set()) {
        rules::label_selector(selector, errors);
    }
    let block = at.field("ipBlock");
    if block.is_set() {
        ip_block(&block, kept, errors);
    }
    let selects = selectors.iter().any(At::is_set);
    if block.is_absent() && !selects {
        errors.push(FieldError::required(&at.path, "must specify a peer"));
    } else if block.is_set() && selects {
        errors.push(FieldError::forbidden(&at.path, "may not specify both ipBlock and another peer"));
    }
}

/// `ValidateIPBlock`
fn ip_block(at: &At<'_>, kept: &HashSet<&str>, errors: &mut ErrorList) {
    let range = at.field("cidr");
    if !rules::required(&range, errors) {
        return;
    }
    addresses::legacy_range(&range, kept, errors);
    let Some(net) = addresses::parse_range(range.text()) else { return };
    for except in at.field("except").items() {
        addresses::legacy_range(&except, kept, errors);
        let Some(part) = addresses::parse_range(except.text()) else { continue };
        if !net.contains(&part.addr()) || net.prefix_len() >= part.prefix_len() {
            errors.push(FieldError::invalid(&except.path, except.text(), "must be a strict subset of `cidr`"));
        }
    }
}
