//! Persistent volume claims.

use serde_json::{Value, json};

use crate::field::{ErrorList, FieldError, Path};
use crate::internal;
use crate::names;
use crate::quantity::Quantity;
use crate::validation::at::At;
use crate::validation::pod::resources;
use crate::validation::rules;

pub(super) const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
pub(super) const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const RESIZE_STATES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];
const FIXED: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// `ValidatePersistentVolumeClaim` and `ValidatePersistentVolumeClaimUpdate`
pub fn claim(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    spec(&new.get("spec"), errors);
    if let Some(old) = old {
        update(new, old, errors);
    }
}

/// The template of the claim of an ephemeral volume (`ValidatePersistentVolumeClaimTemplate`).
pub fn template(at: &At<'_>, errors: &mut ErrorList) {
    rules::template_metadata(&at.get("metadata"), errors);
    spec(&at.get("spec"), errors);
}

/// `ValidatePersistentVolumeClaimSpec`, also of claim templates.
pub fn spec(spec: &At<'_>, errors: &mut ErrorList) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required(&modes.path, "at least 1 access mode is required"));
    }
    if spec.get("selector").is_set() {
        rules::label_selector(&spec.get("selector"), errors);
    }
    access_modes(&modes, errors);
    let wanted = spec.at(&["resources", "requests"]).key("storage");
    let storage = At::new(spec.get("resources").path.key("storage"), wanted.value);
    if storage.is_absent() {
        errors.push(FieldError::required(&storage.path, ""));
    } else {
        rules::positive_quantity(&storage, errors);
    }
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        rules::invalid_each(&class, names::dns1123_subdomain(class.text()), errors);
    }
    rules::one_of(&spec.get("volumeMode"), VOLUME_MODES, errors);
    sources(spec, errors);
    let attributes = spec.get("volumeAttributesClassName");
    if !attributes.is_empty() {
        rules::invalid_each(&attributes, names::dns1123_subdomain(attributes.text()), errors);
    }
}

/// The modes of access; the path is the list's: the reference does not index it.
pub(super) fn access_modes(modes: &At<'_>, errors: &mut ErrorList) {
    let (mut alone, mut others) = (false, false);
    for mode in modes.items() {
        if !ACCESS_MODES.contains(&mode.text()) {
            errors.push(FieldError::not_supported(&modes.path, mode.text(), ACCESS_MODES));
        } else if mode.text() == "ReadWriteOncePod" {
            alone = true;
        } else {
            others = true;
        }
    }
    if alone && others {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(&modes.path, detail));
    }
}

/// What the volume is filled from.
fn sources(spec: &At<'_>, errors: &mut ErrorList) {
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for at in [&source, &reference].into_iter().filter(|at| at.is_set()) {
        rules::required(&at.get("name"), errors);
        rules::required(&at.get("kind"), errors);
        let (group, kind) = (at.get("apiGroup"), at.get("kind"));
        if group.is_empty() && kind.text() != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(&at.path, kind.text(), detail));
        } else if !group.is_empty() {
            rules::invalid_each(&group, names::dns1123_subdomain(group.text()), errors);
        }
        let namespace = at.get("namespace");
        if !namespace.is_empty() {
            rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors);
        }
    }
    let same = ["apiGroup", "kind", "name"].iter().all(|name| source.get(name).value == reference.get(name).value);
    let detail = if source.is_absent() || reference.is_absent() {
        return;
    } else if !reference.get("namespace").is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if !same {
        "must match dataSourceRef"
    } else {
        return;
    };
    // The reference shows the path as the value, and a path shows nothing.
    errors.push(FieldError::invalid(&spec.path, json!({}), detail));
}

fn storage(of: &At<'_>) -> Quantity {
    rules::quantity(&of.key("storage")).unwrap_or_default()
}

fn update(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let (mut now, mut then) = (spec.value.clone(), before.value.clone());
    if before.get("volumeName").is_empty() {
        copy(&mut then, &now, "volumeName");
    }
    let [annotation, former] = [new, old].map(|at| at.at(&["metadata", "annotations"]).key(CLASS_ANNOTATION));
    let (given, was_given) = (spec.get("storageClassName"), before.get("storageClassName"));
    let taken_over = was_given.is_absent() && given.is_set() && former.is_set() && given.value == former.value;
    if taken_over && (annotation.is_absent() || annotation.value == former.value) {
        now.as_object_mut().map(|map| map.remove("storageClassName"));
    } else {
        if annotation.text() != former.text() {
            let path = Path::new("metadata").child("annotations").child(CLASS_ANNOTATION);
            errors.push(FieldError::invalid(&path, annotation.text(), rules::IMMUTABLE));
        }
        if given.is_set() && was_given.is_absent() && (former.is_absent() || former.value == given.value) {
            copy(&mut now, &then, "storageClassName");
        }
    }
    let [requests, requests_before] = [&spec, &before].map(|spec| spec.at(&["resources", "requests"]));
    let (size, size_before) = (storage(&requests), storage(&requests_before));
    if new.at(&["status", "phase"]).text() == "Bound" {
        if requests.is_set() && size != size_before {
            now["resources"]["requests"]["storage"] = requests_before.key("storage").value.clone();
        }
        copy(&mut now, &then, "volumeAttributesClassName");
    }
    if !rules::same(&now, &then) {
        let difference = internal::difference("core.PersistentVolumeClaimSpec", &then, &now);
        errors.push(FieldError::forbidden(&spec.path, format!("{FIXED}\n{difference}")));
    }
    if size < size_before && size <= storage(&old.at(&["status", "capacity"])) {
        let path = spec.path.child("resources").child("requests").child("storage");
        errors.push(FieldError::forbidden(&path, "field can not be less than status.capacity"));
    }
    let mode = At::new(Path::new("volumeMode"), spec.get("volumeMode").value);
    rules::immutable(&mode, &before.get("volumeMode"), errors);
    attributes_class(&spec.get("volumeAttributesClassName"), &before, old, errors);
}

fn attributes_class(at: &At<'_>, before: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let current = old.at(&["status", "currentVolumeAttributesClassName"]);
    if at.value == before.get("volumeAttributesClassName").value || current.is_absent() || !at.is_empty() {
        return;
    }
    let to = if at.is_absent() { "nil" } else { "empty string" };
    let detail = format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil");
    errors.push(FieldError::forbidden(&at.path, detail));
}

fn copy(to: &mut Value, from: &Value, field: &str) {
    let Some(map) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => _ = map.insert(field.to_string(), value.clone()),
        None => _ = map.remove(field),
    }
}

/// `ValidatePersistentVolumeClaimStatusUpdate`
pub fn status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    if new.at(&["spec", "accessModes"]).is_empty() {
        errors.push(FieldError::required(&Path::new("Spec").child("accessModes"), ""));
    }
    let status = new.get("status");
    for (_, amount) in status.get("capacity").entries() {
        rules::basic_amount(&amount, errors);
    }
    let states = status.get("allocatedResourceStatuses");
    for (name, state) in states.entries() {
        resource(name, &states.path, errors);
        if !RESIZE_STATES.contains(&state.text()) {
            errors.push(FieldError::not_supported(&states.path, name, RESIZE_STATES));
        }
    }
    let allocated = status.get("allocatedResources");
    for (name, amount) in allocated.entries() {
        if !resource(name, &allocated.path, errors) {
            continue;
        }
        let before = errors.len();
        rules::basic_amount(&amount, errors);
        if errors.len() == before {
            resources::amount("storage", &amount, errors);
        }
    }
}

/// `validatePersistentVolumeClaimResourceKey`
fn resource(name: &str, path: &Path, errors: &mut ErrorList) -> bool {
    let messages = names::label_key(name);
    if !messages.is_empty() {
        errors.extend(messages.into_iter().map(|message| FieldError::invalid(path, name, message)));
        return false;
    }
    let is_native = !name.contains('/') || name.contains("kubernetes.io/");
    if is_native && name != "storage" {
        errors.push(FieldError::not_supported(path, name, &["storage"]));
    }
    !is_native || name == "storage"
}
