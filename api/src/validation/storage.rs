//! Claims, volumes and storage classes.

use super::at::At;
use super::{pod, rules};
use crate::field::{ErrorList, FieldError};
use crate::names;

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];

/// `ValidatePersistentVolumeClaim` and `ValidatePersistentVolumeClaimUpdate`
pub fn claim(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    claim_spec(&new.get("spec"), errors);
    if let Some(old) = old {
        claim_update(new, old, errors);
    }
}

/// `ValidatePersistentVolumeClaimSpec`, also of claim templates.
pub fn claim_spec(spec: &At<'_>, errors: &mut ErrorList) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required(&modes.path, "at least 1 access mode is required"));
    }
    if spec.get("selector").is_set() {
        rules::label_selector(&spec.get("selector"), errors);
    }
    access_modes(&modes, errors);
    let storage = spec.at(&["resources", "requests"]).key("storage");
    if storage.is_absent() {
        errors.push(FieldError::required(&spec.get("resources").path.key("storage"), ""));
    } else {
        rules::positive_quantity(&storage, errors);
    }
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        rules::invalid_each(&class, names::dns1123_subdomain(class.text()), errors);
    }
    rules::one_of(&spec.get("volumeMode"), VOLUME_MODES, errors);
}

fn access_modes(modes: &At<'_>, errors: &mut ErrorList) {
    for mode in modes.items() {
        // The path is the list's: the reference does not index it.
        if !ACCESS_MODES.contains(&mode.text()) {
            errors.push(FieldError::not_supported(&modes.path, mode.text(), ACCESS_MODES));
        }
    }
    let alone = modes.items().any(|mode| mode.text() == "ReadWriteOncePod");
    if alone && modes.len() > 1 {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(&modes.path, detail));
    }
}

fn claim_update(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let bound = old.at(&["status", "phase"]).text() == "Bound";
    let stripped = |spec: &At<'_>| {
        let mut value = spec.value.clone();
        for name in ["resources", "volumeAttributesClassName"] {
            value.as_object_mut().map(|map| map.remove(name));
        }
        // A claim is given its volume once, and its class if it had none.
        for name in ["volumeName", "storageClassName"] {
            if before.get(name).is_empty() {
                value.as_object_mut().map(|map| map.remove(name));
            }
        }
        value
    };
    if stripped(&spec) != stripped(&before) {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                      bound claims";
        errors.push(FieldError::forbidden(&spec.path, detail));
        return;
    }
    let size = |spec: &At<'_>| rules::quantity(&spec.at(&["resources", "requests"]).key("storage"));
    let (now, then) = (size(&spec), size(&before));
    if now != then && !bound {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                      bound claims";
        errors.push(FieldError::forbidden(&spec.path, detail));
    } else if now.zip(then).is_some_and(|(now, then)| now < then) {
        let path = spec.path.child("resources").child("requests").child("storage");
        errors.push(FieldError::forbidden(&path, "field can not be less than status.capacity"));
    }
}

/// `ValidatePersistentVolume` and `ValidatePersistentVolumeUpdate`
pub fn volume(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required(&modes.path, ""));
    }
    access_modes(&modes, errors);
    let capacity = spec.get("capacity");
    if capacity.is_empty() {
        errors.push(FieldError::required(&capacity.path, ""));
    } else if capacity.value.get("storage").is_none() || capacity.len() > 1 {
        errors.push(FieldError::not_supported(&capacity.path, capacity.value.clone(), &["storage"]));
    }
    for (_, amount) in capacity.entries() {
        rules::positive_quantity(&amount, errors);
    }
    rules::one_of(&spec.get("persistentVolumeReclaimPolicy"), &["Delete", "Recycle", "Retain"], errors);
    let affinity = spec.at(&["nodeAffinity"]);
    if affinity.is_set() {
        if affinity.get("required").is_absent() {
            errors.push(FieldError::required(&affinity.get("required").path, "must specify required node constraints"));
        } else {
            pod::affinity::node_selector(&affinity.get("required"), errors);
        }
    }
    volume_source(&spec, errors);
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        rules::invalid_each(&class, names::dns1123_subdomain(class.text()), errors);
    }
    rules::one_of(&spec.get("volumeMode"), VOLUME_MODES, errors);
    let Some(before) = old.map(|old| old.get("spec")) else { return };
    let source = |spec: &At<'_>| VOLUME_SOURCES.iter().map(|name| spec.get(name).value.clone()).collect::<Vec<_>>();
    if source(&spec) != source(&before) {
        errors.push(FieldError::forbidden(&spec.path, "spec.persistentvolumesource is immutable after creation"));
    }
    rules::immutable(&spec.get("volumeMode"), &before.get("volumeMode"), errors);
    if before.get("nodeAffinity").is_set() {
        rules::immutable(&affinity, &before.get("nodeAffinity"), errors);
    }
}

const VOLUME_SOURCES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

fn volume_source(spec: &At<'_>, errors: &mut ErrorList) {
    let mut found = VOLUME_SOURCES.iter().map(|name| spec.get(name)).filter(At::is_set);
    match found.next() {
        None => errors.push(FieldError::required(&spec.path, "must specify a volume type")),
        Some(first) => {
            for other in found {
                errors.push(FieldError::forbidden(&other.path, "may not specify more than 1 volume type"));
            }
            match first.path.as_str().rsplit('.').next() {
                Some("hostPath") => pod::volumes::host_path(&first, errors),
                Some("local") => {
                    if rules::required(&first.get("path"), errors) {
                        pod::volumes::no_backsteps(&first.get("path"), errors);
                    }
                    if spec.get("nodeAffinity").is_absent() {
                        let path = spec.path.child("nodeAffinity");
                        errors.push(FieldError::required(&path, "Local volume requires node affinity"));
                    }
                }
                Some("csi") => {
                    rules::required(&first.get("driver"), errors);
                    rules::required(&first.get("volumeHandle"), errors);
                }
                Some("nfs") => {
                    rules::required(&first.get("server"), errors);
                    rules::required(&first.get("path"), errors);
                }
                _ => {}
            }
        }
    }
}

/// `ValidateStorageClass` and `ValidateStorageClassUpdate`
pub fn class(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let provisioner = new.get("provisioner");
    if rules::required(&provisioner, errors) {
        rules::invalid_each(&provisioner, names::label_key(&provisioner.text().to_lowercase()), errors);
    }
    rules::required_one_of(&new.get("reclaimPolicy"), &["Delete", "Retain"], "", errors);
    rules::required_one_of(&new.get("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"], "", errors);
    let Some(old) = old else { return };
    let absent_is_empty = |at: &At<'_>| at.value.as_object().cloned().unwrap_or_default();
    let parameters = new.get("parameters");
    if absent_is_empty(&parameters) != absent_is_empty(&old.get("parameters")) {
        errors.push(FieldError::forbidden(&parameters.path, "updates to parameters are forbidden."));
    }
    for (name, what) in [("provisioner", "provisioner"), ("reclaimPolicy", "reclaimPolicy")] {
        if new.get(name).value != old.get(name).value {
            errors.push(FieldError::forbidden(&new.get(name).path, format!("updates to {what} are forbidden.")));
        }
    }
    rules::immutable(&new.get("volumeBindingMode"), &old.get("volumeBindingMode"), errors);
}
