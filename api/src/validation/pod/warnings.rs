//! What a client is told of a pod, or of a template, that is good but not as it should be
//! (`warningsForPodSpecAndMeta` in `pkg/api/pod`).

use std::collections::BTreeMap;

use super::{containers_of, overlaps};
use crate::names;
use crate::validation::addresses::address_warnings;
use crate::validation::at::At;
use crate::validation::rules;
use crate::validation::warnings::old_label;

/// So many warnings are never shown: there is no use in looking for more among ports.
const WARNINGS_MAX: usize = 1_000;
/// A port is compared with so many others at most.
const COMPARED_MAX: usize = 1_000;
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_FIELD: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const APP_ARMOR_FIELD: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
/// Annotations that do nothing any more.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];
/// Volumes that are going or gone: the field, how its path is shown, and since when.
const VOLUMES: [(&str, &str, &str); 9] = [
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Warnings about a new pod; an update gives none.
pub(crate) fn pod(new: &At<'_>, old: Option<&At<'_>>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let problems = names::dns1123_label(new.at(&["metadata", "name"]).text());
    if !problems.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            problems.join(" ")
        ));
    }
    of(new, false, &mut warnings);
    warnings
}

/// Warnings about a template.
pub(crate) fn template(at: &At<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    of(at, true, &mut warnings);
    warnings
}

fn of(at: &At<'_>, is_template: bool, out: &mut Vec<String>) {
    let (metadata, spec) = (at.field("metadata"), at.field("spec"));
    node_labels(&spec, out);
    for constraint in spec.field("topologySpreadConstraints").items() {
        let key = constraint.field("topologyKey");
        out.extend(old_label(key.text()).map(|text| format!("{}: {} is {text}", key.path, key.text())));
        no_selector(&constraint, out);
    }
    let annotations = metadata.field("annotations");
    for (key, text) in ANNOTATIONS {
        let at = annotations.key(key);
        out.extend(at.is_set().then(|| format!("{}: {text}", at.path)));
    }
    volumes(&spec, out);
    overlaps::of(&spec, out);
    twice(spec.field("hostAliases").items().map(|alias| alias.field("ip")), "ip", out);
    twice(spec.field("imagePullSecrets").items().map(|secret| secret.field("name")), "name", out);
    for name in spec.field("imagePullSecrets").items().map(|secret| secret.field("name")).filter(At::is_empty) {
        out.push(format!("{}: invalid empty name \"\"", name.path));
    }
    fractions(&spec.field("overhead"), out);
    containers(&spec, &annotations, is_template, out);
    ports(&spec, out);
    let grace = spec.field("terminationGracePeriodSeconds");
    if grace.number().is_some_and(|number| number < 0) {
        out.push(format!("{}: must be >= 0; negative values are invalid and will be treated as 1", grace.path));
    }
    for kind in spec.field("affinity").fields(["podAffinity", "podAntiAffinity"]) {
        kind.field(REQUIRED).items().for_each(|term| no_selector(&term, out));
        kind.field(PREFERRED).items().for_each(|term| no_selector(&term.field("podAffinityTerm"), out));
    }
    for server in spec.at(&["dnsConfig", "nameservers"]).items() {
        out.extend(address_warnings(&server.path, server.text()));
    }
    for ip in spec.field("hostAliases").items().map(|alias| alias.field("ip")) {
        out.extend(address_warnings(&ip.path, ip.text()));
    }
}

fn no_selector(term: &At<'_>, out: &mut Vec<String>) {
    let at = term.field("labelSelector");
    out.extend(at.is_absent().then(|| format!("{}: {NO_SELECTOR}", at.path)));
}

fn node_labels(spec: &At<'_>, out: &mut Vec<String>) {
    for (key, at) in spec.field("nodeSelector").entries() {
        out.extend(old_label(key).map(|text| format!("{}: {text}", at.path)));
    }
    let affinity = spec.at(&["affinity", "nodeAffinity"]);
    for term in affinity.field(REQUIRED).field("nodeSelectorTerms").items() {
        node_term(&term, false, out);
    }
    for term in affinity.field(PREFERRED).items() {
        node_term(&term.field("preference"), true, out);
    }
}

/// `GetWarningsForNodeSelectorTerm`
pub(in crate::validation) fn node_term(term: &At<'_>, with_values: bool, out: &mut Vec<String>) {
    for expression in term.field("matchExpressions").items() {
        let key = expression.field("key");
        out.extend(old_label(key.text()).map(|text| format!("{}: {} is {text}", key.path, key.text())));
        for value in expression.field("values").items().filter(|_| with_values) {
            let messages = names::label_value(value.text());
            out.extend(messages.into_iter().map(|text| format!("{}: {} is invalid, {text}", value.path, value.text())));
        }
    }
}

fn volumes(spec: &At<'_>, out: &mut Vec<String>) {
    for volume in spec.field("volumes").items() {
        let given = volume.fields(VOLUMES.map(|(name, ..)| name));
        for ((_, shown, text), _) in VOLUMES.iter().zip(given).filter(|(_, at)| at.is_set()) {
            out.push(format!("{}: {text}", volume.path.child(shown)));
        }
        claim(&volume.at(&["ephemeral", "volumeClaimTemplate", "spec"]), out);
    }
}

/// `GetWarningsForPersistentVolumeClaimSpec`
pub(in crate::validation) fn claim(spec: &At<'_>, out: &mut Vec<String>) {
    for list in spec.field("resources").fields(["requests", "limits"]) {
        fraction(&list.key("storage"), out);
    }
}

/// Bytes are whole.
fn fraction(at: &At<'_>, out: &mut Vec<String>) {
    if let Some(quantity) = rules::quantity(at).filter(|quantity| quantity.overflowing_milli_value() % 1000 != 0) {
        let shown = quantity.to_string();
        out.push(format!("{}: fractional byte value {shown:?} is invalid, must be an integer", at.path));
    }
}

fn fractions(list: &At<'_>, out: &mut Vec<String>) {
    ["memory", "ephemeral-storage"].iter().for_each(|name| fraction(&list.key(name), out));
}

/// What a list has more than once.
fn twice<'a>(all: impl Iterator<Item = At<'a>>, name: &str, out: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    for at in all {
        if !seen.insert(at.text()) {
            out.push(format!("{}: duplicate {name} {:?}", at.path, at.text()));
        }
    }
}

fn containers(spec: &At<'_>, annotations: &At<'_>, is_template: bool, out: &mut Vec<String>) {
    let context = spec.field("securityContext");
    let of_pod = annotations.key(SECCOMP_POD);
    if context.field("seccompProfile").is_absent() && of_pod.is_set() {
        out.push(format!("{}: {SECCOMP_FIELD}", of_pod.path));
    }
    for container in containers_of(spec) {
        let (own, name) = (container.field("securityContext"), container.field("name").text());
        let seccomp = annotations.key(&format!("{SECCOMP_CONTAINER}{name}"));
        if own.field("seccompProfile").is_absent() && seccomp.is_set() {
            out.push(format!("{}: {SECCOMP_FIELD}", seccomp.path));
        }
        let armor = annotations.key(&format!("{APP_ARMOR}{name}"));
        if is_template && own.field("appArmorProfile").is_absent() && armor.is_set() {
            let profile = context.field("appArmorProfile");
            let same = match (profile.field("type").text(), armor.text()) {
                ("Unconfined", "unconfined") | ("RuntimeDefault", "runtime/default") => true,
                ("Localhost", text) => {
                    text.strip_prefix("localhost/") == Some(profile.field("localhostProfile").text())
                }
                _ => false,
            };
            out.extend((!same).then(|| format!("{}: {APP_ARMOR_FIELD}", armor.path)));
        }
        for name in ["memory", "ephemeral-storage"] {
            for list in container.field("resources").fields(["limits", "requests"]) {
                fraction(&list.key(name), out);
            }
        }
        hidden(&container.field("env"), out);
    }
}

/// A variable that takes the place of one before it, without building on it.
fn hidden(env: &At<'_>, out: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    for variable in env.items() {
        let (name, value) = (variable.field("name").text(), variable.field("value").text());
        let reference = format!("$({name})");
        let builds_on = variable.field("valueFrom").is_absent() && value != reference && value.contains(&reference);
        if !seen.insert(name) && !builds_on {
            let text = format!("hides previous definition of {name:?}, which may be dropped when using apply");
            out.push(format!("{}: {text}", variable.path));
        }
    }
}

fn ports(spec: &At<'_>, out: &mut Vec<String>) {
    let number = |at: At<'_>| at.number().unwrap_or(0);
    let mut known: BTreeMap<(i64, &str), Vec<At<'_>>> = BTreeMap::new();
    // Those that only another with the same port of the host can meet.
    let mut by_host: BTreeMap<(i64, &str, i64), Vec<usize>> = BTreeMap::new();
    for port in containers_of(spec).flat_map(|container| container.field("ports").items()) {
        let (ip, host) = (port.field("hostIP").text(), number(port.field("hostPort")));
        let (inner, protocol) = (number(port.field("containerPort")), port.field("protocol").text());
        if !ip.is_empty() && host == 0 {
            let name = port.field("name").text();
            out.push(format!(
                "{}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{inner} Protocol:{protocol} \
                 HostIP:{ip}}}",
                port.path
            ));
        }
        let others = known.entry((inner, protocol)).or_default();
        let of_host = |host: i64| by_host.get(&(inner, protocol, host)).map_or(&[][..], Vec::as_slice);
        let mut candidates: Vec<usize> = match host {
            0 => (0..others.len()).collect(),
            host => of_host(0).iter().chain(of_host(host)).copied().collect(),
        };
        candidates.sort_unstable();
        for other in candidates.into_iter().take(COMPARED_MAX).map(|at| &others[at]) {
            if out.len() >= WARNINGS_MAX {
                return;
            }
            let (other_ip, other_host) = (other.field("hostIP").text(), number(other.field("hostPort")));
            let what = if (ip, host) == (other_ip, other_host) {
                "duplicate"
            } else if host == 0 || other_host == 0 {
                "overlapping"
            } else if host == other_host && ip.is_empty() != other_ip.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            out.push(format!("{}: {what} port definition with {}", port.path, other.path));
        }
        by_host.entry((inner, protocol, host)).or_default().push(others.len());
        others.push(port);
    }
    let mut names: BTreeMap<&str, At<'_>> = BTreeMap::new();
    for port in containers_of(spec).flat_map(|container| container.field("ports").items()) {
        let name = port.field("name").text();
        match names.get(name).filter(|_| !name.is_empty()) {
            Some(other) => out.push(format!(
                "{}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use \
                 {other}",
                port.path,
                other = other.path
            )),
            None => _ = names.insert(name, port),
        }
    }
}
