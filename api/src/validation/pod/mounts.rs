//! Mounts and devices of containers.

use std::collections::{BTreeMap, BTreeSet};

use super::volumes::Volumes;
use crate::field::{ErrorList, FieldError, Path};
use crate::validation::at::At;
use crate::validation::rules;

/// The paths of volume mounts by name; the last of a name counts.
fn mounted<'a>(mounts: &At<'a>) -> BTreeMap<&'a str, &'a str> {
    mounts.items().map(|mount| (mount.field("name").text(), mount.field("mountPath").text())).collect()
}

/// The paths of volume devices by name; the last of a name counts.
fn attached<'a>(devices: &At<'a>) -> BTreeMap<&'a str, &'a str> {
    devices.items().map(|device| (device.field("name").text(), device.field("devicePath").text())).collect()
}

/// `ValidateVolumeMounts`; the finer points are blamed on the list.
pub(super) fn all(container: &At<'_>, volumes: &Volumes<'_>, errors: &mut ErrorList) {
    let list = container.field("volumeMounts");
    let devices = attached(&container.field("volumeDevices"));
    let devices_at: BTreeSet<&str> = devices.values().copied().collect();
    let privileged = container.at(&["securityContext", "privileged"]).is_true();
    let mut paths = BTreeSet::new();
    for mount in list.items() {
        let (name, path) = (mount.field("name"), mount.field("mountPath"));
        rules::required(&name, errors);
        if volumes.kind(name.text()).is_none() {
            errors.push(FieldError::not_found(&name.path, name.text()));
        }
        rules::required(&path, errors);
        let mut refuse = |at: &At<'_>, detail: &str| errors.push(FieldError::invalid(&at.path, at.text(), detail));
        if !paths.insert(path.text()) {
            refuse(&path, "must be unique");
        }
        if devices.contains_key(name.text()) {
            refuse(&name, "must not already exist in volumeDevices");
        }
        if devices_at.contains(path.text()) {
            refuse(&path, "must not already exist as a path in volumeDevices");
        }
        sub_paths(&list.path, &mount, errors);
        propagation(&list.path, &mount, privileged, errors);
        recursive(&list.path, &mount, errors);
    }
}

fn sub_paths(list: &Path, mount: &At<'_>, errors: &mut ErrorList) {
    let (sub, expression) = (mount.field("subPath"), mount.field("subPathExpr"));
    if !sub.is_empty() {
        rules::descending_path(&sub.moved(list.child("subPath")), errors);
    }
    if !expression.is_empty() {
        if !sub.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(&expression.path, expression.text(), detail));
        }
        rules::descending_path(&expression.moved(list.child("subPathExpr")), errors);
    }
}

fn propagation(list: &Path, mount: &At<'_>, privileged: bool, errors: &mut ErrorList) {
    let at = mount.field("mountPropagation").moved(list.child("mountPropagation"));
    rules::one_of(&at, &["Bidirectional", "HostToContainer", "None"], errors);
    if at.text() == "Bidirectional" && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(FieldError::forbidden(&at.path, detail));
    }
}

/// `validateMountRecursiveReadOnly`
fn recursive(list: &Path, mount: &At<'_>, errors: &mut ErrorList) {
    let at = mount.field("recursiveReadOnly").moved(list.child("recursiveReadOnly"));
    rules::one_of(&at, &["Disabled", "Enabled", "IfPossible"], errors);
    if !matches!(at.text(), "Enabled" | "IfPossible") {
        return;
    }
    if !mount.field("readOnly").is_true() {
        errors.push(FieldError::forbidden(&at.path, "may only be specified when readOnly is true"));
    }
    let propagation = mount.field("mountPropagation");
    if propagation.is_set() && propagation.text() != "None" {
        let detail = "may only be specified when mountPropagation is None or not specified";
        errors.push(FieldError::forbidden(&at.path, detail));
    }
}

/// `ValidateVolumeDevices`
pub(super) fn devices(container: &At<'_>, volumes: &Volumes<'_>, errors: &mut ErrorList) {
    let mounts = mounted(&container.field("volumeMounts"));
    let mounted_at: BTreeSet<&str> = mounts.values().copied().collect();
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for device in container.field("volumeDevices").items() {
        let (name, path) = (device.field("name"), device.field("devicePath"));
        rules::required(&name, errors);
        let refuse = |at: &At<'_>, detail: &str| FieldError::invalid(&at.path, at.text(), detail);
        if names.contains(name.text()) {
            errors.push(refuse(&name, "must be unique"));
        }
        match volumes.kind(name.text()) {
            None => errors.push(FieldError::not_found(&name.path, name.text())),
            Some("persistentVolumeClaim" | "ephemeral") => {}
            Some(_) => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(refuse(&name, detail));
            }
        }
        rules::required(&path, errors);
        if paths.contains(path.text()) {
            errors.push(refuse(&path, "must be unique"));
        }
        if path.text().split('/').any(|part| part == "..") {
            errors.push(refuse(&path, "can not contain backsteps ('..')"));
        } else {
            paths.insert(path.text());
        }
        if mounts.contains_key(name.text()) {
            errors.push(refuse(&name, "must not already exist in volumeMounts"));
        }
        if mounted_at.contains(path.text()) {
            errors.push(refuse(&path, "must not already exist as a path in volumeMounts"));
        }
        if !name.is_empty() {
            names.insert(name.text());
        }
    }
}
