//! What claims ask for, read once for a node.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use api::quantity::Quantity;
use k8s_openapi::api::resource::v1::{
    CapacityRequirements, Device, DeviceClass, DeviceSelector, DeviceSubRequest, DeviceToleration, ExactDeviceRequest,
    ResourceClaim,
};
use kube::ResourceExt;

use super::allocator::{Failure, RESULTS_MAX};
use super::inventory::{Known, Slice};
use super::pools::{Pool, matches};
use super::selectors::Selectors;
use super::{Amounts, capacity};
use crate::node::NodeInfo;

/// A device by its place in the pools of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Place {
    /// The pool.
    pub pool: usize,
    /// The slice in it.
    pub slice: usize,
    /// The device in that.
    pub device: usize,
}

/// A request of a claim: what it asks for, or several things of which the first will do that can be had.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Whether it is several things.
    pub is_choice: bool,
    /// One, or several.
    pub options: Vec<Choice<'a>>,
}

/// Something that is asked for.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    /// The name of the request, and after a slash its own if it is one of several.
    pub name: String,
    /// The class of the devices.
    pub class: Arc<DeviceClass>,
    /// Whether others may have them as well.
    pub admin: bool,
    /// How many.
    pub count: usize,
    /// All devices that match: exactly these it must be.
    pub all: Option<Vec<Place>>,
    /// What they must be beside what the class says.
    pub selectors: &'a [DeviceSelector],
    /// Which taints of devices are borne.
    pub tolerations: &'a [DeviceToleration],
    /// How much of each.
    pub capacity: Amounts,
}

/// Where the parts of a request are found: claim, request, and which of several.
pub(crate) type Key = (usize, usize, usize);

/// What can be looked up of devices for a node. What an expression said of a device is kept.
pub(crate) struct Matcher<'a> {
    /// The pools of the node.
    pub pools: &'a [Pool],
    /// The node.
    pub node: &'a NodeInfo,
    /// Expressions.
    pub selectors: &'a Selectors,
    /// Classes by name.
    pub classes: &'a dyn Fn(&str) -> Option<Arc<DeviceClass>>,
    /// Whether time is up.
    pub is_over: &'a dyn Fn() -> bool,
    matched: RefCell<HashMap<(Key, Place), bool>>,
}

/// The namespace and name of a claim, as messages have it.
pub(super) fn key_of(claim: &ResourceClaim) -> String {
    format!("{}/{}", claim.namespace().unwrap_or_default(), claim.name_any())
}

impl<'a> Matcher<'a> {
    /// A matcher that has looked at nothing yet.
    pub(crate) fn new(
        pools: &'a [Pool],
        node: &'a NodeInfo,
        selectors: &'a Selectors,
        classes: &'a dyn Fn(&str) -> Option<Arc<DeviceClass>>,
        is_over: &'a dyn Fn() -> bool,
    ) -> Self {
        Self { pools, node, selectors, classes, is_over, matched: RefCell::default() }
    }

    /// A device by its place.
    pub(crate) fn at(&self, place: Place) -> (&'a Slice, &'a Known, &'a Device) {
        let pools: &'a [Pool] = self.pools;
        let slice: &'a Slice = &pools[place.pool].slices[place.slice];
        (slice, &slice.devices[place.device], slice.device(place.device))
    }

    /// What a claim asks for.
    ///
    /// # Errors
    /// If it cannot be read, or asks for all devices where it is not known which those are.
    pub(crate) fn requests(&self, number: usize, claim: &'a ResourceClaim) -> Result<Vec<Request<'a>>, Failure> {
        let requests = claim.spec.devices.as_ref().and_then(|devices| devices.requests.as_deref()).unwrap_or_default();
        let mut read = Vec::with_capacity(requests.len());
        for (at, request) in requests.iter().enumerate() {
            let several = request.first_available.as_deref().unwrap_or_default();
            let mut options = Vec::new();
            if let Some(exactly) = &request.exactly {
                options.push(self.choice(claim, (number, at, 0), Asked::exactly(&request.name, exactly))?);
            } else {
                for (place, part) in several.iter().enumerate() {
                    options.push(self.choice(claim, (number, at, place), Asked::part(&request.name, part))?);
                }
            }
            if options.is_empty() {
                let why = format!("claim {}, request {}: unknown request type", key_of(claim), request.name);
                return Err(Failure::Fatal(why));
            }
            read.push(Request { is_choice: request.exactly.is_none(), options });
        }
        Ok(read)
    }

    fn choice(&self, claim: &ResourceClaim, key: Key, asked: Asked<'a>) -> Result<Choice<'a>, Failure> {
        let of = || format!("claim {}, request {}", key_of(claim), asked.own_name);
        let fatal = |why: String| Failure::Fatal(format!("{}: {why}", of()));
        if let Some(at) = asked.selectors.iter().position(|selector| selector.cel.is_none()) {
            let why = format!("{}, selector #{at}: CEL expression empty (unsupported selector type?)", of());
            return Err(Failure::Fatal(why));
        }
        if asked.class.is_empty() {
            return Err(fatal("missing device class name (unsupported request type?)".into()));
        }
        let class = (self.classes)(asked.class).ok_or_else(|| {
            let why = format!("deviceclass.resource.k8s.io {:?} not found", asked.class);
            fatal(format!("could not retrieve device class {}: {why}", asked.class))
        })?;
        let amounts = asked.capacity.into_iter().flat_map(|capacity| capacity.requests.iter().flatten());
        let amounts = amounts.map(|(name, amount)| Ok((name.clone(), Quantity::parse(&amount.0)?)));
        let amounts: Result<Amounts, api::quantity::QuantityError> = amounts.collect();
        let mut choice = Choice {
            name: asked.name,
            class,
            admin: asked.admin,
            count: 0,
            all: None,
            selectors: asked.selectors,
            tolerations: asked.tolerations,
            capacity: amounts.map_err(|error| Failure::Fatal(format!("claim {}: {error}", key_of(claim))))?,
        };
        match asked.mode {
            "" | "ExactCount" => choice.count = usize::try_from(asked.count).unwrap_or(usize::MAX),
            "All" => {
                let all = self.all(claim, key, &choice, asked.own_name)?;
                choice.count = all.len();
                choice.all = Some(all);
            }
            other => return Err(Failure::Fatal(format!("{}: unsupported count mode {other}", of()))),
        }
        Ok(choice)
    }

    fn all(&self, claim: &ResourceClaim, key: Key, choice: &Choice<'_>, own: &str) -> Result<Vec<Place>, Failure> {
        let mut all = Vec::with_capacity(RESULTS_MAX);
        for (pool_at, pool) in self.pools.iter().enumerate() {
            let state = match pool {
                Pool { is_incomplete: true, .. } => "being updated",
                Pool { problem: Some(_), .. } => "invalid",
                _ => "",
            };
            if !state.is_empty() {
                let of = format!("claim {}, request {own}", key_of(claim));
                let pool = format!("{}/{}", pool.driver, pool.name);
                let why = format!("{of}: asks for all devices, but resource pool {pool} is currently {state}");
                return Err(Failure::Fatal(why));
            }
            for (slice_at, slice) in pool.slices.iter().enumerate() {
                for device in 0..slice.devices.len() {
                    let place = Place { pool: pool_at, slice: slice_at, device };
                    let has_enough = || capacity::fits(&choice.capacity, &slice.devices[device].capacity, None, None);
                    if self.is_selectable(claim, key, choice, place)? && has_enough() {
                        all.push(place);
                    }
                }
            }
        }
        Ok(all)
    }

    /// Whether a device is what a request asks for, whoever may have it.
    ///
    /// # Errors
    /// If an expression fails on it.
    pub(crate) fn is_selectable(
        &self,
        claim: &ResourceClaim,
        key: Key,
        choice: &Choice<'_>,
        place: Place,
    ) -> Result<bool, Failure> {
        if let Some(known) = self.matched.borrow().get(&(key, place)) {
            return Ok(*known);
        }
        if (self.is_over)() {
            return Err(Failure::TimedOut);
        }
        let (slice, known, device) = self.at(place);
        let of_class = choice.class.spec.selectors.as_deref().unwrap_or_default();
        let class = || format!("class {}", choice.class.name_any());
        let wanted = self.select(of_class, known, device, &class)?
            && self.select(choice.selectors, known, device, &|| format!("claim {}", key_of(claim)))?;
        let per_device = slice.object.spec.per_device_node_selection == Some(true);
        let everywhere = device.all_nodes == Some(true);
        let selector = device.node_selector.as_ref();
        let found = wanted && (!per_device || matches(self.node, device.node_name.as_deref(), everywhere, selector));
        self.matched.borrow_mut().insert((key, place), found);
        Ok(found)
    }

    fn select(
        &self,
        selectors: &[DeviceSelector],
        known: &Known,
        device: &Device,
        of: &dyn Fn() -> String,
    ) -> Result<bool, Failure> {
        for (at, selector) in selectors.iter().enumerate() {
            let source = selector.cel.as_ref().map_or("", |cel| cel.expression.as_str());
            let compiled = self.selectors.get(source);
            let said =
                |what: &str, why: &str| Failure::Fatal(format!("{}: selector #{at}: CEL {what} error: {why}", of()));
            let compiled = compiled.as_ref().as_ref().map_err(|why| said("compile", why))?;
            let view = known.view(device).map_err(|why| said("runtime", why))?;
            if !compiled.matches(view).map_err(|why| said("runtime", &why))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What the two kinds of requests have in common.
struct Asked<'a> {
    name: String,
    own_name: &'a str,
    class: &'a str,
    mode: &'a str,
    count: i64,
    admin: bool,
    selectors: &'a [DeviceSelector],
    tolerations: &'a [DeviceToleration],
    capacity: Option<&'a CapacityRequirements>,
}

impl<'a> Asked<'a> {
    fn exactly(name: &'a str, request: &'a ExactDeviceRequest) -> Self {
        Self {
            name: name.to_owned(),
            own_name: name,
            class: &request.device_class_name,
            mode: request.allocation_mode.as_deref().unwrap_or_default(),
            count: request.count.unwrap_or(1),
            admin: request.admin_access == Some(true),
            selectors: request.selectors.as_deref().unwrap_or_default(),
            tolerations: request.tolerations.as_deref().unwrap_or_default(),
            capacity: request.capacity.as_ref(),
        }
    }

    fn part(of: &str, request: &'a DeviceSubRequest) -> Self {
        Self {
            name: format!("{of}/{}", request.name),
            own_name: &request.name,
            class: &request.device_class_name,
            mode: request.allocation_mode.as_deref().unwrap_or_default(),
            count: request.count.unwrap_or(1),
            admin: false,
            selectors: request.selectors.as_deref().unwrap_or_default(),
            tolerations: request.tolerations.as_deref().unwrap_or_default(),
            capacity: request.capacity.as_ref(),
        }
    }
}
