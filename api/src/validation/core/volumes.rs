//! Persistent volumes.

use serde_json::Value;

use super::claims::{VOLUME_MODES, access_modes};
use super::sources::{self, OF_VOLUMES};
use crate::field::{ErrorList, FieldError, Path};
use crate::go::internal;
use crate::names;
use crate::validation::at::At;
use crate::validation::{pod, rules};

const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
const PORTAL_LENGTH_MAX: usize = 64;
/// Volumes of these kinds may be mounted with options (`checkMountOption`).
const MOUNTABLE: [&str; 13] = [
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "iscsi",
    "cinder",
    "cephfs",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
];
/// Labels of nodes that were renamed when they became stable.
const RENAMED: &[(&str, &str)] = &[
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

/// `ValidatePersistentVolume` and `ValidatePersistentVolumeUpdate`, which begins with what it said before.
pub(crate) fn volume(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let name = new.at(&["metadata", "name"]).text();
    spec(&new.field("spec"), name, false, errors);
    mount_options(new, errors);
    if let Some(old) = old {
        spec(&new.field("spec"), name, false, errors);
        update(&new.field("spec"), &old.field("spec"), errors);
    }
}

/// `ValidatePersistentVolumeSpec`, of a volume of its own or (`inline`) of one that an attachment describes.
pub(crate) fn spec(spec: &At<'_>, name: &str, inline: bool, errors: &mut ErrorList) {
    if inline {
        not_inline(spec, errors);
    }
    let modes = spec.field("accessModes");
    rules::required(&modes, errors);
    access_modes(&modes, errors);
    if !inline {
        capacity(&spec.field("capacity"), errors);
    }
    reclaim_policy(&spec.field("persistentVolumeReclaimPolicy"), inline, errors);
    let affinity = spec.field("nodeAffinity");
    if affinity.is_set() && inline {
        errors.push(FieldError::forbidden(&affinity.path, "may not be specified in the context of inline volumes"));
    } else if affinity.is_set() {
        let required = affinity.field("required");
        match required.is_set() {
            true => pod::affinity::node_selector(&required, errors),
            false => errors.push(FieldError::required(&required.path, "must specify required node constraints")),
        }
    }
    source(spec, name, affinity.is_set() && !inline, errors);
    let host = spec.at(&["hostPath", "path"]);
    let is_root = !host.is_empty() && host.text().split('/').all(|part| matches!(part, "" | "."));
    let policy = spec.field("persistentVolumeReclaimPolicy");
    if is_root && host.text().starts_with('/') && policy.text() == "Recycle" {
        errors.push(FieldError::forbidden(&policy.path, "may not be 'recycle' for a hostPath mount of '/'"));
    }
    classes(spec, inline, errors);
}

fn not_inline(spec: &At<'_>, errors: &mut ErrorList) {
    for at in spec.fields(["claimRef", "capacity"]).iter().filter(|at| !at.is_empty()) {
        errors.push(FieldError::forbidden(&at.path, "may not be specified in the context of inline volumes"));
    }
    if spec.field("csi").is_absent() {
        let detail = "has to be specified in the context of inline volumes";
        errors.push(FieldError::required(&spec.path.child("csi"), detail));
    }
}

fn capacity(at: &At<'_>, errors: &mut ErrorList) {
    rules::required(at, errors);
    if at.key("storage").is_absent() || at.len() > 1 {
        errors.push(FieldError::not_supported(&at.path, at.value.clone(), &["storage"]));
    }
    for (_, amount) in at.entries() {
        rules::basic_amount(&amount, errors);
        rules::positive_quantity(&amount, errors);
    }
}

fn reclaim_policy(at: &At<'_>, inline: bool, errors: &mut ErrorList) {
    if at.is_empty() {
        return;
    }
    if !inline {
        rules::one_of(at, &["Delete", "Recycle", "Retain"], errors);
    } else if at.text() != "Retain" {
        errors.push(FieldError::forbidden(&at.path, "may only be Retain in the context of inline volumes"));
    }
}

/// The one source. Flex volumes are counted and never refused.
fn source(spec: &At<'_>, name: &str, placed: bool, errors: &mut ErrorList) {
    let mut found = false;
    for (source, at) in OF_VOLUMES.iter().zip(spec.fields(OF_VOLUMES.each_ref().map(|source| source.name))) {
        if at.is_absent() {
            continue;
        }
        if found && source.name != "flexVolume" {
            let path = spec.path.child(source.shown_when_forbidden());
            errors.push(FieldError::forbidden(&path, "may not specify more than 1 volume type"));
            continue;
        }
        found = true;
        source.check(&spec.path, &at, errors);
        if source.name == "iscsi" && at.field("initiatorName").is_set() {
            let portal = at.field("targetPortal").text();
            if name.len() + 1 + portal.len() > PORTAL_LENGTH_MAX {
                errors.push(FieldError::invalid(&at.path.child("targetportal"), portal, sources::PORTAL_TOO_LONG));
            }
        }
        if source.name == "local" && !placed {
            let path = spec.path.child("nodeAffinity");
            errors.push(FieldError::required(&path, "Local volume requires node affinity"));
        }
    }
    if !found {
        errors.push(FieldError::required(&spec.path, "must specify a volume type"));
    }
}

fn classes(spec: &At<'_>, inline: bool, errors: &mut ErrorList) {
    let (class, mode) = (spec.field("storageClassName"), spec.field("volumeMode"));
    if inline && !class.is_empty() {
        errors.push(FieldError::forbidden(&class.path, "may not be specified in the context of inline volumes"));
    } else if !class.is_empty() {
        rules::invalid_each(&class, names::dns1123_subdomain(class.text()), errors);
    }
    if !inline {
        rules::one_of(&mode, VOLUME_MODES, errors);
    } else if mode.is_set() && mode.text() != "Filesystem" {
        let detail = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        errors.push(FieldError::forbidden(&mode.path, detail));
    }
    let attributes = spec.field("volumeAttributesClassName");
    if attributes.is_absent() {
        return;
    }
    if attributes.is_empty() {
        errors.push(FieldError::required(&attributes.path, "an empty string is disallowed"));
    } else {
        rules::invalid_each(&attributes, names::dns1123_subdomain(attributes.text()), errors);
    }
    if spec.field("csi").is_absent() {
        let detail = "has to be specified when using volumeAttributesClassName";
        errors.push(FieldError::required(&spec.path.child("csi"), detail));
    }
}

fn mount_options(new: &At<'_>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let annotations = new.at(&["metadata", "annotations"]);
    let at = annotations.key(MOUNT_OPTIONS).moved(annotations.path.child(MOUNT_OPTIONS));
    if at.is_set() && !spec.fields(MOUNTABLE).iter().any(At::is_set) {
        errors.push(FieldError::forbidden(&at.path, "may not specify mount options for this volume type"));
    }
}

fn update(spec: &At<'_>, before: &At<'_>, errors: &mut ErrorList) {
    let mut now = spec.value.clone();
    let csi = before.name("csi");
    let secret = before.get(csi).name("controllerExpandSecretRef");
    if before.get(csi).is_set() && before.get(csi).get(secret).is_absent() {
        now.get_mut(&*csi).and_then(Value::as_object_mut).map(|csi| csi.remove(&*secret));
    }
    let is_changed = |name| !rules::same(spec.like(Path::root(), &now).get(name).value, before.get(name).value);
    if spec.known(OF_VOLUMES.each_ref().map(|source| source.name)).into_iter().any(is_changed) {
        let difference = internal::difference("core.PersistentVolumeSource", before.value, &now);
        let detail = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
        errors.push(FieldError::forbidden(&spec.path.child("persistentvolumesource"), detail));
    }
    let mode = spec.field("volumeMode").moved(Path::new("volumeMode"));
    rules::immutable(&mode, &before.field("volumeMode"), errors);
    let (affinity, placed) = (spec.field("nodeAffinity"), before.field("nodeAffinity"));
    if placed.is_set() && !rules::same(affinity.value, placed.value) && !renamed(affinity.value, placed.value) {
        let shown = internal::shown("*core.VolumeNodeAffinity", affinity.value);
        let detail = format!("{}, except for updating from beta label to GA", rules::IMMUTABLE);
        errors.push(FieldError::invalid_text(&Path::new("nodeAffinity"), shown, detail));
    }
    let attributes = spec.field("volumeAttributesClassName");
    if before.field("volumeAttributesClassName").is_set() && attributes.is_absent() {
        errors.push(FieldError::forbidden(&attributes.path, "update from non-nil value to nil is forbidden"));
    }
}

/// Whether the only change is that labels go by their later names.
fn renamed(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            new.len() == old.len()
                && new.iter().all(|(name, value)| old.get(name).is_some_and(|old| renamed(value, old)))
        }
        (Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(new, old)| renamed(new, old))
        }
        (Value::String(new), Value::String(old)) => new == old || RENAMED.contains(&(old.as_str(), new.as_str())),
        (new, old) => new == old,
    }
}
