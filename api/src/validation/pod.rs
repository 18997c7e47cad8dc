//! Pods and pod templates (`ValidatePodCreate`, `ValidatePodSpec`, `ValidatePodTemplateSpec`).

pub(crate) mod affinity;
pub(crate) mod annotations;
pub(crate) mod claims;
pub(crate) mod containers;
pub(crate) mod environment;
pub(crate) mod ephemeral;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod overlaps;
pub(crate) mod probes;
pub(crate) mod projected;
pub(crate) mod resize;
pub(crate) mod resources;
pub(crate) mod scope;
pub(crate) mod security;
pub(crate) mod spread;
pub(crate) mod status;
pub(crate) mod update;
pub(crate) mod volumes;
pub(crate) mod warnings;
pub(crate) mod windows;

use super::at::At;
use super::{metadata, rules};
use crate::field::{ErrorList, FieldError, Path};
use crate::names;
pub(super) use resources::resource_name;
use scope::Scope;
pub(crate) use update::same;

/// Annotates the pods that a kubelet runs from a file.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod.
pub(crate) fn pod(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    match old {
        Some(old) => update::pod(new, old, errors),
        None => {
            metadata_and_spec(new, errors);
            let spec = new.field("spec");
            let containers = spec.field("ephemeralContainers");
            if !containers.is_empty() {
                errors.push(FieldError::forbidden(&containers.path, "cannot be set on create"));
            }
            if !spec.field("nodeName").is_empty() && !spec.field("schedulingGates").is_empty() {
                let path = spec.path.child("nodeName");
                errors.push(FieldError::forbidden(&path, "cannot be set until all schedulingGates have been cleared"));
            }
            annotations::agree(&new.field("metadata"), &spec, errors);
        }
    }
}

/// A pod template object.
pub(crate) fn pod_template(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    template(&new.field("template"), errors);
}

/// The template of a workload.
pub(crate) fn template(at: &At<'_>, errors: &mut ErrorList) {
    template_metadata(at, errors);
    let (metadata, spec) = (at.field("metadata"), at.field("spec"));
    annotations::pod(&at.path.child("annotations"), &metadata.field("annotations"), &spec, errors);
    pod_spec(&spec, &Scope::of_template(&spec), errors);
    annotations::agree(&metadata, &spec, errors);
    let ephemeral = spec.field("ephemeralContainers");
    if !ephemeral.is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(&ephemeral.path, detail));
    }
}

/// The labels and annotations of a template; their paths leave the metadata out.
pub(crate) fn template_metadata(at: &At<'_>, errors: &mut ErrorList) {
    let labels = at.at(&["metadata", "labels"]);
    rules::labels(&labels.moved(at.path.child("labels")), errors);
    let annotations = at.at(&["metadata", "annotations"]);
    errors.extend(metadata::validate_annotations(annotations.value.as_object(), &at.path.child("annotations")));
}

/// `validatePodMetadataAndSpec`, less what the metadata of all kinds have in common.
fn metadata_and_spec(new: &At<'_>, errors: &mut ErrorList) {
    let (metadata, spec) = (new.field("metadata"), new.field("spec"));
    let annotations = metadata.field("annotations");
    annotations::pod(&annotations.path, &annotations, &spec, errors);
    pod_spec(&spec, &Scope::of_pod(&spec, &metadata), errors);
    if spec.field("serviceAccountName").is_empty() {
        for source in spec.field("volumes").items().flat_map(|volume| volume.at(&["projected", "sources"]).items()) {
            let token = source.field("serviceAccountToken");
            if token.is_set() {
                let detail = "must not be specified when serviceAccountName is not set";
                errors.push(FieldError::forbidden(&token.path, detail));
            }
        }
    }
    for list in spec.fields(["containers", "initContainers"]) {
        for container in list.items() {
            containers::trimmed_image(&container, errors);
        }
    }
}

/// The spec of a pod, in the reference's order of checks (`ValidatePodSpec`).
fn pod_spec(spec: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    if spec.field("terminationGracePeriodSeconds").is_absent() {
        errors.push(FieldError::required(&spec.path.child("terminationGracePeriodSeconds"), ""));
    }
    let volumes = volumes::check(&spec.field("volumes"), scope, errors);
    claims::pod(&spec.field("resourceClaims"), scope, errors);
    containers::all(spec, &volumes, scope, errors);
    ephemeral::containers(spec, &volumes, scope, errors);
    resources::of_pod(spec, scope, errors);
    network::host_ports(spec, scope, errors);
    one_of_required(&spec.field("restartPolicy"), &["Always", "OnFailure", "Never"], errors);
    one_of_required(&spec.field("dnsPolicy"), network::DNS_POLICIES, errors);
    rules::labels(&spec.field("nodeSelector"), errors);
    security::pod(spec, errors);
    affinity::affinity(&spec.field("affinity"), errors);
    network::dns_config(spec, errors);
    gates(spec, errors);
    spread::constraints(&spec.field("topologySpreadConstraints"), errors);
    windows::host_process(spec, errors);
    network::host_users(spec, errors);
    network::hostname_override(spec, errors);
    identity(spec, errors);
    affinity::tolerations(&spec.field("tolerations"), errors);
    network::host_aliases(spec, errors);
    let (priority, runtime) = (spec.field("priorityClassName"), spec.field("runtimeClassName"));
    for at in [(!priority.is_empty()).then_some(priority), runtime.is_set().then_some(runtime)].iter().flatten() {
        rules::invalid_each(at, names::dns1123_subdomain(at.text()), errors);
    }
    let preemption = spec.field("preemptionPolicy");
    if preemption.is_set() {
        one_of_required(&preemption, &["PreemptLowerPriority", "Never"], errors);
    }
    resources::limits(&spec.field("overhead"), errors);
    os(spec, errors);
    environment::files(spec, errors);
}

/// Who the pod is and how long it may run.
fn identity(spec: &At<'_>, errors: &mut ErrorList) {
    for at in spec.fields(["serviceAccountName", "nodeName"]) {
        if !at.is_empty() {
            rules::invalid_each(&at, names::dns1123_subdomain(at.text()), errors);
        }
    }
    let deadline = spec.field("activeDeadlineSeconds");
    if deadline.number().is_some_and(|number| !(1..=i64::from(i32::MAX)).contains(&number)) {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(&deadline.path, deadline.value.clone(), detail));
    }
    for at in spec.fields(["hostname", "subdomain"]) {
        if !at.is_empty() {
            rules::invalid_each(&at, names::dns1123_label(at.text()), errors);
        }
    }
}

/// `validateReadinessGates` and `validateSchedulingGates`
fn gates(spec: &At<'_>, errors: &mut ErrorList) {
    for gate in spec.field("readinessGates").items() {
        let type_ = gate.field("conditionType");
        rules::invalid_each(&type_, names::label_key(type_.text()), errors);
    }
    let mut seen = std::collections::BTreeSet::new();
    for gate in spec.field("schedulingGates").items() {
        let name = gate.field("name").text();
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
    let os = spec.field("os");
    if os.is_absent() {
        return;
    }
    let name = os.field("name");
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
    spec.fields(["initContainers", "containers", "ephemeralContainers"]).into_iter().flat_map(|list| list.items())
}

/// The error of a pod that a file describes, which has no path.
fn of_mirror(new: &At<'_>, detail: &str) -> Option<FieldError> {
    let annotation = new.at(&["metadata", "annotations"]).key(MIRROR);
    annotation.is_set().then(|| FieldError::forbidden(&Path::unnamed(), detail))
}
