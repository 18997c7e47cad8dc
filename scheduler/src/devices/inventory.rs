//! The slices in which drivers offer devices, read once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use api::device_selector::DeviceView;
use api::quantity::{Quantity, QuantityError};
use k8s_openapi::api::resource::v1::{CapacityRequestPolicy, Counter, Device, ResourceSlice};

use super::{Amounts, DeviceId};

/// A slice, with what is needed of its devices.
#[derive(Debug)]
pub(crate) struct Slice {
    /// The slice itself.
    pub object: Arc<ResourceSlice>,
    /// What is known of each of its devices, in their order.
    pub devices: Vec<Known>,
    /// The counters that devices of the pool share, by set.
    pub counters: BTreeMap<String, Amounts>,
    /// What is wrong with an amount in it, if something is; nothing of such a slice is given away.
    pub problem: Option<String>,
}

/// What is known of a device.
#[derive(Debug)]
pub(crate) struct Known {
    /// Which one it is.
    pub id: DeviceId,
    /// How much it has of what.
    pub capacity: BTreeMap<String, Capacity>,
    /// What it takes of shared counters, by set.
    pub consumes: Vec<(String, Amounts)>,
    view: OnceLock<Result<DeviceView, String>>,
}

/// How much a device has of something, and how it may be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Capacity {
    /// All of it.
    pub value: Quantity,
    /// What is asked for by who does not say.
    pub default: Option<Quantity>,
    /// The amounts that may be asked for.
    pub valid_values: Option<Vec<Quantity>>,
    /// The least, the most and the steps between.
    pub range: Option<Range>,
}

/// The amounts that may be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    /// The least.
    pub min: Quantity,
    /// The most.
    pub max: Option<Quantity>,
    /// Which of those between.
    pub step: Option<Quantity>,
}

impl Slice {
    /// Reads a slice.
    pub(crate) fn new(object: Arc<ResourceSlice>) -> Self {
        let spec = &object.spec;
        let mut problem = None;
        let mut devices = Vec::new();
        for device in spec.devices.iter().flatten() {
            match Known::new(&spec.driver, &spec.pool.name, device) {
                Ok(known) => devices.push(known),
                Err(error) => {
                    problem = Some(format!("device {}: {error}", device.name));
                    devices.push(Known::nothing(DeviceId::new(&spec.driver, &spec.pool.name, &device.name)));
                }
            }
        }
        let mut counters = BTreeMap::new();
        for set in spec.shared_counters.iter().flatten() {
            match amounts(&set.counters) {
                Ok(amounts) => _ = counters.insert(set.name.clone(), amounts),
                Err(error) => problem = Some(format!("counter set {}: {error}", set.name)),
            }
        }
        Self { devices, counters, problem, object }
    }

    /// The name of the slice.
    pub(crate) fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// A device as it was given.
    pub(crate) fn device(&self, at: usize) -> &Device {
        &self.object.spec.devices.as_ref().expect("as many devices as are known")[at]
    }

    /// Whether it has counters that devices of the pool share.
    pub(crate) fn has_counters(&self) -> bool {
        self.object.spec.shared_counters.as_ref().is_some_and(|sets| !sets.is_empty())
    }
}

impl Known {
    fn new(driver: &str, pool: &str, device: &Device) -> Result<Self, QuantityError> {
        let mut known = Self::nothing(DeviceId::new(driver, pool, &device.name));
        for (name, capacity) in device.capacity.iter().flatten() {
            let value = Quantity::parse(&capacity.value.0)?;
            known.capacity.insert(name.clone(), Capacity::new(value, capacity.request_policy.as_ref())?);
        }
        for consumption in device.consumes_counters.iter().flatten() {
            known.consumes.push((consumption.counter_set.clone(), amounts(&consumption.counters)?));
        }
        Ok(known)
    }

    fn nothing(id: DeviceId) -> Self {
        Self { id, capacity: BTreeMap::new(), consumes: Vec::new(), view: OnceLock::new() }
    }

    /// What expressions see of the device, made when the first one looks.
    ///
    /// # Errors
    /// Why it cannot be shown.
    pub(crate) fn view(&self, device: &Device) -> Result<&DeviceView, &str> {
        let view = self.view.get_or_init(|| DeviceView::new(&self.id.driver, device));
        view.as_ref().map_err(String::as_str)
    }
}

impl Capacity {
    fn new(value: Quantity, policy: Option<&CapacityRequestPolicy>) -> Result<Self, QuantityError> {
        type Text = k8s_openapi::apimachinery::pkg::api::resource::Quantity;
        let read = |text: &Option<Text>| text.as_ref().map(|text| Quantity::parse(&text.0)).transpose();
        let Some(policy) = policy else { return Ok(Self { value, default: None, valid_values: None, range: None }) };
        let values = policy.valid_values.as_ref().filter(|values| !values.is_empty());
        let values = values.map(|values| values.iter().map(|value| Quantity::parse(&value.0)).collect());
        let range = policy.valid_range.as_ref().map(|range| {
            Ok(Range { min: Quantity::parse(&range.min.0)?, max: read(&range.max)?, step: read(&range.step)? })
        });
        let (valid_values, range) = (values.transpose()?, range.transpose()?);
        Ok(Self { value, default: read(&policy.default)?, valid_values, range })
    }
}

fn amounts(counters: &BTreeMap<String, Counter>) -> Result<Amounts, QuantityError> {
    counters.iter().map(|(name, counter)| Ok((name.clone(), Quantity::parse(&counter.value.0)?))).collect()
}

/// Every slice, by where its devices may be used.
#[derive(Debug, Default, Clone)]
pub(crate) struct Inventory {
    by_name: HashMap<String, Arc<Slice>>,
    /// Those of one node alone.
    by_node: HashMap<String, BTreeMap<String, Arc<Slice>>>,
    /// The others.
    shared: BTreeMap<String, Arc<Slice>>,
    by_pool: HashMap<(String, String), BTreeMap<String, Arc<Slice>>>,
}

impl Inventory {
    /// Adds a slice, or takes over its newer state.
    pub(crate) fn set(&mut self, object: Arc<ResourceSlice>) {
        let slice = Arc::new(Slice::new(object));
        let name = slice.name().to_owned();
        self.remove(&name);
        let spec = &slice.object.spec;
        match spec.node_name.as_deref().filter(|node| !node.is_empty() && !slice.has_counters()) {
            Some(node) => _ = self.by_node.entry(node.into()).or_default().insert(name.clone(), slice.clone()),
            None => _ = self.shared.insert(name.clone(), slice.clone()),
        }
        let pool = (spec.driver.clone(), spec.pool.name.clone());
        self.by_pool.entry(pool).or_default().insert(name.clone(), slice.clone());
        self.by_name.insert(name, slice);
    }

    /// Forgets a slice.
    pub(crate) fn remove(&mut self, name: &str) {
        let Some(slice) = self.by_name.remove(name) else { return };
        self.shared.remove(name);
        let spec = &slice.object.spec;
        let node = spec.node_name.clone().unwrap_or_default();
        forget(&mut self.by_node, &node, name);
        forget(&mut self.by_pool, &(spec.driver.clone(), spec.pool.name.clone()), name);
    }

    /// The slices that may have devices for a node.
    pub(crate) fn for_node(&self, node: &str) -> impl Iterator<Item = &Arc<Slice>> {
        self.by_node.get(node).into_iter().flat_map(BTreeMap::values).chain(self.shared.values())
    }

    /// Every slice of a pool, of whatever generation.
    pub(crate) fn of_pool(&self, driver: &str, pool: &str) -> impl Iterator<Item = &Arc<Slice>> {
        self.by_pool.get(&(driver.to_owned(), pool.to_owned())).into_iter().flat_map(BTreeMap::values)
    }
}

fn forget<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeMap<String, Arc<Slice>>>, key: &K, name: &str) {
    if let Some(slices) = map.get_mut(key) {
        slices.remove(name);
        if slices.is_empty() {
            map.remove(key);
        }
    }
}
