//! The rules of `baseline` (`policy/check_*.go`): what is known to lead out of a container.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Sorted, Violation, join_quote, named, plural, setters, shown};
use super::{Pod, items};

/// Annotations that stood for `appArmorProfile`.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// Annotations that stood for `seccompProfile`.
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
/// The capabilities that a container runtime gives by itself.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Kernel parameters of the pod alone, each with the version since which it counts as safe.
const SYSCTLS: [(&str, u64); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];
const SELINUX_TYPES: [&str; 4] = ["", "container_t", "container_init_t", "container_kvm_t"];

pub(super) fn app_armor_profile(pod: Pod<'_>) -> Option<Violation> {
    let is_bad = |context: &Value| {
        let profile = &context["appArmorProfile"];
        let kind = profile["type"].as_str().unwrap_or("");
        let bad = !profile.is_null() && !matches!(kind, "RuntimeDefault" | "Localhost");
        bad.then_some(kind.to_owned())
    };
    let of_pod = is_bad(pod.security());
    let of_containers: Vec<(&str, String)> =
        pod.containers().filter_map(|(name, c)| Some((name, is_bad(&c["securityContext"])?))).collect();
    let values = of_pod.as_deref().into_iter().chain(of_containers.iter().map(|(_, kind)| kind.as_str()));
    let values: Sorted<'_> = values.collect();
    let names: Vec<&str> = of_containers.iter().map(|(name, _)| *name).collect();
    let annotations = pod.annotations.into_iter().flatten().filter(|(name, _)| name.starts_with(APP_ARMOR));
    let annotations = annotations.map(|(name, value)| (name, value.as_str().unwrap_or("")));
    let is_fine = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = annotations.filter(|(_, value)| !is_fine(value)).map(|(name, value)| shown(name, value));
    let annotations: BTreeSet<String> = annotations.collect();
    let mut told: Vec<String> = of_pod.iter().map(|_| "pod".into()).collect();
    told.extend((!names.is_empty()).then(|| named("container", &names)));
    if !annotations.is_empty() {
        told.push(format!("annotation{}", plural(annotations.len())));
    }
    if told.is_empty() {
        return None;
    }
    let all = values.iter().copied().chain(annotations.iter().map(String::as_str));
    let one = values.len() + annotations.len() == 1;
    let reason = if one { "forbidden AppArmor profile" } else { "forbidden AppArmor profiles" };
    Violation::new(reason, format!("{} must not set AppArmor profile type to {}", told.join(" and "), join_quote(all)))
}

pub(super) fn capabilities(pod: Pod<'_>) -> Option<Violation> {
    let (names, added) = adding(pod, |capability| CAPABILITIES.contains(&capability));
    if names.is_empty() {
        return None;
    }
    Violation::new("non-default capabilities", not_included(&names, &added))
}

/// Containers that add a capability that is not allowed, and what they add.
pub(super) fn adding<'a>(pod: Pod<'a>, allowed: impl Fn(&str) -> bool) -> (Vec<&'a str>, Sorted<'a>) {
    let (mut names, mut added) = (Vec::new(), Sorted::new());
    for (name, container) in pod.containers() {
        let all = items(&container["securityContext"]["capabilities"]["add"]).filter_map(Value::as_str);
        let bad: Vec<&str> = all.filter(|capability| !allowed(capability)).collect();
        if !bad.is_empty() {
            names.push(name);
        }
        added.extend(bad);
    }
    (names, added)
}

pub(super) fn not_included(names: &[&str], added: &Sorted<'_>) -> String {
    let added = join_quote(added.iter().copied());
    format!("{} must not include {added} in securityContext.capabilities.add", named("container", names))
}

pub(super) fn host_namespaces(pod: Pod<'_>) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod.spec[*field] == true);
    let shared: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    if shared.is_empty() { None } else { Violation::new("host namespaces", shared.join(", ")) }
}

pub(super) fn host_path_volumes(pod: Pod<'_>) -> Option<Violation> {
    let volumes = items(&pod.spec["volumes"]).filter(|volume| !volume["hostPath"].is_null());
    let names: Vec<&str> = volumes.map(|volume| volume["name"].as_str().unwrap_or("")).collect();
    if names.is_empty() { None } else { Violation::new("hostPath volumes", named("volume", &names)) }
}

pub(super) fn host_ports(pod: Pod<'_>) -> Option<Violation> {
    let of = |container: &Value| {
        let ports = items(&container["ports"]).filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect::<Vec<_>>()
    };
    let names = pod.containers_with(|container| !of(container).is_empty());
    if names.is_empty() {
        return None;
    }
    // In the order of their text.
    let ports: BTreeSet<String> = pod.containers().flat_map(|(_, container)| of(container)).collect();
    let (use_, s) = (if names.len() == 1 { "uses" } else { "use" }, plural(ports.len()));
    let ports = ports.into_iter().collect::<Vec<_>>().join(", ");
    Violation::new("hostPort", format!("{} {use_} hostPort{s} {ports}", named("container", &names)))
}

pub(super) fn hosts_of_probes(pod: Pod<'_>) -> Option<Violation> {
    let (mut names, mut hosts) = (Sorted::new(), Sorted::new());
    for (name, container) in pod.containers() {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
        let handlers = ["postStart", "preStop"].map(|handler| &container["lifecycle"][handler]);
        for action in probes.into_iter().chain(handlers) {
            let of = ["httpGet", "tcpSocket"].into_iter().filter_map(|sort| action[sort]["host"].as_str());
            for host in of.filter(|host| !host.is_empty()) {
                names.insert(name);
                hosts.insert(host);
            }
        }
    }
    if names.is_empty() {
        return None;
    }
    let names: Vec<&str> = names.into_iter().collect();
    let (use_, s) = (if names.len() == 1 { "uses" } else { "use" }, plural(hosts.len()));
    let detail = format!("{} {use_} probe or lifecycle host{s} {}", named("container", &names), join_quote(hosts));
    Violation::new("probe or lifecycle host", detail)
}

pub(super) fn privileged(pod: Pod<'_>) -> Option<Violation> {
    let names = pod.containers_with(|container| container["securityContext"]["privileged"] == true);
    if names.is_empty() {
        return None;
    }
    Violation::new("privileged", format!("{} must not set securityContext.privileged=true", named("container", &names)))
}

pub(super) fn proc_mount(pod: Pod<'_>) -> Option<Violation> {
    let of = |container: &'_ Value| container["securityContext"]["procMount"].as_str().map(str::to_owned);
    let bad: Vec<(&str, String)> = pod
        .containers()
        .filter_map(|(name, container)| Some((name, of(container).filter(|kind| kind != "Default")?)))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let names: Vec<&str> = bad.iter().map(|(name, _)| *name).collect();
    let kinds: Sorted<'_> = bad.iter().map(|(_, kind)| kind.as_str()).collect();
    let (names, kinds) = (named("container", &names), join_quote(kinds));
    Violation::new("procMount", format!("{names} must not set securityContext.procMount to {kinds}"))
}

pub(super) fn proc_mount_1_35(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { proc_mount(pod) }
}

pub(super) fn selinux_options(pod: Pod<'_>) -> Option<Violation> {
    selinux(pod, |kind| SELINUX_TYPES.contains(&kind))
}

pub(super) fn selinux_options_1_31(pod: Pod<'_>) -> Option<Violation> {
    selinux(pod, |kind| SELINUX_TYPES.contains(&kind) || kind == "container_engine_t")
}

fn selinux(pod: Pod<'_>, allowed: fn(&str) -> bool) -> Option<Violation> {
    fn text<'a>(options: &'a Value, field: &str) -> &'a str {
        options[field].as_str().unwrap_or("")
    }
    let is_bad = |options: &Value| {
        !allowed(text(options, "type")) || !text(options, "user").is_empty() || !text(options, "role").is_empty()
    };
    let of_pod = &pod.security()["seLinuxOptions"];
    let names = pod.containers_with(|container| is_bad(&container["securityContext"]["seLinuxOptions"]));
    let setters = setters(is_bad(of_pod), &names)?;
    let of_containers = pod.containers().map(|(_, container)| &container["securityContext"]["seLinuxOptions"]);
    let all: Vec<&Value> = std::iter::once(of_pod).chain(of_containers).collect();
    let kinds: Sorted<'_> = all.iter().map(|options| text(options, "type")).filter(|kind| !allowed(kind)).collect();
    let mut told = Vec::new();
    if !kinds.is_empty() {
        told.push(named("type", &kinds.into_iter().collect::<Vec<_>>()));
    }
    for field in ["user", "role"] {
        if all.iter().any(|options| !text(options, field).is_empty()) {
            told.push(format!("{field} may not be set"));
        }
    }
    let told = told.join("; ");
    Violation::new("seLinuxOptions", format!("{setters} set forbidden securityContext.seLinuxOptions: {told}"))
}

pub(super) fn seccomp_annotations(pod: Pod<'_>) -> Option<Violation> {
    let annotations = pod.annotations?;
    let is_fine =
        |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let of_containers = pod.containers().map(|(name, _)| format!("{SECCOMP_CONTAINER}{name}"));
    let names = std::iter::once(SECCOMP_POD.to_owned()).chain(of_containers);
    let given = names.filter_map(|name| annotations.get(&name).map(|value| (name, value.as_str().unwrap_or(""))));
    let bad: BTreeSet<String> =
        given.filter(|(_, value)| !is_fine(value)).map(|(name, value)| shown(&name, value)).collect();
    if bad.is_empty() {
        return None;
    }
    let (s, all) = (plural(bad.len()), bad.into_iter().collect::<Vec<_>>().join(", "));
    Violation::new("seccompProfile", format!("forbidden annotation{s} {all}"))
}

/// Whether the profile of a security context is one that confines.
pub(super) fn confines(context: &Value) -> bool {
    matches!(context["seccompProfile"]["type"].as_str(), Some("Localhost" | "RuntimeDefault"))
}

pub(super) fn seccomp_profile(pod: Pod<'_>) -> Option<Violation> {
    let is_bad = |context: &Value| !context["seccompProfile"].is_null() && !confines(context);
    let names = pod.containers_with(|container| is_bad(&container["securityContext"]));
    let setters = setters(is_bad(pod.security()), &names)?;
    let contexts = pod.containers().map(|(_, container)| &container["securityContext"]);
    let contexts = std::iter::once(pod.security()).chain(contexts).filter(|context| is_bad(context));
    let kinds: Sorted<'_> = contexts.map(|context| context["seccompProfile"]["type"].as_str().unwrap_or("")).collect();
    let kinds = join_quote(kinds);
    Violation::new("seccompProfile", format!("{setters} must not set securityContext.seccompProfile.type to {kinds}"))
}

pub(super) fn sysctls(pod: Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 0)
}

pub(super) fn sysctls_1_27(pod: Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 27)
}

pub(super) fn sysctls_1_29(pod: Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 29)
}

pub(super) fn sysctls_1_32(pod: Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 32)
}

fn unsafe_sysctls(pod: Pod<'_>, minor: u64) -> Option<Violation> {
    let is_safe = |name: &str| SYSCTLS.iter().any(|(safe, since)| *safe == name && *since <= minor);
    let names = items(&pod.security()["sysctls"]).map(|sysctl| sysctl["name"].as_str().unwrap_or(""));
    let bad: Vec<&str> = names.filter(|name| !is_safe(name)).collect();
    if bad.is_empty() { None } else { Violation::new("forbidden sysctls", bad.join(", ")) }
}

pub(super) fn windows_host_process(pod: Pod<'_>) -> Option<Violation> {
    let is_bad = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let names = pod.containers_with(|container| is_bad(&container["securityContext"]));
    let setters = setters(is_bad(pod.security()), &names)?;
    Violation::new("hostProcess", format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"))
}
