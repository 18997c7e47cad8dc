//! Ephemeral containers, which join a pod that runs.

use std::collections::BTreeSet;

use super::scope::Scope;
use super::volumes::Volumes;
use super::{annotations, containers, metadata_and_spec, of_mirror};
use crate::field::{ErrorList, FieldError};
use crate::go::internal;
use crate::validation::at::At;

/// Fields that such a container has and may not use.
const FORBIDDEN: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];
const DETAIL: &str = "cannot be set for an Ephemeral Container";

/// `validateEphemeralContainers`
pub(super) fn containers(spec: &At<'_>, volumes: &Volumes<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let others = || spec.field("containers").items().chain(spec.field("initContainers").items());
    let mut seen: BTreeSet<&str> = others().map(|container| container.field("name").text()).collect();
    let targets = seen.clone();
    for container in spec.field("ephemeralContainers").items() {
        containers::common(&container, volumes, scope, errors);
        containers::trimmed_image(&container, errors);
        containers::unique(&container, &mut seen, errors);
        let target = container.field("targetContainerName");
        if !target.is_empty() && !targets.contains(target.text()) {
            errors.push(FieldError::not_found(&target.path, target.text()));
        }
        for at in container.fields(FORBIDDEN).iter().filter(|at| at.is_set()) {
            if !at.path.as_str().ends_with(".resources") || !at.is_empty() {
                errors.push(FieldError::forbidden(&at.path, DETAIL));
            }
        }
        for mount in container.field("volumeMounts").items() {
            for at in mount.fields(["subPath", "subPathExpr"]).iter().filter(|at| !at.is_empty()) {
                errors.push(FieldError::forbidden(&at.path, DETAIL));
            }
        }
    }
}

/// `ValidatePodEphemeralContainersUpdate`
pub(crate) fn pod(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let Some(old) = old else { return };
    if let Some(error) = of_mirror(old, "static pods do not support ephemeral containers") {
        *errors = error.into();
        return;
    }
    metadata_and_spec(new, errors);
    annotations::update(new, old, errors);
    let list = new.at(&["spec", "ephemeralContainers"]);
    for before in old.at(&["spec", "ephemeralContainers"]).items() {
        let name = before.field("name").text();
        match list.items().filter(|after| after.field("name").text() == name).last() {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(FieldError::forbidden(&list.path, detail));
            }
            Some(after) if !super::update::same(before.value, after.value) => {
                let difference = internal::difference("core.EphemeralContainer", before.value, after.value);
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n{difference}");
                errors.push(FieldError::forbidden(&list.path, detail));
            }
            Some(_) => {}
        }
    }
}
