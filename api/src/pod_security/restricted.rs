//! The rules of `restricted` beyond `baseline` (`policy/check_*.go`): only what was hardened.

use serde_json::Value;

use super::baseline::{adding, confines, not_included, seccomp_profile as explicit_seccomp_profile};
use super::checks::{Sorted, Violation, join_quote, named, plural, setters};
use super::{Pod, items};

/// Sources of volumes that come from the cluster and not from the host or a device.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
/// The others, in the order in which they are looked for.
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub(super) fn privilege_escalation(pod: Pod<'_>) -> Option<Violation> {
    let names = pod.containers_with(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", named("container", &names));
    Violation::new("allowPrivilegeEscalation != false", detail)
}

pub(super) fn privilege_escalation_1_25(pod: Pod<'_>) -> Option<Violation> {
    if pod.is_windows() { None } else { privilege_escalation(pod) }
}

pub(super) fn capabilities(pod: Pod<'_>) -> Option<Violation> {
    let keeps = |container: &Value| {
        !items(&container["securityContext"]["capabilities"]["drop"]).any(|capability| capability == "ALL")
    };
    let keeping = pod.containers_with(keeps);
    let (names, added) = adding(pod, |capability| capability == "NET_BIND_SERVICE");
    let mut told = Vec::new();
    if !keeping.is_empty() {
        let names = named("container", &keeping);
        told.push(format!("{names} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if !names.is_empty() {
        told.push(not_included(&names, &added));
    }
    if told.is_empty() { None } else { Violation::new("unrestricted capabilities", told.join("; ")) }
}

pub(super) fn capabilities_1_25(pod: Pod<'_>) -> Option<Violation> {
    if pod.is_windows() { None } else { capabilities(pod) }
}

pub(super) fn volumes(pod: Pod<'_>) -> Option<Violation> {
    let has = |volume: &Value, sort: &str| !volume[sort].is_null();
    let bad = items(&pod.spec["volumes"]).filter(|volume| !VOLUMES.iter().any(|sort| has(volume, sort)));
    let bad: Vec<&Value> = bad.collect();
    if bad.is_empty() {
        return None;
    }
    let sort = |volume: &&Value| OTHER_VOLUMES.into_iter().find(|sort| has(volume, sort)).unwrap_or("unknown");
    let sorts: Sorted<'_> = bad.iter().map(sort).collect();
    let names: Vec<&str> = bad.iter().map(|volume| volume["name"].as_str().unwrap_or("")).collect();
    let (use_, s) = (if names.len() == 1 { "uses" } else { "use" }, plural(sorts.len()));
    let detail = format!("{} {use_} restricted volume type{s} {}", named("volume", &names), join_quote(sorts));
    Violation::new("restricted volume types", detail)
}

pub(super) fn run_as_non_root(pod: Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let of_pod = &pod.security()["runAsNonRoot"];
    let of = |container: &Value| container["securityContext"]["runAsNonRoot"].as_bool();
    let explicit = pod.containers_with(|container| of(container) == Some(false));
    if let Some(setters) = setters(*of_pod == false, &explicit) {
        return Violation::new(REASON, format!("{setters} must not set securityContext.runAsNonRoot=false"));
    }
    let implicit = pod.containers_with(|container| of(container).is_none() && *of_pod != true);
    if implicit.is_empty() {
        return None;
    }
    let names = named("container", &implicit);
    Violation::new(REASON, format!("pod or {names} must set securityContext.runAsNonRoot=true"))
}

pub(super) fn run_as_non_root_1_35(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { run_as_non_root(pod) }
}

pub(super) fn run_as_user(pod: Pod<'_>) -> Option<Violation> {
    let is_root = |context: &Value| context["runAsUser"] == 0;
    let names = pod.containers_with(|container| is_root(&container["securityContext"]));
    let setters = setters(is_root(pod.security()), &names)?;
    Violation::new("runAsUser=0", format!("{setters} must not set runAsUser=0"))
}

pub(super) fn run_as_user_1_35(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { run_as_user(pod) }
}

pub(super) fn seccomp_profile(pod: Pod<'_>) -> Option<Violation> {
    let explicit = explicit_seccomp_profile(pod);
    if explicit.is_some() {
        return explicit;
    }
    let of_pod = confines(pod.security());
    let implicit = pod.containers_with(|container| !confines(&container["securityContext"]) && !of_pod);
    if implicit.is_empty() {
        return None;
    }
    let names = named("container", &implicit);
    let wanted = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    Violation::new("seccompProfile", format!("pod or {names} {wanted}"))
}

pub(super) fn seccomp_profile_1_25(pod: Pod<'_>) -> Option<Violation> {
    if pod.is_windows() { None } else { seccomp_profile(pod) }
}
