//! The pools whose devices a node can use (`GatherPools`).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use client::node_fit::selector_matches;
use k8s_openapi::api::core::v1::NodeSelector;

use super::Amounts;
use super::inventory::{Inventory, Slice};
use crate::node::NodeInfo;

/// The slices of a pool that matter to a node.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// The driver.
    pub driver: String,
    /// The pool.
    pub name: String,
    /// Whether slices of it are missing: the driver is at work on it.
    pub is_incomplete: bool,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// The slices with devices for the node, in the order of their names.
    pub slices: Vec<Arc<Slice>>,
    /// Those with devices for other nodes, if any of them may take of the same counters.
    pub others: Vec<Arc<Slice>>,
    /// The counters that devices share, by set.
    pub counters: BTreeMap<String, Amounts>,
}

impl Pool {
    /// Whether devices of it can be given away.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_incomplete && self.problem.is_none()
    }
}

/// Whether devices that are bound to a node, everywhere, or where a selector says can be used on a node.
pub(crate) fn matches(node: &NodeInfo, name: Option<&str>, everywhere: bool, selector: Option<&NodeSelector>) -> bool {
    match name.filter(|name| !name.is_empty()) {
        Some(name) => name == node.name(),
        None if everywhere => true,
        None => selector.is_some_and(|selector| selector_matches(selector, node.labels(), node.name())),
    }
}

fn is_relevant(slice: &Slice, node: &NodeInfo) -> bool {
    let spec = &slice.object.spec;
    if slice.has_counters() {
        return true;
    }
    let everywhere = spec.all_nodes == Some(true);
    let has_name = spec.node_name.as_deref().is_some_and(|name| !name.is_empty());
    if has_name || everywhere || spec.node_selector.is_some() {
        return matches(node, spec.node_name.as_deref(), everywhere, spec.node_selector.as_ref());
    }
    let for_node = |device: &k8s_openapi::api::resource::v1::Device| {
        matches(node, device.node_name.as_deref(), device.all_nodes == Some(true), device.node_selector.as_ref())
    };
    spec.per_device_node_selection == Some(true) && spec.devices.iter().flatten().any(for_node)
}

/// The pools that a node can use devices of, in the order of drivers and names; those with devices that must get ready
/// before a pod may be bound come last.
pub(crate) fn gather(inventory: &Inventory, node: &NodeInfo) -> Vec<Pool> {
    let mut found: BTreeMap<(String, String), Vec<Arc<Slice>>> = BTreeMap::new();
    for slice in inventory.for_node(node.name()).filter(|slice| is_relevant(slice, node)) {
        let pool = &slice.object.spec.pool;
        let slices = found.entry((slice.object.spec.driver.clone(), pool.name.clone())).or_default();
        match slices.first().map(|first| first.object.spec.pool.generation) {
            Some(generation) if pool.generation < generation => continue,
            Some(generation) if pool.generation > generation => slices.clear(),
            _ => {}
        }
        slices.push(slice.clone());
    }
    let (mut ready, mut slow) = (Vec::new(), Vec::new());
    for ((driver, name), slices) in found {
        let pool = whole(inventory, &driver, &name, slices);
        if let Some(pool) = pool {
            let pool = Pool { driver, name, ..pool };
            if has_conditions(&pool) { slow.push(pool) } else { ready.push(pool) }
        }
    }
    ready.extend(slow);
    ready
}

/// The pool of these slices; none if there is a newer generation that has no devices for the node.
fn whole(inventory: &Inventory, driver: &str, name: &str, slices: Vec<Arc<Slice>>) -> Option<Pool> {
    let pool = &slices.first()?.object.spec.pool;
    let (generation, wanted) = (pool.generation, pool.resource_slice_count);
    let is_all = |count: usize| i64::try_from(count).is_ok_and(|count| count == wanted);
    if is_all(slices.len()) {
        return Some(built(slices, Vec::new()));
    }
    let all: Vec<&Arc<Slice>> = inventory.of_pool(driver, name).collect();
    if all.iter().any(|slice| slice.object.spec.pool.generation > generation) {
        return None;
    }
    let current = all.into_iter().filter(|slice| slice.object.spec.pool.generation == generation);
    let (count, known) = (current.clone().count(), slices.iter().map(|slice| slice.name()).collect::<HashSet<_>>());
    if !is_all(count) {
        return Some(Pool { is_incomplete: true, ..Pool::default() });
    }
    let others = current.filter(|slice| !known.contains(slice.name())).cloned().collect();
    Some(built(slices, others))
}

fn built(mut slices: Vec<Arc<Slice>>, others: Vec<Arc<Slice>>) -> Pool {
    slices.sort_by(|one, other| one.name().cmp(other.name()));
    let mut pool = Pool { others, ..Pool::default() };
    pool.problem = problem(&slices, &mut pool);
    pool.slices = slices.into_iter().filter(|slice| !slice.has_counters()).collect();
    pool
}

/// What is wrong with a pool, if something is. Its counters are gathered on the way.
fn problem(slices: &[Arc<Slice>], pool: &mut Pool) -> Option<String> {
    if let Some(problem) = slices.iter().chain(&pool.others).find_map(|slice| slice.problem.clone()) {
        return Some(problem);
    }
    let mut names = HashSet::new();
    for known in slices.iter().filter(|slice| !slice.has_counters()).flat_map(|slice| &slice.devices) {
        if !names.insert(&known.id.device) {
            return Some(format!("duplicate device name {}", known.id.device));
        }
    }
    for (set, counters) in slices.iter().flat_map(|slice| &slice.counters) {
        if pool.counters.insert(set.clone(), counters.clone()).is_some() {
            return Some(format!("duplicate counter set name {set}"));
        }
    }
    let devices = slices.iter().chain(&pool.others).flat_map(|slice| &slice.devices);
    for (set, amounts) in devices.flat_map(|known| &known.consumes) {
        let Some(counters) = pool.counters.get(set) else { return Some(format!("counter set {set} not found")) };
        if let Some(name) = amounts.keys().find(|name| !counters.contains_key(*name)) {
            return Some(format!("counter {name} not found in counter set {set}"));
        }
    }
    None
}

fn has_conditions(pool: &Pool) -> bool {
    let devices = pool.slices.iter().flat_map(|slice| slice.object.spec.devices.iter().flatten());
    devices.into_iter().any(|device| device.binding_conditions.as_ref().is_some_and(|all| !all.is_empty()))
}
