//! What devices of one claim must have in common, or must not.

use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, DeviceConstraint};

use super::inventory::Known;

/// A constraint of a claim, and the values of the devices that are under it so far.
#[derive(Debug)]
pub(crate) struct Constraint<'a> {
    requests: &'a [String],
    attribute: &'a str,
    is_distinct: bool,
    values: Vec<&'a DeviceAttribute>,
}

impl<'a> Constraint<'a> {
    /// The constraint of a claim, if it is of a kind that is known.
    pub(crate) fn new(constraint: &'a DeviceConstraint) -> Option<Self> {
        let (attribute, is_distinct) = match (&constraint.match_attribute, &constraint.distinct_attribute) {
            (Some(attribute), _) => (attribute, false),
            (None, Some(attribute)) => (attribute, true),
            (None, None) => return None,
        };
        let requests = constraint.requests.as_deref().unwrap_or_default();
        Some(Self { requests, attribute, is_distinct, values: Vec::new() })
    }

    /// Whether it is about devices of a request; `name` is that of the request, and after a slash the one of the
    /// alternative.
    pub(crate) fn applies(&self, name: &str) -> bool {
        client::resource_claims::applies(Some(self.requests), name)
    }

    /// Takes a device under the constraint, unless that would break it.
    pub(crate) fn add(&mut self, name: &str, known: &Known, device: &'a Device) -> bool {
        if !self.applies(name) {
            return true;
        }
        let Some(value) = lookup(&known.id.driver, device, self.attribute) else { return false };
        let fits = if self.is_distinct {
            !self.values.iter().any(|other| is_same(value, other))
        } else {
            self.values.first().is_none_or(|first| is_same(value, first))
        };
        if fits {
            self.values.push(value);
        }
        fits
    }

    /// Takes out the device that was added last.
    pub(crate) fn remove(&mut self, name: &str) {
        if self.applies(name) {
            self.values.pop();
        }
    }
}

/// The attribute of a device by its full name; what has no domain is of the driver's.
fn lookup<'a>(driver: &str, device: &'a Device, name: &str) -> Option<&'a DeviceAttribute> {
    let attributes = device.attributes.as_ref()?;
    if let Some(found) = attributes.get(name) {
        return Some(found);
    }
    let (domain, id) = name.split_once('/')?;
    attributes.get(id).filter(|_| domain == driver)
}

/// Whether two attributes have the same value of the same kind.
fn is_same(one: &DeviceAttribute, other: &DeviceAttribute) -> bool {
    match one {
        DeviceAttribute { string: Some(value), .. } => other.string.as_ref() == Some(value),
        DeviceAttribute { int: Some(value), .. } => other.int == Some(*value),
        DeviceAttribute { bool: Some(value), .. } => other.bool == Some(*value),
        DeviceAttribute { version: Some(value), .. } => other.version.as_ref() == Some(value),
        _ => false,
    }
}
