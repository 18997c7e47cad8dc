//! Persistent volume claims.

use serde_json::json;

use crate::field::{ErrorList, FieldError, Path};
use crate::go::internal;
use crate::names;
use crate::quantity::Quantity;
use crate::validation::at::At;
use crate::validation::pod::resources;
use crate::validation::rules;
use crate::volumes::CLASS_ANNOTATION;

pub(super) const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
pub(super) const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// The one resource that is asked for.
const STORAGE: &str = "storage";
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
pub(crate) fn claim(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    spec(&new.field("spec"), errors);
    if let Some(old) = old {
        update(new, old, errors);
    }
}

/// The template of the claim of an ephemeral volume (`ValidatePersistentVolumeClaimTemplate`).
pub(crate) fn template(at: &At<'_>, errors: &mut ErrorList) {
    rules::template_metadata(&at.field("metadata"), errors);
    spec(&at.field("spec"), errors);
}

/// `ValidatePersistentVolumeClaimSpec`, also of claim templates.
pub(crate) fn spec(spec: &At<'_>, errors: &mut ErrorList) {
    let modes = spec.field("accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required(&modes.path, "at least 1 access mode is required"));
    }
    if spec.field("selector").is_set() {
        rules::label_selector(&spec.field("selector"), errors);
    }
    access_modes(&modes, errors);
    let wanted = spec.at(&["resources", "requests"]).key(STORAGE);
    let storage = wanted.moved(spec.field("resources").path.key(STORAGE));
    if storage.is_absent() {
        errors.push(FieldError::required(&storage.path, ""));
    } else {
        rules::positive_quantity(&storage, errors);
    }
    let class = spec.field("storageClassName");
    if !class.is_empty() {
        rules::invalid_each(&class, names::dns1123_subdomain(class.text()), errors);
    }
    rules::one_of(&spec.field("volumeMode"), VOLUME_MODES, errors);
    sources(spec, errors);
    let attributes = spec.field("volumeAttributesClassName");
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
    let (source, reference) = (spec.field("dataSource"), spec.field("dataSourceRef"));
    for at in [&source, &reference].into_iter().filter(|at| at.is_set()) {
        rules::required(&at.field("name"), errors);
        rules::required(&at.field("kind"), errors);
        let (group, kind) = (at.field("apiGroup"), at.field("kind"));
        if group.is_empty() && kind.text() != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(&at.path, kind.text(), detail));
        } else if !group.is_empty() {
            rules::invalid_each(&group, names::dns1123_subdomain(group.text()), errors);
        }
    }
    let namespace = reference.field("namespace");
    if !namespace.is_empty() {
        rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors);
    }
    let names = source.known(["apiGroup", "kind", "name"]);
    let same = names.into_iter().all(|name| source.get(name).value == reference.get(name).value);
    let detail = if source.is_absent() || reference.is_absent() {
        return;
    } else if !namespace.is_empty() {
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
    rules::quantity(&of.key(STORAGE)).unwrap_or_default()
}

fn update(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.field("spec"), old.field("spec"));
    let (mut now, mut then) = (spec.value.clone(), before.value.clone());
    if before.field("volumeName").is_empty() {
        rules::copy(&mut then, &now, spec.name("volumeName"));
    }
    let [annotation, former] = [new, old].map(|at| at.at(&["metadata", "annotations"]).key(CLASS_ANNOTATION));
    let class = spec.name("storageClassName");
    let (given, was_given) = (spec.get(class), before.get(class));
    let taken_over = was_given.is_absent() && given.is_set() && former.is_set() && given.value == former.value;
    if taken_over && (annotation.is_absent() || annotation.value == former.value) {
        now.as_object_mut().map(|map| map.remove(&*class));
    } else {
        if annotation.text() != former.text() {
            let path = Path::new("metadata").child("annotations").child(CLASS_ANNOTATION);
            errors.push(FieldError::invalid(&path, annotation.text(), rules::IMMUTABLE));
        }
        if given.is_set() && was_given.is_absent() && (former.is_absent() || former.value == given.value) {
            rules::copy(&mut now, &then, class);
        }
    }
    let [requests, requests_before] = [&spec, &before].map(|spec| spec.at(&["resources", "requests"]));
    let (size, size_before) = (storage(&requests), storage(&requests_before));
    if new.at(&["status", "phase"]).text() == "Bound" {
        if requests.is_set() && size != size_before {
            let [resources, requests] = [spec.name("resources"), spec.field("resources").name("requests")];
            now[&*resources][&*requests][STORAGE] = requests_before.key(STORAGE).value.clone();
        }
        rules::copy(&mut now, &then, spec.name("volumeAttributesClassName"));
    }
    if !rules::same(&now, &then) {
        let difference = internal::difference("core.PersistentVolumeClaimSpec", &then, &now);
        errors.push(FieldError::forbidden(&spec.path, format!("{FIXED}\n{difference}")));
    }
    if size < size_before && size <= storage(&old.at(&["status", "capacity"])) {
        let path = spec.path.child("resources").child("requests").child(STORAGE);
        errors.push(FieldError::forbidden(&path, "field can not be less than status.capacity"));
    }
    let mode = spec.field("volumeMode").moved(Path::new("volumeMode"));
    rules::immutable(&mode, &before.field("volumeMode"), errors);
    attributes_class(&spec.field("volumeAttributesClassName"), &before, old, errors);
}

fn attributes_class(at: &At<'_>, before: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let current = old.at(&["status", "currentVolumeAttributesClassName"]);
    if at.value == before.field("volumeAttributesClassName").value || current.is_absent() || !at.is_empty() {
        return;
    }
    let to = if at.is_absent() { "nil" } else { "empty string" };
    let detail = format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil");
    errors.push(FieldError::forbidden(&at.path, detail));
}

/// `ValidatePersistentVolumeClaimStatusUpdate`
pub(crate) fn status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    if new.at(&["spec", "accessModes"]).is_empty() {
        errors.push(FieldError::required(&Path::new("Spec").child("accessModes"), ""));
    }
    let status = new.field("status");
    for (_, amount) in status.field("capacity").entries() {
        rules::basic_amount(&amount, errors);
    }
    let states = status.field("allocatedResourceStatuses");
    for (name, state) in states.entries() {
        resource(name, &states.path, errors);
        if !RESIZE_STATES.contains(&state.text()) {
            errors.push(FieldError::not_supported(&states.path, name, RESIZE_STATES));
        }
    }
    let allocated = status.field("allocatedResources");
    for (name, amount) in allocated.entries() {
        if !resource(name, &allocated.path, errors) {
            continue;
        }
        let before = errors.len();
        rules::basic_amount(&amount, errors);
        if errors.len() == before {
            resources::amount(STORAGE, &amount, errors);
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
    if is_native && name != STORAGE {
        errors.push(FieldError::not_supported(path, name, &[STORAGE]));
    }
    !is_native || name == STORAGE
}
