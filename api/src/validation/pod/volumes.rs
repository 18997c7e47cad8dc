//! The volumes of a pod.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::Scope;
use super::{environment, one_of_required, projected};
use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::validation::at::At;
use crate::validation::core::claims;
use crate::validation::core::sources::OF_PODS;
use crate::validation::core::sources::{self, Source};
use crate::validation::rules;

/// Longest name and portal of an iSCSI volume together.
const PORTAL_LENGTH_MAX: usize = 64;
/// What the downward API offers in a volume.
const FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The volumes that are good, by name, each with the kind of its source.
pub(crate) struct Volumes<'a>(BTreeMap<&'a str, &'static str>);

impl Volumes<'_> {
    /// The kind of source that a volume has, if there is such a volume.
    pub(super) fn kind(&self, name: &str) -> Option<&'static str> {
        self.0.get(name).copied()
    }
}

/// `ValidateVolumes`
pub(super) fn check<'a>(at: &At<'a>, scope: &Scope<'_>, errors: &mut ErrorList) -> Volumes<'a> {
    let mut known = BTreeMap::new();
    let mut created = BTreeSet::new();
    if !scope.name.is_empty() {
        let ephemeral = at.items().filter(|volume| volume.field("ephemeral").is_set());
        created.extend(ephemeral.map(|volume| format!("{}-{}", scope.name, volume.field("name").text())));
    }
    for volume in at.items() {
        let before = errors.len();
        let name = volume.field("name");
        let kind = source(&volume, scope, errors);
        if rules::required(&name, errors) {
            rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
        }
        if known.contains_key(name.text()) {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
        if errors.len() == before {
            known.insert(name.text(), kind.unwrap_or(""));
        }
        let claim = volume.at(&["persistentVolumeClaim", "claimName"]);
        if created.contains(claim.text()) {
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(FieldError::invalid(&claim.path, claim.text(), detail));
        }
    }
    Volumes(known)
}

/// `validateVolumeSource`; the kind of the first source.
fn source(volume: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) -> Option<&'static str> {
    let mut first = None;
    for (source, at) in OF_PODS.iter().zip(volume.fields(OF_PODS.each_ref().map(|source| source.name))) {
        if at.is_absent() {
            continue;
        }
        if first.is_some() {
            let path = volume.path.child(source.shown_when_forbidden());
            errors.push(FieldError::forbidden(&path, "may not specify more than 1 volume type"));
        } else {
            first = Some(source.name);
            one(volume, source, &at, scope, errors);
        }
        if source.name == "iscsi" && at.field("initiatorName").is_set() {
            let (name, portal) = (volume.field("name"), at.field("targetPortal").text());
            if name.text().len() + 1 + portal.len() > PORTAL_LENGTH_MAX {
                errors.push(FieldError::invalid(&name.path, name.text(), sources::PORTAL_TOO_LONG));
            }
        }
    }
    if first.is_none() {
        errors.push(FieldError::required(&volume.path, "must specify a volume type"));
    }
    first
}

/// A source that pods alone have; the others are with those of persistent volumes.
fn one(volume: &At<'_>, source: &Source, at: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    match source.name {
        "emptyDir" => {
            let limit = at.field("sizeLimit");
            if rules::quantity(&limit).is_some_and(|quantity| quantity.sign() < 0) {
                errors.push(FieldError::forbidden(&limit.path, "SizeLimit field must be a valid resource quantity"));
            }
        }
        "secret" | "configMap" => {
            rules::required(&if source.name == "secret" { at.field("secretName") } else { at.field("name") }, errors);
            mode(&at.field("defaultMode"), errors);
            at.field("items").items().for_each(|item| key_to_path(&item, errors));
        }
        "downwardAPI" => {
            mode(&at.field("defaultMode"), errors);
            at.field("items").items().for_each(|file| downward_file(&at.path, &file, errors));
        }
        "projected" => projected::check(at, errors),
        "ephemeral" => {
            let template = at.field("volumeClaimTemplate");
            if rules::required(&template, errors) || template.is_set() {
                claims::template(&template, errors);
            }
            let name = volume.field("name");
            if !scope.name.is_empty() && !name.is_empty() {
                let claim = format!("{}-{}", scope.name, name.text());
                for message in names::dns1123_subdomain(&claim) {
                    let detail = format!("PVC name {claim:?}: {message}");
                    errors.push(FieldError::invalid(&name.path, name.text(), detail));
                }
            }
        }
        "image" => {
            if scope.is_pod {
                rules::required(&at.field("reference"), errors);
            }
            one_of_required(&at.field("pullPolicy"), &["Always", "IfNotPresent", "Never"], errors);
        }
        _ => source.check(&volume.path, at, errors),
    }
}

/// The permissions of a file.
pub(super) fn mode(at: &At<'_>, errors: &mut ErrorList) {
    if at.number().is_some_and(|number| !(0..=0o777).contains(&number)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}

/// `validateKeyToPath`
pub(super) fn key_to_path(item: &At<'_>, errors: &mut ErrorList) {
    rules::required(&item.field("key"), errors);
    rules::required(&item.field("path"), errors);
    rules::local_path(&item.field("path"), errors);
    mode(&item.field("mode"), errors);
}

/// `validateDownwardAPIVolumeFile`, whose path is that of the volume.
pub(super) fn downward_file(path: &Path, file: &At<'_>, errors: &mut ErrorList) {
    let file = file.moved(path.clone());
    rules::required(&file.field("path"), errors);
    rules::local_path(&file.field("path"), errors);
    let (field, resource) = (file.field("fieldRef"), file.field("resourceFieldRef"));
    if field.is_set() {
        environment::field_ref(&field, FIELDS, errors);
        if resource.is_set() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.push(FieldError::invalid(&file.path, "resource", detail));
        }
    } else if resource.is_set() {
        environment::resource_field_ref(&resource, true, errors);
    } else {
        errors.push(FieldError::required(&file.path, "one of fieldRef and resourceFieldRef is required"));
    }
    mode(&file.field("mode"), errors);
}
