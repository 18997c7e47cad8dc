//! `DynamicResources`: a pod goes where the devices are that its claims have, or can have.

pub(crate) mod extended;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use client::node_fit::selector_matches;
use client::resource_claims::{is_allocated, is_reserved_for, reserved_for};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerExtendedResourceRequest;
use k8s_openapi::api::resource::v1::{AllocationResult, DeviceRequestAllocationResult, ResourceClaim};
use kube::ResourceExt;

use super::{Plugin, Rejection, normalize};
use crate::device_claims::DeviceClaims;
use crate::devices::allocator::{Allocator, Failure};
use crate::devices::inventory::Inventory;
use crate::devices::ledger::Ledger;
use crate::lookup::Lookup;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use extended::Extended;

const PLUGIN: Plugin = Plugin::DynamicResources;
/// How long devices may be looked for, for one attempt (`DynamicResourcesFilterTimeoutDefault`, there for each node).
const SEARCH_MAX: Duration = Duration::from_secs(10);
/// How long devices may take to get ready (`DynamicResourcesBindingTimeoutDefault`).
pub(crate) const BINDING_MAX: Duration = Duration::from_secs(600);
/// The most things of which the first will do (`FirstAvailableDeviceRequestMaxSize`).
const OPTIONS_MAX: usize = 8;

/// The pod's claims, and what was found for them.
#[derive(Default)]
pub(crate) struct State(Option<Work>);

struct Work {
    devices: Arc<DeviceClaims>,
    /// The claims that the pod names.
    claims: Vec<Arc<ResourceClaim>>,
    extended: Option<Extended>,
    ledger: Arc<Ledger>,
    inventory: Arc<Inventory>,
    deadline: Duration,
    now: Timestamp,
    /// What can be had on each node that was looked at.
    found: RefCell<HashMap<String, Found>>,
    /// The claims that have devices which are not on some node, or will not get ready.
    unavailable: RefCell<BTreeSet<usize>>,
}

/// What the pod would get on a node.
#[derive(Debug, Default, Clone)]
struct Found {
    /// For each claim without devices, in their order; that for extended resources last.
    allocations: Vec<AllocationResult>,
    extended: Option<(ResourceClaim, Vec<ContainerExtendedResourceRequest>)>,
}

/// What must be written before the pod can be bound.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The pod's claims, and the devices that they get.
    pub claims: Vec<(Arc<ResourceClaim>, Option<AllocationResult>)>,
    /// The claim that is to be made for extended resources, its devices, and which container asks for which request.
    pub extended: Option<(ResourceClaim, AllocationResult, Vec<ContainerExtendedResourceRequest>)>,
}

impl Plan {
    /// Whether nothing must be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.extended.is_none()
    }
}

/// What can be done for a pod that no node takes (`PostFilter`).
#[derive(Debug, Clone)]
pub(crate) enum GiveUp {
    /// The devices of a claim, which may find others.
    Devices(Arc<ResourceClaim>),
    /// A claim that an earlier attempt made for extended resources.
    Claim(Arc<ResourceClaim>),
}

fn rejected(reason: impl Into<String>) -> Rejection {
    Rejection::final_(PLUGIN, reason)
}

fn key_of(claim: &ResourceClaim) -> String {
    format!("{}/{}", claim.namespace().unwrap_or_default(), claim.name_any())
}

impl State {
    /// Looks the claims up.
    ///
    /// # Errors
    /// If one is missing, or somebody else is at work on it.
    pub(crate) fn new(pod: &PodInfo, lookup: &dyn Lookup) -> Result<Self, Rejection> {
        let Some(devices) = lookup.devices() else { return Ok(Self::default()) };
        if pod.claims.is_empty() && pod.extended.is_none() {
            return Ok(Self::default());
        }
        let claims = devices.of_pod(pod).map_err(rejected)?;
        let extended = Extended::new(pod, devices);
        if claims.is_empty() && extended.is_none() {
            return Ok(Self::default());
        }
        for claim in claims.iter().filter(|claim| !is_allocated(claim)) {
            if devices.is_pending(claim.metadata.uid.as_deref().unwrap_or_default()) {
                return Err(rejected(format!("resource claim {} is in the process of being allocated", key_of(claim))));
            }
            has_classes(devices, claim)?;
        }
        let (ledger, inventory) = devices.snapshot();
        Ok(Self(Some(Work {
            deadline: devices.elapsed() + SEARCH_MAX,
            now: devices.clock.now(),
            devices: devices.clone(),
            claims,
            extended,
            ledger,
            inventory,
            found: RefCell::default(),
            unavailable: RefCell::default(),
        })))
    }

    /// Rejects a node without the devices.
    ///
    /// # Errors
    /// Why the node cannot take the pod.
    pub(crate) fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        self.0.as_ref().map_or(Ok(()), |work| work.filter(pod, node))
    }

    /// Prefers nodes where requests get what they would rather have.
    pub(crate) fn score(&self, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let work = self.0.as_ref()?;
        let mut scores: Vec<i64> = nodes.iter().map(|node| work.score(node)).collect();
        normalize(&mut scores, false);
        Some(scores)
    }

    /// What must be written before the pod can be bound to `node`, which was not rejected.
    pub(crate) fn plan(&self, node: &str) -> Plan {
        let Some(work) = &self.0 else { return Plan::default() };
        let found = work.found.borrow().get(node).cloned().unwrap_or_default();
        let mut allocations = found.allocations.into_iter();
        let claims = work.claims.iter().map(|claim| {
            let allocation = if is_allocated(claim) { None } else { allocations.next() };
            (claim.clone(), allocation)
        });
        let claims = claims.collect();
        let extended = found.extended.and_then(|(claim, asked)| Some((claim, allocations.next()?, asked)));
        Plan { claims, extended }
    }

    /// What could be given up so that the pod may find a place.
    pub(crate) fn give_up(&self, pod: &PodInfo) -> Option<GiveUp> {
        let work = self.0.as_ref()?;
        let only_its_own = |claim: &&Arc<ResourceClaim>| match reserved_for(claim) {
            [] => true,
            [one] => one.uid == pod.uid,
            _ => false,
        };
        let unavailable = work.unavailable.borrow();
        let mut claims = unavailable.iter().map(|at| &work.claims[*at]);
        if let Some(claim) = claims.find(only_its_own) {
            return Some(GiveUp::Devices(claim.clone()));
        }
        work.extended.as_ref().and_then(|extended| extended.earlier.clone()).map(GiveUp::Claim)
    }

    /// Whether the pod has claims.
    pub(crate) fn has_claims(&self) -> bool {
        self.0.is_some()
    }
}

/// Whether all classes are there that a claim names.
fn has_classes(devices: &DeviceClaims, claim: &ResourceClaim) -> Result<(), Rejection> {
    let check = |class: &str, request: &str| match devices.class(class) {
        _ if class.is_empty() => Err(Rejection::error(PLUGIN, format!("request {request}: unsupported request type"))),
        None => Err(rejected(format!("request {request}: device class {class} does not exist"))),
        Some(_) => Ok(()),
    };
    for request in claim.spec.devices.iter().flat_map(|devices| devices.requests.iter().flatten()) {
        let several = request.first_available.as_deref().unwrap_or_default();
        match &request.exactly {
            Some(exactly) => check(&exactly.device_class_name, &request.name)?,
            None if several.is_empty() => {
                let of = format!("resource claim {}, request {}", key_of(claim), request.name);
                return Err(rejected(format!("{of}: unknown request type")));
            }
            None => {
                for part in several {
                    check(&part.device_class_name, &format!("{}/{}", request.name, part.name))?;
                }
            }
        }
    }
    Ok(())
}

impl Work {
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let extended = match &self.extended {
            Some(extended) => extended.on(pod, node, &self.devices)?,
            None => None,
        };
        if self.claims.is_empty() && extended.is_none() {
            return Ok(());
        }
        let gone = |claim: &&ResourceClaim| {
            let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
            allocation.is_some_and(|allocation| {
                let selector = allocation.node_selector.as_ref();
                !selector.is_none_or(|selector| selector_matches(selector, node.labels(), node.name()))
                    || !self.will_be_ready(claim)
            })
        };
        let unavailable: Vec<usize> = (0..self.claims.len()).filter(|at| gone(&&*self.claims[*at])).collect();
        let allocations = self.search(node, extended.as_ref().map(|(claim, _)| claim))?;
        if !unavailable.is_empty() {
            self.unavailable.borrow_mut().extend(unavailable);
            return Err(rejected("resourceclaim not available on the node"));
        }
        self.found.borrow_mut().insert(node.name().to_owned(), Found { allocations, extended });
        Ok(())
    }

    /// Looks for devices for the claims that have none.
    fn search(&self, node: &NodeInfo, extended: Option<&ResourceClaim>) -> Result<Vec<AllocationResult>, Rejection> {
        let mut wanted: Vec<_> = self.claims.iter().filter(|claim| !is_allocated(claim)).cloned().collect();
        wanted.extend(extended.map(|claim| Arc::new(claim.clone())));
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let (devices, deadline) = (&*self.devices, self.deadline);
        let allocator = Allocator {
            inventory: &self.inventory,
            ledger: &self.ledger,
            selectors: &devices.selectors,
            classes: &|name| devices.class(name),
            is_over: &|| devices.elapsed() > deadline,
            share_id: &|| devices.share_id(),
        };
        match allocator.allocate(node, &wanted) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(rejected("cannot allocate all claims")),
            Err(Failure::OnNode(why)) => Err(rejected(why)),
            Err(Failure::Fatal(why)) => Err(Rejection::error(PLUGIN, why)),
            Err(Failure::TimedOut) => {
                let why = format!("node {}: timed out trying to allocate devices", node.name());
                Err(Rejection::error(PLUGIN, why))
            }
        }
    }

    /// Whether the devices of a claim are ready, or may still get so in time.
    fn will_be_ready(&self, claim: &ResourceClaim) -> bool {
        match readiness(claim) {
            Readiness::Ready => true,
            Readiness::Failed(_) => false,
            Readiness::Waiting => !is_late(claim, self.now),
        }
    }

    fn score(&self, node: &NodeInfo) -> i64 {
        let found = self.found.borrow();
        let Some(found) = found.get(node.name()) else { return 0 };
        let mut allocations = found.allocations.iter();
        let mut score = 0;
        for claim in &self.claims {
            let has = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
            let Some(allocation) = has.or_else(|| allocations.next()) else { continue };
            let results = || allocation.devices.iter().flat_map(|devices| devices.results.iter().flatten());
            for request in claim.spec.devices.iter().flat_map(|devices| devices.requests.iter().flatten()) {
                for (at, part) in request.first_available.iter().flatten().enumerate() {
                    let name = format!("{}/{}", request.name, part.name);
                    if request.exactly.is_none() && results().any(|result| result.request == name) {
                        score += OPTIONS_MAX.saturating_sub(at) as i64;
                    }
                }
            }
        }
        score
    }
}

/// Whether the devices of a claim can be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// They can.
    Ready,
    /// Drivers are at work on them.
    Waiting,
    /// They will not get ready; why.
    Failed(String),
}

/// The results of a claim that must get ready.
pub(crate) fn conditional(claim: &ResourceClaim) -> impl Iterator<Item = &DeviceRequestAllocationResult> {
    let allocation = claim.status.iter().filter_map(|status| status.allocation.as_ref());
    let results = allocation.flat_map(|a| a.devices.iter()).flat_map(|devices| devices.results.iter().flatten());
    results.filter(|result| result.binding_conditions.as_ref().is_some_and(|all| !all.is_empty()))
}

/// Whether the devices of a claim that has some are ready (`isClaimReadyForBinding`).
pub(crate) fn readiness(claim: &ResourceClaim) -> Readiness {
    for result in conditional(claim) {
        let devices = claim.status.iter().flat_map(|status| status.devices.iter().flatten());
        let mut of_result = devices.filter(|device| {
            (&device.driver, &device.pool, &device.device) == (&result.driver, &result.pool, &result.device)
        });
        let Some(device) = of_result.next() else { return Readiness::Waiting };
        let conditions = device.conditions.as_deref().unwrap_or_default();
        let holding = |name: &String| conditions.iter().find(|c| c.type_ == *name && c.status == "True");
        if let Some(failed) = result.binding_failure_conditions.iter().flatten().find_map(holding) {
            let of = format!("claim={}, reason={}", claim.name_any(), failed.reason);
            return Readiness::Failed(format!("device binding failed: {of}, message={:?}", failed.message));
        }
        if result.binding_conditions.iter().flatten().any(|name| holding(name).is_none()) {
            return Readiness::Waiting;
        }
    }
    Readiness::Ready
}

/// Whether devices had their time to get ready (`isClaimTimeout`).
pub(crate) fn is_late(claim: &ResourceClaim, now: Timestamp) -> bool {
    let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
    let since = allocation.and_then(|allocation| allocation.allocation_timestamp.as_ref());
    let waited = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
    conditional(claim).next().is_some() && since.is_some_and(|since| waited(since.0) > BINDING_MAX)
}

/// Whether a claim is the pod's already.
pub(crate) fn is_mine(claim: &ResourceClaim, pod: &PodInfo) -> bool {
    is_reserved_for(claim, &pod.uid)
}
