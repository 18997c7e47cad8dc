//! The status of a claim: what was allocated, for whom, and what drivers tell of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::claims::RequestNames;
use super::{CONFIG_MAX, binding_conditions, configuration, label, list, pool_name, raw_object, set};
use crate::field::{ErrorList, FieldError};
use crate::validation::addresses;
use crate::validation::at::At;
use crate::validation::conditions;
use crate::validation::csi::driver_name;
use crate::validation::pod::affinity::node_selector;
use crate::validation::rules;

const RESERVED_FOR_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
const CONDITIONS_MAX: usize = 8;
const DATA_LENGTH_MAX: usize = 10 * 1024;
const INTERFACE_LENGTH_MAX: usize = 256;
const HARDWARE_ADDRESS_LENGTH_MAX: usize = 128;
const ADDRESSES_MAX: usize = 16;

/// `ValidateResourceClaimStatusUpdate`
pub(crate) fn claim_status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let status = new.field("status");
    let none = status.like(status.path.clone(), &Value::Null);
    let before = old.map_or(none, |old| old.field("status"));
    let (reserved, allocation) = (status.field("reservedFor"), status.field("allocation"));
    let uid = |user: &At<'_>| user.field("uid").text().to_string();
    set(&reserved, RESERVED_FOR_MAX, uid, errors, |user, errors| {
        for at in user.fields(["resource", "name", "uid"]) {
            rules::required(&at, errors);
        }
    });
    let allocated: BTreeSet<String> = allocation.at(&["devices", "results"]).items().map(|r| id(&r)).collect();
    set(&status.field("devices"), usize::MAX, id, errors, |device, errors| {
        told(device, &allocated, errors);
    });
    if !reserved.is_empty() {
        reservation(&reserved, &before.field("reservedFor"), new, errors);
    }
    let was_allocated = before.field("allocation");
    if was_allocated.is_set() && allocation.is_set() {
        rules::immutable(&allocation, &was_allocated, errors);
    } else if allocation.is_set() {
        result_of_allocation(&allocation, &RequestNames::of(&new.at(&["spec", "devices"])), errors);
    }
}

/// The name of a share of a device, `SharedDeviceID`.
fn id(at: &At<'_>) -> String {
    let parts = at.fields(["driver", "pool", "device", "shareID"]).map(|part| part.text());
    parts.join("/").trim_end_matches('/').to_string()
}

/// Who may use what is allocated; nobody new once the claim is being deleted.
fn reservation(at: &At<'_>, before: &At<'_>, claim: &At<'_>, errors: &mut ErrorList) {
    if claim.at(&["status", "allocation"]).is_absent() {
        errors.push(FieldError::forbidden(&at.path, "may not be specified when `allocated` is not set"));
    } else if claim.at(&["metadata", "deletionTimestamp"]).is_set()
        && at.items().any(|user| !before.items().any(|known| rules::same(known.value, user.value)))
    {
        let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        errors.push(FieldError::forbidden(&at.path, detail));
    }
}

/// `validateAllocationResult`
fn result_of_allocation(at: &At<'_>, names: &RequestNames<'_>, errors: &mut ErrorList) {
    let devices = at.field("devices");
    list(&devices.field("results"), RESULTS_MAX, errors, |result, errors| {
        names.refer_to(&result.field("request"), errors);
        driver_name(&result.field("driver"), errors);
        pool_name(&result.field("pool"), errors);
        label(&result.field("device"), errors);
        binding_conditions(result, errors);
        share(&result.field("shareID"), errors);
    });
    list(&devices.field("config"), 2 * CONFIG_MAX, errors, |config, errors| {
        rules::required_one_of(&config.field("source"), &["FromClaim", "FromClass"], "", errors);
        let requests = config.field("requests");
        names.refer(&requests, errors);
        configuration(config, false, errors);
    });
    if at.field("nodeSelector").is_set() {
        node_selector(&at.field("nodeSelector"), errors);
    }
}

/// `validateUID`
fn share(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    let text = at.text();
    let is_hex = |byte: &u8| byte.is_ascii_hexdigit();
    let is_normal = text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_hex(&byte),
        });
    if !is_normal {
        let detail = format!("error validating uid: invalid UUID length: {}", text.len());
        errors.push(FieldError::invalid(&at.path, text, detail));
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let detail = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase \
                      hexadecimal characters";
        errors.push(FieldError::invalid(&at.path, text, detail));
    }
}

/// `validateDeviceStatus`
fn told(at: &At<'_>, allocated: &BTreeSet<String>, errors: &mut ErrorList) {
    driver_name(&at.field("driver"), errors);
    pool_name(&at.field("pool"), errors);
    label(&at.field("device"), errors);
    share(&at.field("shareID"), errors);
    if !allocated.contains(&id(at)) {
        errors.push(rules::invalid_as(at, "structured.SharedDeviceID", "must be an allocated device in the claim"));
    }
    let conditions = at.field("conditions");
    if conditions.len() > CONDITIONS_MAX {
        errors.push(FieldError::too_many(&conditions.path, conditions.len(), CONDITIONS_MAX));
    }
    conditions::all(&conditions, errors);
    if at.field("data").is_set() {
        raw_object(&at.field("data"), DATA_LENGTH_MAX, errors);
    }
    network(&at.field("networkData"), errors);
}

/// `validateNetworkDeviceData`
fn network(at: &At<'_>, errors: &mut ErrorList) {
    let (interface, hardware) = (at.field("interfaceName"), at.field("hardwareAddress"));
    for (name, max) in [(interface, INTERFACE_LENGTH_MAX), (hardware, HARDWARE_ADDRESS_LENGTH_MAX)] {
        if name.text().len() > max {
            errors.push(FieldError::too_long(&name.path, max));
        }
    }
    let address = |at: &At<'_>| at.text().to_string();
    set(&at.field("ips"), ADDRESSES_MAX, address, errors, |address, errors| {
        rules::invalid_each(address, addresses::interface(address.text()), errors);
    });
}
