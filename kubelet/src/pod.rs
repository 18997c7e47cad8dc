//! Reading a pod: identity, containers in their roles, grace periods.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

pub use api::pods::{is_terminal, is_terminal_phase, phase};

/// Grace period of a pod that names none.
pub const GRACE_PERIOD_SECONDS_DEFAULT: i64 = 30;
/// Longest host name: 64 bytes hold it and its end.
const HOSTNAME_CHARACTERS_MAX: usize = 63;

/// The part a container plays in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: started in order, then kept running beside the others.
    Sidecar,
    /// An ordinary container.
    Main,
    /// Added to a running pod for debugging.
    Ephemeral,
}

/// The UID, or an empty string on an object that never met an API server.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// The specification; `None` only on malformed objects.
pub fn spec(pod: &Pod) -> Option<&PodSpec> {
    pod.spec.as_ref()
}

/// Whether an init container is a sidecar.
pub fn is_sidecar(container: &Container) -> bool {
    api::pods::is_sidecar(container.restart_policy.as_deref())
}

/// An ephemeral container seen as an ordinary one.
pub fn from_ephemeral(container: &EphemeralContainer) -> Container {
    let c = container.clone();
    Container {
        args: c.args,
        command: c.command,
        env: c.env,
        env_from: c.env_from,
        image: c.image,
        image_pull_policy: c.image_pull_policy,
        lifecycle: None,
        liveness_probe: None,
        name: c.name,
        ports: c.ports,
        readiness_probe: None,
        resize_policy: c.resize_policy,
        resources: c.resources,
        restart_policy: None,
        restart_policy_rules: None,
        security_context: c.security_context,
        startup_probe: None,
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        termination_message_path: c.termination_message_path,
        termination_message_policy: c.termination_message_policy,
        tty: c.tty,
        volume_devices: c.volume_devices,
        volume_mounts: c.volume_mounts,
        working_dir: c.working_dir,
    }
}

/// All containers with their roles: init and sidecar ones in order, then ordinary, then ephemeral ones.
pub fn containers(pod: &Pod) -> Vec<(Role, Container)> {
    let Some(spec) = spec(pod) else { return Vec::new() };
    let init = spec.init_containers.iter().flatten().map(|container| {
        let role = if is_sidecar(container) { Role::Sidecar } else { Role::Init };
        (role, container.clone())
    });
    let main = spec.containers.iter().map(|container| (Role::Main, container.clone()));
    let ephemeral =
        spec.ephemeral_containers.iter().flatten().map(|container| (Role::Ephemeral, from_ephemeral(container)));
    init.chain(main).chain(ephemeral).collect()
}

/// The grace period that a pod's end gets: that of the deletion if it is being deleted, else its own.
pub fn grace_period_seconds(pod: &Pod) -> i64 {
    let own = spec(pod).and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(GRACE_PERIOD_SECONDS_DEFAULT);
    match (&pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds) {
        (Some(_), Some(seconds)) => seconds.max(1),
        _ => own.max(1),
    }
}

/// The host name inside the pod: the one that overrides all others, the one of its specification, or its name
/// (`Kubelet.GeneratePodHostNameAndDomain`, which cuts all three the same way).
pub fn hostname(pod: &Pod) -> String {
    let own = spec(pod).and_then(|spec| spec.hostname.as_deref()).filter(|name| !name.is_empty());
    let wanted = hostname_override(pod).or(own).unwrap_or_else(|| name(pod));
    // It must not end in a separator where it is cut.
    match wanted.char_indices().nth(HOSTNAME_CHARACTERS_MAX) {
        Some((end, _)) => wanted[..end].trim_end_matches(['-', '.']).to_owned(),
        None => wanted.to_owned(),
    }
}

fn hostname_override(pod: &Pod) -> Option<&str> {
    spec(pod)?.hostname_override.as_deref()
}

/// The pod's domain (`SUBDOMAIN.NAMESPACE.svc.DOMAIN`), if it names a subdomain and nothing overrides its host name.
pub fn domain(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = spec(pod)?.subdomain.as_deref().filter(|name| !name.is_empty())?;
    hostname_override(pod).is_none().then(|| format!("{subdomain}.{}.svc.{cluster_domain}", namespace(pod)))
}

/// Whether the pod lives in the host's network namespace.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).and_then(|spec| spec.host_network).unwrap_or(false)
}

/// The numeric port that a probe or hook names.
pub fn port(
    container: &Container,
    port: &k8s_openapi::apimachinery::pkg::util::intstr::IntOrString,
) -> Result<u16, String> {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok())
            .ok_or_else(|| format!("couldn't find port named {name:?}"))?,
    };
    u16::try_from(number).ok().filter(|port| *port != 0).ok_or_else(|| format!("invalid port number: {number}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn host_names() {
        let check = |name: &str, spec: Value, expected: (&str, Option<&str>)| {
            let mut spec = spec;
            spec["containers"] = json!([]);
            let pod = json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec});
            let pod: Pod = serde_json::from_value(pod).expect("a pod");
            assert_eq!((hostname(&pod).as_str(), domain(&pod, "local").as_deref()), expected);
        };
        let (long, cut) = (format!("{}-.x", "a".repeat(61)), "a".repeat(61));
        check("p", json!({}), ("p", None));
        check(&long, json!({"hostname": ""}), (&cut, None));
        check("p", json!({"hostname": "h", "subdomain": "s"}), ("h", Some("s.n.svc.local")));
        check("p", json!({"hostname": "h", "subdomain": "s", "hostnameOverride": "a.b"}), ("a.b", None));
        check("p", json!({"hostnameOverride": long}), (&cut, None));
    }
}
