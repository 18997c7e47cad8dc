//! What was found, as the status of a claim has it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceRequestAllocationResult,
    ResourceClaim,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kube::ResourceExt;

use super::Amounts;
use super::allocator::{Chosen, Found};
use super::requests::{Choice, Matcher, Request};

/// The allocation of each claim.
pub(super) fn results(
    found: &Found,
    claims: &[Arc<ResourceClaim>],
    requests: &[Vec<Request<'_>>],
    matcher: &Matcher<'_>,
) -> Vec<AllocationResult> {
    let of_claim = |(number, claim): (usize, &Arc<ResourceClaim>)| {
        let (chosen, requests) = (&found.results[number], &requests[number]);
        let devices = chosen.iter().map(|device| result(device, requests, matcher)).collect();
        let taken: Vec<&Choice<'_>> =
            requests.iter().zip(&found.chosen[number]).map(|(request, option)| &request.options[*option]).collect();
        AllocationResult {
            allocation_timestamp: None,
            devices: Some(DeviceAllocationResult { config: config(claim, &taken), results: Some(devices) }),
            node_selector: node_selector(chosen, matcher),
        }
    };
    claims.iter().enumerate().map(of_claim).collect()
}

fn result(chosen: &Chosen, requests: &[Request<'_>], matcher: &Matcher<'_>) -> DeviceRequestAllocationResult {
    let choice = &requests[chosen.request].options[chosen.option];
    let (_, known, device) = matcher.at(chosen.place);
    let texts =
        |amounts: &Amounts| amounts.iter().map(|(name, amount)| (name.clone(), Text(amount.to_string()))).collect();
    let consumed = chosen.part.as_ref().filter(|(_, amounts)| !amounts.is_empty());
    DeviceRequestAllocationResult {
        request: choice.name.clone(),
        driver: known.id.driver.to_string(),
        pool: known.id.pool.to_string(),
        device: known.id.device.to_string(),
        admin_access: choice.admin.then_some(true),
        tolerations: Some(choice.tolerations.to_vec()).filter(|all| !all.is_empty()),
        share_id: chosen.part.as_ref().map(|(id, _)| id.clone()),
        consumed_capacity: consumed.map(|(_, amounts)| texts(amounts)),
        binding_conditions: device.binding_conditions.clone(),
        binding_failure_conditions: device.binding_failure_conditions.clone(),
    }
}

/// What classes and the claim say to drivers, for the requests that it is for. What a class says is said once.
fn config(claim: &ResourceClaim, taken: &[&Choice<'_>]) -> Option<Vec<DeviceAllocationConfiguration>> {
    let mut all: Vec<DeviceAllocationConfiguration> = Vec::new();
    for (at, choice) in taken.iter().enumerate() {
        let is_same = |other: &&&Choice<'_>| other.class.name_any() == choice.class.name_any();
        if taken[..at].iter().any(|other| is_same(&other)) {
            continue;
        }
        let requests: Vec<String> = taken.iter().filter(is_same).map(|choice| choice.name.clone()).collect();
        all.extend(choice.class.spec.config.iter().flatten().map(|config| DeviceAllocationConfiguration {
            source: "FromClass".into(),
            requests: Some(requests.clone()),
            opaque: config.opaque.clone(),
        }));
    }
    let own = claim.spec.devices.iter().flat_map(|devices| devices.config.iter().flatten());
    for config in own {
        let is_for = |choice: &&Choice<'_>| client::resource_claims::applies(config.requests.as_deref(), &choice.name);
        let times = match config.requests.as_ref().is_none_or(Vec::is_empty) {
            true => 1,
            false => taken.iter().copied().filter(|choice| is_for(choice)).count(),
        };
        all.extend(
            std::iter::repeat_with(|| DeviceAllocationConfiguration {
                source: "FromClaim".into(),
                requests: config.requests.clone(),
                opaque: config.opaque.clone(),
            })
            .take(times),
        );
    }
    Some(all).filter(|all| !all.is_empty())
}

/// Where the devices of a claim can be used; nothing if everywhere (`createNodeSelector`).
fn node_selector(chosen: &[Chosen], matcher: &Matcher<'_>) -> Option<NodeSelector> {
    let mut term = NodeSelectorTerm::default();
    for chosen in chosen {
        let (slice, _, device) = matcher.at(chosen.place);
        let spec = &slice.object.spec;
        let (name, selector) = match spec.per_device_node_selection == Some(true) {
            true => (&device.node_name, &device.node_selector),
            false => (&spec.node_name, &spec.node_selector),
        };
        if name.is_some() || device.binds_to_node == Some(true) {
            let requirement = NodeSelectorRequirement {
                key: "metadata.name".into(),
                operator: "In".into(),
                values: Some(vec![matcher.node.name().to_owned()]),
            };
            let term = NodeSelectorTerm { match_fields: Some(vec![requirement]), match_expressions: None };
            return Some(NodeSelector { node_selector_terms: vec![term] });
        }
        // Validation lets through no more than one.
        if let Some(other) = selector.as_ref().and_then(|selector| selector.node_selector_terms.first()) {
            add_new(&mut term.match_fields, other.match_fields.as_deref());
            add_new(&mut term.match_expressions, other.match_expressions.as_deref());
        }
    }
    let is_empty = term.match_fields.is_none() && term.match_expressions.is_none();
    (!is_empty).then(|| NodeSelector { node_selector_terms: vec![term] })
}

fn add_new(to: &mut Option<Vec<NodeSelectorRequirement>>, more: Option<&[NodeSelectorRequirement]>) {
    let sorted = |requirement: &NodeSelectorRequirement| {
        let mut values = requirement.values.clone().unwrap_or_default();
        values.sort();
        values.dedup();
        values
    };
    for requirement in more.unwrap_or_default() {
        let all = to.get_or_insert_default();
        let is_same = |other: &NodeSelectorRequirement| {
            other.key == requirement.key
                && other.operator == requirement.operator
                && sorted(other) == sorted(requirement)
        };
        if !all.iter().any(is_same) {
            all.push(requirement.clone());
        }
    }
}
