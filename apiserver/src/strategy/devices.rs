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

/// The status of a claim.
pub(super) struct ClaimStatus;

impl Strategy for ClaimStatus {
    /// What was said of devices goes with them (`dropDeallocatedStatusDevices`).
    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        let (had, has) = (allocated(old), allocated(new));
        let gone: Vec<Device> = had.into_iter().filter(|device| !has.contains(device)).collect();
        let Some(status) = new.0.get_mut("status").and_then(Value::as_object_mut) else { return };
        let Some(said) = status.get_mut("devices").and_then(Value::as_array_mut) else { return };
        said.retain(|device| !gone.contains(&device_of(device)));
        if said.is_empty() {
            status.remove("devices");
        }
    }

    /// Devices that others have are given only where they may be asked for (`AuthorizedForAdminStatus`).
    fn validate(&self, ctx: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        let path = ["status", "allocation", "devices", "results"];
        let admin = |claim: &Object| {
            let results = claim.at(&path).and_then(Value::as_array)?;
            results.iter().position(|result| result.get("adminAccess") == Some(&Value::Bool(true)))
        };
        match (old.and_then(admin), admin(new)) {
            (None, Some(index)) if !is_for_admins(ctx, new.namespace()) => {
                let at = path[1..].iter().fold(Path::new("status"), |at, name| at.child(name));
                FieldError::forbidden(&at.index(index).child("adminAccess"), admin_needs()).into()
            }
            _ => ErrorList::new(),
        }
    }
}

/// Driver, pool, device, and which part of it.
type Device = [String; 4];

fn device_of(value: &Value) -> Device {
    ["driver", "pool", "device", "shareID"]
        .map(|name| value.get(name).and_then(Value::as_str).unwrap_or_default().into())
}

fn allocated(claim: &Object) -> Vec<Device> {
    let results = claim.at(&["status", "allocation", "devices", "results"]).and_then(Value::as_array);
    results.into_iter().flatten().map(device_of).collect()
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
    if is_for_admins(ctx, new.namespace()) {
        return ErrorList::new();
    }
    let at = Path::new("spec").child("devices").child("requests").index(index).child("adminAccess");
    FieldError::forbidden(&at, admin_needs()).into()
}

/// Whether claims of a namespace may ask for devices that others have.
fn is_for_admins(ctx: &Context, namespace: &str) -> bool {
    let namespace = ctx.registry.get("", "namespaces", "", namespace);
    namespace.is_some_and(|namespace| namespace.str_at(&["metadata", "labels", ADMIN_ACCESS]) == "true")
}

fn admin_needs() -> String {
    format!("admin access to devices requires the `{ADMIN_ACCESS}: true` label on the containing namespace")
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
