//! The configuration of a pod's sandbox.

use std::collections::HashMap;

use k8s_cri::v1::{
    self, DnsConfig, Int64Value, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption,
    PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol, SeLinuxOption, SecurityProfile,
    SupplementalGroupsPolicy, security_profile::ProfileType,
};
use k8s_openapi::api::core::v1::{AppArmorProfile, Pod, SELinuxOptions, SeccompProfile};

use crate::{admission::sysctls::dotted, config::Config, labels, pod, resources};

/// Longest host name that the kernel takes.
const HOSTNAME_BYTES_MAX: usize = 64;

/// Labels that every CRI object of the pod carries, so that a restarted agent finds them again.
pub fn pod_labels(pod: &Pod) -> HashMap<String, String> {
    HashMap::from([
        (labels::POD_NAME.to_owned(), pod::name(pod).to_owned()),
        (labels::POD_NAMESPACE.to_owned(), pod::namespace(pod).to_owned()),
        (labels::POD_UID.to_owned(), pod::uid(pod).to_owned()),
    ])
}

/// The sandbox of a pod at its `attempt`-th try.
pub fn config(config: &Config, pod: &Pod, attempt: u32, dns: DnsConfig) -> PodSandboxConfig {
    let metadata = PodSandboxMetadata {
        name: pod::name(pod).to_owned(),
        uid: pod::uid(pod).to_owned(),
        namespace: pod::namespace(pod).to_owned(),
        attempt,
    };
    let log_directory = config.pod_log_dir(pod::namespace(pod), pod::name(pod), pod::uid(pod));
    let mut all_labels = pod_labels(pod);
    for (key, value) in pod.metadata.labels.iter().flatten() {
        all_labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let mut annotations: HashMap<_, _> = pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect();
    annotations.insert(labels::TERMINATION_GRACE_PERIOD.to_owned(), pod::grace_period_seconds(pod).to_string());
    PodSandboxConfig {
        metadata: Some(metadata),
        hostname: if pod::host_network(pod) { String::new() } else { kernel_hostname(config, pod) },
        log_directory: log_directory.to_string_lossy().into_owned(),
        dns_config: Some(dns),
        port_mappings: if pod::host_network(pod) { Vec::new() } else { port_mappings(pod) },
        labels: all_labels,
        annotations,
        linux: Some(linux(config, pod)),
        windows: None,
    }
}

fn kernel_hostname(config: &Config, pod: &Pod) -> String {
    let hostname = pod::hostname(pod);
    let fqdn = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn).unwrap_or(false);
    match pod::domain(pod, &config.cluster_domain) {
        Some(domain) if fqdn && hostname.len() + 1 + domain.len() <= HOSTNAME_BYTES_MAX => {
            format!("{hostname}.{domain}")
        }
        _ => hostname,
    }
}

fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    let containers = pod::containers(pod);
    let ports = containers.iter().flat_map(|(_, container)| container.ports.iter().flatten());
    ports
        .map(|port| PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            } as i32,
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

fn linux(config: &Config, pod: &Pod) -> LinuxPodSandboxConfig {
    let own = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let sysctls = own.and_then(|context| context.sysctls.as_ref()).into_iter().flatten();
    let context = LinuxSandboxSecurityContext {
        namespace_options: Some(namespace_options(pod)),
        run_as_user: own.and_then(|context| context.run_as_user).map(|value| Int64Value { value }),
        run_as_group: own
            .filter(|context| context.run_as_user.is_some())
            .and_then(|context| context.run_as_group)
            .map(|value| Int64Value { value }),
        supplemental_groups: supplemental_groups(pod),
        supplemental_groups_policy: groups_policy(pod) as i32,
        selinux_options: own.and_then(|context| context.se_linux_options.as_ref()).map(selinux),
        privileged: any_privileged(pod),
        seccomp: Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault as i32,
            localhost_ref: String::new(),
        }),
        ..Default::default()
    };
    LinuxPodSandboxConfig {
        cgroup_parent: resources::cgroup_parent(&config.cgroup_root, pod),
        security_context: Some(context),
        sysctls: sysctls.map(|sysctl| (dotted(&sysctl.name), sysctl.value.clone())).collect(),
        ..Default::default()
    }
}

/// Groups that every process of the pod is in: the supplemental ones and the one that owns its volumes.
pub fn supplemental_groups(pod: &Pod) -> Vec<i64> {
    let own = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let mut groups: Vec<i64> = own.and_then(|context| context.supplemental_groups.clone()).unwrap_or_default();
    groups.extend(own.and_then(|context| context.fs_group));
    groups
}

/// Whether the groups that the image puts its user in count as well.
pub fn groups_policy(pod: &Pod) -> SupplementalGroupsPolicy {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    match context.and_then(|context| context.supplemental_groups_policy.as_deref()) {
        Some("Strict") => SupplementalGroupsPolicy::Strict,
        _ => SupplementalGroupsPolicy::Merge,
    }
}

/// A SELinux label for CRI.
pub fn selinux(options: &SELinuxOptions) -> SeLinuxOption {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    SeLinuxOption {
        user: text(&options.user),
        role: text(&options.role),
        r#type: text(&options.type_),
        level: text(&options.level),
    }
}

/// An AppArmor profile for CRI, in its own field and in the one that older runtimes read; none is the runtime's default.
pub fn apparmor(profile: Option<&AppArmorProfile>) -> (Option<SecurityProfile>, String) {
    let Some(profile) = profile else { return (None, String::new()) };
    let name = profile.localhost_profile.clone().unwrap_or_default();
    let (profile_type, localhost_ref, old) = match profile.type_.as_str() {
        "Unconfined" => (ProfileType::Unconfined, String::new(), "unconfined".to_owned()),
        "Localhost" => (ProfileType::Localhost, name.clone(), format!("localhost/{name}")),
        _ => (ProfileType::RuntimeDefault, String::new(), "runtime/default".to_owned()),
    };
    (Some(SecurityProfile { profile_type: profile_type as i32, localhost_ref }), old)
}

fn any_privileged(pod: &Pod) -> bool {
    let privileged = |context: &k8s_openapi::api::core::v1::SecurityContext| context.privileged == Some(true);
    pod::containers(pod).iter().any(|(_, container)| container.security_context.as_ref().is_some_and(privileged))
}

/// Which namespaces the pod shares with the host or among its containers.
pub fn namespace_options(pod: &Pod) -> NamespaceOption {
    let spec = pod.spec.as_ref();
    let mode = |host: Option<bool>, otherwise| if host == Some(true) { NamespaceMode::Node } else { otherwise } as i32;
    let shared = spec.and_then(|spec| spec.share_process_namespace) == Some(true);
    let own_pid = if shared { NamespaceMode::Pod } else { NamespaceMode::Container };
    NamespaceOption {
        network: mode(spec.and_then(|spec| spec.host_network), NamespaceMode::Pod),
        pid: mode(spec.and_then(|spec| spec.host_pid), own_pid),
        ipc: mode(spec.and_then(|spec| spec.host_ipc), NamespaceMode::Pod),
        ..Default::default()
    }
}

/// A seccomp profile for CRI; without one the container runs unconfined, as on a stock node.
pub fn seccomp(profile: Option<&SeccompProfile>, seccomp_root: &std::path::Path) -> v1::SecurityProfile {
    let (profile_type, localhost_ref) = match profile.map(|profile| profile.type_.as_str()) {
        Some("RuntimeDefault") => (ProfileType::RuntimeDefault, String::new()),
        Some("Localhost") => {
            let file = profile.and_then(|profile| profile.localhost_profile.as_deref()).unwrap_or_default();
            (ProfileType::Localhost, seccomp_root.join(file).to_string_lossy().into_owned())
        }
        _ => (ProfileType::Unconfined, String::new()),
    };
    v1::SecurityProfile { profile_type: profile_type as i32, localhost_ref }
}
