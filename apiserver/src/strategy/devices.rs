//! Claims of devices and slices that offer them (`pkg/registry/resource`).

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::time;
use serde_json::{Map, Value};

use super::Strategy;
use super::workload::Initial;
use crate::Context;

/// The label of a namespace in which claims may ask for devices that others have.
const ADMIN_ACCESS: &str = "resource.kubernetes.io/admin-access";
/// What a device and an attribute may have only with features that are off.
const OFF_OF_DEVICE: [&str; 1] = ["nodeAllocatableResourceMappings"];
const OFF_OF_ATTRIBUTE: [&str; 4] = ["bools", "ints", "strings", "versions"];

/// A claim, which begins with an empty status.
pub(super) struct Claim;

impl Strategy for Claim {
    fn prepare_for_create(&self, ctx: &Context, new: &mut Object) {
        Initial("{}").prepare_for_create(ctx, new);
    }

    fn validate(&self, ctx: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        admin_access(ctx, new, &["spec", "devices", "requests"], old.is_none())
    }
}

/// A template of claims.
pub(super) struct Template;

impl Strategy for Template {
    fn validate(&self, ctx: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        admin_access(ctx, new, &["spec", "spec", "devices", "requests"], old.is_none())
    }
}

/// The first request of a new object for devices that others have needs a namespace that is marked (`AuthorizedForAdmin`).
fn admin_access(ctx: &Context, new: &Object, path: &[&str], is_new: bool) -> ErrorList {
    let requests = new.at(path).and_then(Value::as_array).filter(|_| is_new);
    let is_asked = |request: &Value| request.pointer("/exactly/adminAccess") == Some(&Value::Bool(true));
    let Some(index) = requests.and_then(|requests| requests.iter().position(is_asked)) else { return ErrorList::new() };
    let namespace = ctx.registry.get("", "namespaces", "", new.namespace());
    if namespace.is_some_and(|namespace| namespace.str_at(&["metadata", "labels", ADMIN_ACCESS]) == "true") {
        return ErrorList::new();
    }
    let why = format!("admin access to devices requires the `{ADMIN_ACCESS}: true` label on the containing namespace");
    let at = Path::new("spec").child("devices").child("requests").index(index).child("adminAccess");
    FieldError::forbidden(&at, why).into()
}

/// A slice, the taints of which say since when.
pub(super) struct Slice;

impl Strategy for Slice {
    fn prepare_for_create(&self, ctx: &Context, new: &mut Object) {
        complete(ctx, new);
    }

    fn prepare_for_update(&self, ctx: &Context, new: &mut Object, _: &Object) {
        complete(ctx, new);
    }
}

fn complete(ctx: &Context, slice: &mut Object) {
    let spec = slice.0.get_mut("spec").and_then(|spec| spec.get_mut("devices"));
    for device in spec.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        OFF_OF_DEVICE.iter().for_each(|name| drop(device.remove(*name)));
        for attribute in objects(device.get_mut("attributes").and_then(Value::as_object_mut)) {
            OFF_OF_ATTRIBUTE.iter().for_each(|name| drop(attribute.remove(*name)));
        }
        let taints = device.get_mut("taints").and_then(Value::as_array_mut);
        for taint in taints.into_iter().flatten().filter_map(Value::as_object_mut) {
            taint.entry("timeAdded").or_insert_with(|| time::format(ctx.now).into());
        }
    }
}

fn objects(map: Option<&mut Map<String, Value>>) -> impl Iterator<Item = &mut Map<String, Value>> {
    map.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut)
}
