//! Volumes and mounts.

use std::collections::BTreeSet;

use super::containers;
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::{rules, storage};

/// Every kind of volume source.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
];
/// What the downward API offers in a volume.
const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const HOST_PATH_TYPES: &[&str] =
    &["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];

/// The names of a pod's volumes.
pub struct Volumes(BTreeSet<String>);

impl Volumes {
    /// `ValidateVolumes`
    pub fn check(at: &At<'_>, errors: &mut ErrorList) -> Self {
        let mut known = BTreeSet::new();
        for volume in at.items() {
            source(&volume, errors);
            let name = volume.get("name");
            if name.is_empty() {
                errors.push(FieldError::required(&name.path, ""));
                continue;
            }
            let messages = names::dns1123_label(name.text());
            let valid = messages.is_empty();
            rules::invalid_each(&name, messages, errors);
            if valid && !known.insert(name.text().to_string()) {
                errors.push(FieldError::duplicate(&name.path, name.text()));
            }
        }
        Self(known)
    }
}

fn source(volume: &At<'_>, errors: &mut ErrorList) {
    let mut found = SOURCES.iter().map(|name| (*name, volume.get(name))).filter(|(_, at)| at.is_set());
    let Some((kind, at)) = found.next() else {
        errors.push(FieldError::required(&volume.path, "must specify a volume type"));
        return;
    };
    for (_, other) in found {
        errors.push(FieldError::forbidden(&other.path, "may not specify more than 1 volume type"));
    }
    match kind {
        "emptyDir" => rules::nonnegative_quantity(&at.get("sizeLimit"), errors),
        "hostPath" => host_path(&at, errors),
        "secret" => {
            rules::required(&at.get("secretName"), errors);
            keyed_files(&at, errors);
        }
        "configMap" => {
            rules::required(&at.get("name"), errors);
            keyed_files(&at, errors);
        }
        "downwardAPI" => {
            mode(&at.get("defaultMode"), errors);
            downward(&at.get("items"), errors);
        }
        "projected" => projected(&at, errors),
        "persistentVolumeClaim" => _ = rules::required(&at.get("claimName"), errors),
        "ephemeral" => {
            let template = at.get("volumeClaimTemplate");
            if rules::required(&template, errors) {
                storage::claim_spec(&template.get("spec"), errors);
            }
        }
        "csi" => _ = rules::required(&at.get("driver"), errors),
        "nfs" => {
            rules::required(&at.get("server"), errors);
            if rules::required(&at.get("path"), errors) && !at.get("path").text().starts_with('/') {
                let path = at.get("path");
                errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
            }
        }
        "image" => _ = rules::required(&at.get("reference"), errors),
        _ => {}
    }
}

/// `validateHostPathVolumeSource`
pub fn host_path(at: &At<'_>, errors: &mut ErrorList) {
    let path = at.get("path");
    if path.is_empty() {
        errors.push(FieldError::required(&path.path, ""));
        return;
    }
    no_backsteps(&path, errors);
    let type_ = at.get("type");
    if type_.is_set() && !HOST_PATH_TYPES.contains(&type_.text()) {
        errors.push(FieldError::not_supported(&type_.path, type_.text(), HOST_PATH_TYPES));
    }
}

/// `validatePathNoBacksteps`
pub fn no_backsteps(at: &At<'_>, errors: &mut ErrorList) {
    if at.text().split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(&at.path, at.text(), "must not contain '..'"));
    }
}

/// `ValidateLocalNonReservedPath`
fn local_path(at: &At<'_>, errors: &mut ErrorList) {
    if at.text().starts_with('/') {
        errors.push(FieldError::invalid(&at.path, at.text(), "must be a relative path"));
    }
    no_backsteps(at, errors);
    if at.text().starts_with("..") && !at.text().starts_with("../") {
        errors.push(FieldError::invalid(&at.path, at.text(), "must not start with '..'"));
    }
}

fn mode(at: &At<'_>, errors: &mut ErrorList) {
    if at.number().is_some_and(|number| !(0..=0o777).contains(&number)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}

/// Files named by keys of a config map or a secret.
fn keyed_files(at: &At<'_>, errors: &mut ErrorList) {
    mode(&at.get("defaultMode"), errors);
    items(at, errors);
}

fn items(at: &At<'_>, errors: &mut ErrorList) {
    for item in at.get("items").items() {
        rules::required(&item.get("key"), errors);
        if rules::required(&item.get("path"), errors) {
            local_path(&item.get("path"), errors);
        }
        mode(&item.get("mode"), errors);
    }
}

fn downward(at: &At<'_>, errors: &mut ErrorList) {
    for file in at.items() {
        if rules::required(&file.get("path"), errors) {
            local_path(&file.get("path"), errors);
        }
        let (field, resource) = (file.get("fieldRef"), file.get("resourceFieldRef"));
        match (field.is_set(), resource.is_set()) {
            (true, true) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(&file.path, "resource", detail));
            }
            (true, false) => containers::field_ref(&field, VOLUME_FIELDS, errors),
            (false, true) => {
                rules::required(&resource.get("containerName"), errors);
                containers::resource_field_ref(&resource, errors);
            }
            (false, false) => {
                errors.push(FieldError::required(&file.path, "one of fieldRef and resourceFieldRef is required"));
            }
        }
        mode(&file.get("mode"), errors);
    }
}

fn projected(at: &At<'_>, errors: &mut ErrorList) {
    mode(&at.get("defaultMode"), errors);
    for source in at.get("sources").items() {
        let kinds =
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
        let mut found = kinds.iter().map(|name| (*name, source.get(name))).filter(|(_, at)| at.is_set());
        let Some((kind, inner)) = found.next() else {
            errors.push(FieldError::required(&source.path, "must specify a source type"));
            continue;
        };
        for (_, other) in found {
            errors.push(FieldError::forbidden(&other.path, "may not specify more than 1 volume type per source"));
        }
        match kind {
            "secret" | "configMap" => {
                rules::required(&inner.get("name"), errors);
                items(&inner, errors);
            }
            "downwardAPI" => downward(&inner.get("items"), errors),
            "serviceAccountToken" => {
                let seconds = inner.get("expirationSeconds");
                if seconds.number().is_some_and(|number| number < 600) {
                    let detail = "may not specify a duration less than 10 minutes";
                    errors.push(FieldError::invalid(&seconds.path, seconds.value.clone(), detail));
                }
                if rules::required(&inner.get("path"), errors) {
                    local_path(&inner.get("path"), errors);
                }
            }
            _ => {}
        }
    }
}

/// `ValidateVolumeMounts`
pub fn mount<'a>(at: &At<'a>, volumes: &Volumes, paths: &mut BTreeSet<&'a str>, errors: &mut ErrorList) {
    let (name, path) = (at.get("name"), at.get("mountPath"));
    rules::required(&name, errors);
    rules::required(&path, errors);
    if !volumes.0.contains(name.text()) && !name.is_empty() {
        errors.push(FieldError::not_found(&name.path, name.text()));
    }
    if !path.is_empty() && !paths.insert(path.text()) {
        errors.push(FieldError::invalid(&path.path, path.text(), "must be unique"));
    }
    let (sub, expression) = (at.get("subPath"), at.get("subPathExpr"));
    if !sub.is_empty() {
        relative(&sub, errors);
    }
    if !expression.is_empty() {
        if !sub.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(&expression.path, expression.text(), detail));
        }
        relative(&expression, errors);
    }
    let propagation = at.get("mountPropagation");
    rules::one_of(&propagation, &["Bidirectional", "HostToContainer", "None"], errors);
}

/// `validateLocalDescendingPath`
fn relative(at: &At<'_>, errors: &mut ErrorList) {
    if at.text().starts_with('/') {
        errors.push(FieldError::invalid(&at.path, at.text(), "must be a relative path"));
    }
    no_backsteps(at, errors);
}
