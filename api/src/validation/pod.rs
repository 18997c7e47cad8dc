//! Pods and pod templates (`ValidatePodCreate`, `ValidatePodSpec`, `ValidatePodTemplateSpec`).

pub mod affinity;
mod annotations;
mod claims;
mod containers;
mod environment;
mod ephemeral;
mod mounts;
mod network;
mod overlaps;
mod probes;
mod projected;
mod resize;
pub mod resources;
mod scope;
mod security;
mod spread;
mod status;
mod update;
mod volumes;
pub mod warnings;
mod windows;

use super::at::At;
use super::{metadata, rules};
use crate::field::{ErrorList, FieldError, Path};
use crate::names;
pub(super) use resources::resource_name;
use scope::Scope;
pub use update::same;

/// Annotates the pods that a kubelet runs from a file.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod.
pub fn pod(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    match old {
        Some(old) => update::pod(new, old, errors),
        None => {
            metadata_and_spec(new, errors);
            let spec = new.get("spec");
            let containers = spec.get("ephemeralContainers");
            if !containers.is_empty() {
                errors.push(FieldError::forbidden(&containers.path, "cannot be set on create"));
            }
            if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
                let path = spec.path.child("nodeName");
                errors.push(FieldError::forbidden(&path, "cannot be set until all schedulingGates have been cleared"));
            }
            annotations::agree(&new.get("metadata"), &spec, errors);
        }
    }
}

/// What a subresource of a pod changes.
pub fn subresource(name: &str) -> Option<super::Rules> {
    Some(match name {
        "status" => status::pod,
        "ephemeralcontainers" => ephemeral::pod,
        "resize" => resize::pod,
        _ => return None,
    })
}

/// A pod template object.
pub fn pod_template(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    template(&new.get("template"), errors);
}

/// The template of a workload.
pub fn template(at: &At<'_>, errors: &mut ErrorList) {
    template_metadata(at, errors);
    let (metadata, spec) = (at.get("metadata"), at.get("spec"));
    annotations::pod(&at.path.child("annotations"), &metadata.get("annotations"), &spec, errors);
    pod_spec(&spec, &Scope::of_template(&spec), errors);
    annotations::agree(&metadata, &spec, errors);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(&ephemeral.path, detail));
    }
}

/// The labels and annotations of a template; their paths leave the metadata out.
pub fn template_metadata(at: &At<'_>, errors: &mut ErrorList) {
    let labels = at.at(&["metadata", "labels"]);
    rules::labels(&At::new(at.path.child("labels"), labels.value), errors);
    let annotations = at.at(&["metadata", "annotations"]);
    errors.extend(metadata::validate_annotations(annotations.value.as_object(), &at.path.child("annotations")));
}

/// `validatePodMetadataAndSpec`, less what the metadata of all kinds have in common.
fn metadata_and_spec(new: &At<'_>, errors: &mut ErrorList) {
    let (metadata, spec) = (new.get("metadata"), new.get("spec"));
    let annotations = metadata.get("annotations");
    annotations::pod(&annotations.path, &annotations, &spec, errors);
    pod_spec(&spec, &Scope::of_pod(&spec, &metadata), errors);
    if spec.get("serviceAccountName").is_empty() {
        for source in spec.get("volumes").items().flat_map(|volume| volume.at(&["projected", "sources"]).items()) {
            let token = source.get("serviceAccountToken");
            if token.is_set() {
                let detail = "must not be specified when serviceAccountName is not set";
                errors.push(FieldError::forbidden(&token.path, detail));
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get(list).items() {
            containers::trimmed_image(&container, errors);
        }
    }
}

/// The spec of a pod, in the reference's order of checks (`ValidatePodSpec`).
fn pod_spec(spec: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    if spec.get("terminationGracePeriodSeconds").is_absent() {
        errors.push(FieldError::required(&spec.path.child("terminationGracePeriodSeconds"), ""));
    }
    let volumes = volumes::check(&spec.get("volumes"), scope, errors);
    claims::pod(&spec.get("resourceClaims"), scope, errors);
    containers::all(spec, &volumes, scope, errors);
    ephemeral::containers(spec, &volumes, scope, errors);
    resources::of_pod(spec, scope, errors);
    network::host_ports(spec, scope, errors);
    one_of_required(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"], errors);
    one_of_required(&spec.get("dnsPolicy"), network::DNS_POLICIES, errors);
    rules::labels(&spec.get("nodeSelector"), errors);
    security::pod(spec, errors);
    affinity::affinity(&spec.get("affinity"), errors);
    network::dns_config(spec, errors);
    gates(spec, errors);
    spread::constraints(&spec.get("topologySpreadConstraints"), errors);
    windows::host_process(spec, errors);
    network::host_users(spec, errors);
    network::hostname_override(spec, errors);
    identity(spec, errors);
    affinity::tolerations(&spec.get("tolerations"), errors);
    network::host_aliases(spec, errors);
    for name in ["priorityClassName", "runtimeClassName"] {
        let at = spec.get(name);
        if at.is_set() && (name == "runtimeClassName" || !at.is_empty()) {
            rules::invalid_each(&at, names::dns1123_subdomain(at.text()), errors);
        }
    }
    let preemption = spec.get("preemptionPolicy");
    if preemption.is_set() {
        one_of_required(&preemption, &["PreemptLowerPriority", "Never"], errors);
    }
    resources::limits(&spec.get("overhead"), errors);
    os(spec, errors);
    environment::files(spec, errors);
}

/// Who the pod is and how long it may run.
fn identity(spec: &At<'_>, errors: &mut ErrorList) {
    for name in ["serviceAccountName", "nodeName"] {
        let at = spec.get(name);
        if !at.is_empty() {
            rules::invalid_each(&at, names::dns1123_subdomain(at.text()), errors);
        }
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.number().is_some_and(|number| !(1..=i64::from(i32::MAX)).contains(&number)) {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(&deadline.path, deadline.value.clone(), detail));
    }
    for name in ["hostname", "subdomain"] {
        let at = spec.get(name);
        if !at.is_empty() {
            rules::invalid_each(&at, names::dns1123_label(at.text()), errors);
        }
    }
}

/// `validateReadinessGates` and `validateSchedulingGates`
fn gates(spec: &At<'_>, errors: &mut ErrorList) {
    for gate in spec.get("readinessGates").items() {
        let type_ = gate.get("conditionType");
        rules::invalid_each(&type_, names::label_key(type_.text()), errors);
    }
    let mut seen = std::collections::BTreeSet::new();
    for gate in spec.get("schedulingGates").items() {
        let name = gate.get("name").text();
        for message in names::label_key(name) {
            errors.push(FieldError::invalid(&gate.path, name, message));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&gate.path, name));
        }
    }
}

/// `validateOS`, then what the system that is named cannot do.
fn os(spec: &At<'_>, errors: &mut ErrorList) {
    let os = spec.get("os");
    if os.is_absent() {
        return;
    }
    let name = os.get("name");
    match name.text() {
        "" => errors.push(FieldError::required(&name.path, "")),
        "linux" => windows::forbid_options(spec, errors),
        "windows" => windows::forbid_linux(spec, errors),
        other => errors.push(FieldError::not_supported(&os.path, other, &["linux", "windows"])),
    }
}

/// One of several where the order of the reference's list is kept in the message.
pub(super) fn one_of_required(at: &At<'_>, supported: &[&str], errors: &mut ErrorList) {
    if at.is_empty() {
        errors.push(FieldError::required(&at.path, ""));
    } else if !supported.contains(&at.text()) {
        errors.push(FieldError::not_supported(&at.path, at.text(), supported));
    }
}

/// Every container of a pod, with its path (`VisitContainersWithPath`): first those that run before the others.
fn containers_of<'a>(spec: &At<'a>) -> impl Iterator<Item = At<'a>> + use<'a> {
    ["initContainers", "containers", "ephemeralContainers"]
        .map(|list| spec.get(list))
        .into_iter()
        .flat_map(|l| l.items())
}

/// The error of a pod that a file describes, which has no path.
fn of_mirror(new: &At<'_>, detail: &str) -> Option<FieldError> {
    let annotation = new.at(&["metadata", "annotations"]).key(MIRROR);
    annotation.is_set().then(|| FieldError::forbidden(&Path::unnamed(), detail))
}
