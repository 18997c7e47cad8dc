//! CSI drivers, what nodes know of them, their capacities, and attachments.

use std::collections::BTreeSet;

use super::at::At;
use super::rules::{self, IMMUTABLE};
use crate::field::{ErrorList, FieldError};
use crate::names;

const DRIVER_NAME_LENGTH_MAX: usize = 63;
const NODE_ID_LENGTH_MAX: usize = 256;
const UPDATE_PERIOD_SECONDS_MIN: i64 = 10;
const METADATA_BYTES_MAX: usize = 256 * 1024;
const MESSAGE_LENGTH_MAX: usize = 1024;
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// `ValidateCSIDriver` and `ValidateCSIDriverUpdate`
pub(crate) fn driver(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    // The reference spells the field so.
    let attach_path = spec.path.child("attachedRequired");
    if spec.field("attachRequired").is_absent() {
        errors.push(FieldError::required(&attach_path, ""));
    }
    for at in spec.fields(["podInfoOnMount", "storageCapacity"]).iter().filter(|at| at.is_absent()) {
        errors.push(FieldError::required(&at.path, ""));
    }
    rules::one_of(&spec.field("fsGroupPolicy"), &["File", "None", "ReadWriteOnceWithFSType"], errors);
    token_requests(&spec.field("tokenRequests"), errors);
    let modes = spec.field("volumeLifecycleModes");
    for mode in modes.items().filter(|mode| !matches!(mode.text(), "Persistent" | "Ephemeral")) {
        errors.push(FieldError::not_supported(&modes.path, mode.text(), &["Persistent", "Ephemeral"]));
    }
    if spec.field("seLinuxMount").is_absent() {
        errors.push(FieldError::required(&spec.field("seLinuxMount").path, ""));
    }
    let period = spec.field("nodeAllocatableUpdatePeriodSeconds");
    if period.number().is_some_and(|number| number < UPDATE_PERIOD_SECONDS_MIN) {
        let detail = "must be greater than or equal to 10 seconds";
        errors.push(FieldError::invalid(&period.path, period.value.clone(), detail));
    }
    let secrets = spec.field("serviceAccountTokenInSecrets");
    if secrets.is_set() && spec.field("tokenRequests").is_empty() {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.push(FieldError::invalid(&secrets.path, secrets.value.clone(), detail));
    }
    let Some(before) = old.map(|old| old.field("spec")) else { return };
    let attach = spec.field("attachRequired").moved(attach_path);
    rules::immutable(&attach, &before.field("attachRequired"), errors);
    rules::immutable(&modes, &before.field("volumeLifecycleModes"), errors);
}

fn token_requests(at: &At<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for request in at.items() {
        let (audience, seconds) = (request.field("audience"), request.field("expirationSeconds"));
        if !seen.insert(audience.text()) {
            errors.push(FieldError::duplicate(&audience.path, audience.text()));
            continue;
        }
        let Some(number) = seconds.number() else { continue };
        if number < TOKEN_SECONDS_MIN {
            let detail = "may not specify a duration less than 10 minutes";
            errors.push(FieldError::invalid(&seconds.path, number, detail));
        }
        if number > TOKEN_SECONDS_MAX {
            let detail = "may not specify a duration larger than 2^32 seconds";
            errors.push(FieldError::invalid(&seconds.path, number, detail));
        }
    }
}

/// `ValidateCSIDriverName`
pub(super) fn driver_name(at: &At<'_>, errors: &mut ErrorList) {
    if !rules::required(at, errors) {
        return;
    }
    if at.text().len() > DRIVER_NAME_LENGTH_MAX {
        errors.push(FieldError::too_long(&at.path, DRIVER_NAME_LENGTH_MAX));
    }
    rules::invalid_each(at, names::dns1123_subdomain(&at.text().to_lowercase()), errors);
}

/// `ValidateCSINode` and `ValidateCSINodeUpdate`
pub(crate) fn node(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let drivers = new.at(&["spec", "drivers"]);
    let mut seen = BTreeSet::new();
    for driver in drivers.items() {
        let (name, id) = (driver.field("name"), driver.field("nodeID"));
        driver_name(&name, errors);
        rules::required(&id, errors);
        if id.text().len() > NODE_ID_LENGTH_MAX {
            let detail = format!("must be {NODE_ID_LENGTH_MAX} characters or less");
            errors.push(FieldError::invalid(&id.path, id.text(), detail));
        }
        rules::nonnegative(&driver.at(&["allocatable", "count"]), errors);
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
        let mut keys = BTreeSet::new();
        for key in driver.field("topologyKeys").items() {
            if key.is_empty() {
                errors.push(FieldError::required(&driver.path, ""));
            }
            if !keys.insert(key.text()) {
                errors.push(FieldError::duplicate(&driver.path, key.text()));
            }
            rules::invalid_each(&key.moved(driver.path.clone()), names::label_key(key.text()), errors);
        }
    }
    let Some(old) = old else { return };
    for before in old.at(&["spec", "drivers"]).items() {
        for now in drivers.items().filter(|now| now.field("name").value == before.field("name").value) {
            let fixed = |driver: &At<'_>| driver.without(["allocatable"]);
            if fixed(&now) != fixed(&before) {
                let shown = fixed(&now);
                let at = At::new(drivers.path.clone(), &shown);
                errors.push(rules::invalid_as(&at, "storage.CSINodeDriver", IMMUTABLE));
            }
        }
    }
}

/// `ValidateCSIStorageCapacity` and `ValidateCSIStorageCapacityUpdate`
pub(crate) fn capacity(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let class = new.field("storageClassName");
    if let Some(old) = old {
        rules::immutable_selector(&new.field("nodeTopology"), &old.field("nodeTopology"), errors);
        rules::immutable(&class, &old.field("storageClassName"), errors);
        return;
    }
    rules::label_selector(&new.field("nodeTopology"), errors);
    for message in names::dns1123_subdomain(class.text()) {
        errors.push(FieldError::invalid(&class.path, class.text(), message));
    }
    rules::nonnegative_quantity(&new.field("capacity"), errors);
}

/// `ValidateVolumeAttachment` and `ValidateVolumeAttachmentUpdate`
pub(crate) fn attachment(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    const EXACTLY_ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let spec = new.field("spec");
    driver_name(&spec.field("attacher"), errors);
    let source = spec.field("source");
    let (name, inline) = (source.field("persistentVolumeName"), source.field("inlineVolumeSpec"));
    match (name.is_set(), inline.is_set()) {
        (false, false) => errors.push(FieldError::required(&source.path, EXACTLY_ONE)),
        (true, true) => errors.push(FieldError::forbidden(&source.path, EXACTLY_ONE)),
        (true, false) if name.is_empty() => {
            errors.push(FieldError::required(&name.path, "must specify non empty persistentVolumeName"));
        }
        (false, true) => super::core::volumes::spec(&inline, "", true, errors),
        _ => {}
    }
    let node = spec.field("nodeName");
    for message in names::dns1123_subdomain(node.text()) {
        errors.push(FieldError::invalid(&node.path, node.text(), message));
    }
    attachment_status(&new.field("status"), errors);
    if name.is_set() {
        rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
    }
    if old.is_some_and(|old| old.field("spec").value != spec.value) {
        errors.push(rules::invalid_as(&spec, "storage.VolumeAttachmentSpec", IMMUTABLE));
    }
}

/// `validateVolumeAttachmentStatus`
fn attachment_status(status: &At<'_>, errors: &mut ErrorList) {
    let metadata = status.field("attachmentMetadata");
    let size: usize = metadata.entries().map(|(key, value)| key.len() + value.text().len()).sum();
    if size > METADATA_BYTES_MAX {
        errors.push(FieldError::too_long(&metadata.path, METADATA_BYTES_MAX));
    }
    for problem in status.fields(["attachError", "detachError"]) {
        let (message, code) = (problem.field("message"), problem.field("errorCode"));
        if message.text().len() > MESSAGE_LENGTH_MAX {
            // The limit that the reference names is another one.
            errors.push(FieldError::too_long(&message.path, METADATA_BYTES_MAX));
        }
        if code.number().is_some_and(|number| number < 0) {
            let detail = "must be between 0 and 2147483647, inclusive";
            errors.push(FieldError::invalid(&code.path, code.value.clone(), detail));
        }
    }
}
