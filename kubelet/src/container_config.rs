//! The configuration of one container.

use std::collections::HashMap;

use k8s_cri::v1::{
    self, Capability, ContainerConfig, ContainerMetadata, ImageSpec, Int64Value, KeyValue, LinuxContainerConfig,
    LinuxContainerSecurityContext, Mount, NamespaceMode,
};
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SecurityContext};
use sha2::{Digest, Sha256};

use crate::{config::Config, expansion::expand, labels, pod, resources, sandbox};

/// Paths under `/proc` and `/sys` that a container does not see, unless it asks for an unmasked `/proc`.
const MASKED_PATHS: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
/// Paths that a container may only read.
const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A container is made from this.
pub struct Ingredients<'a> {
    /// The agent's configuration.
    pub config: &'a Config,
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// The image to run, as the runtime names it.
    pub image: String,
    /// The image's own user, if it is numeric.
    pub image_user: Option<i64>,
    /// The image's own user, if it is a name.
    pub image_username: String,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// How often the container was started before.
    pub restart_count: u32,
    /// CRI id of the container whose end restarted all containers of the pod last.
    pub restarted_by: Option<&'a String>,
    /// Memory of the node in bytes.
    pub memory_capacity: i64,
    /// The container whose process namespace an ephemeral container joins.
    pub target_id: Option<String>,
}

/// A hash that changes when a running container must be replaced: of its name and image.
pub fn hash(container: &Container) -> String {
    let mut hasher = Sha256::new();
    hasher.update(container.name.as_bytes());
    hasher.update([0]);
    hasher.update(container.image.as_deref().unwrap_or_default().as_bytes());
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The container's configuration.
///
/// # Errors
/// When the container must not run as root and would; the text is the message of `CreateContainerConfigError`.
pub fn config(from: &Ingredients<'_>) -> Result<ContainerConfig, String> {
    let Ingredients { pod, container, .. } = *from;
    verify_non_root(from)?;
    let lookup = |name: &str| from.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let expanded = |list: &Option<Vec<String>>| list.iter().flatten().map(|word| expand(word, lookup)).collect();
    let mut all_labels = sandbox::pod_labels(pod);
    all_labels.insert(labels::CONTAINER_NAME.to_owned(), container.name.clone());
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt: from.restart_count }),
        image: Some(ImageSpec {
            image: from.image.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: from.env.iter().map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() }).collect(),
        mounts: from.mounts.clone(),
        labels: all_labels,
        annotations: annotations(from),
        log_path: log_path(&container.name, from.restart_count),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::linux_resources(pod, container, from.memory_capacity)),
            security_context: Some(security_context(from)),
        }),
        ..Default::default()
    })
}

/// The log file of one instance, relative to the pod's log directory.
pub fn log_path(container: &str, restart_count: u32) -> String {
    format!("{container}/{restart_count}.log")
}

fn annotations(from: &Ingredients<'_>) -> HashMap<String, String> {
    let container = from.container;
    let path = container.termination_message_path.clone().unwrap_or_else(|| "/dev/termination-log".to_owned());
    let policy = container.termination_message_policy.clone().unwrap_or_else(|| "File".to_owned());
    let mut annotations = HashMap::from([
        (labels::CONTAINER_HASH.to_owned(), hash(container)),
        (labels::RESTART_COUNT.to_owned(), from.restart_count.to_string()),
        (labels::TERMINATION_MESSAGE_PATH.to_owned(), path),
        (labels::TERMINATION_MESSAGE_POLICY.to_owned(), policy),
        (labels::TERMINATION_GRACE_PERIOD.to_owned(), pod::grace_period_seconds(from.pod).to_string()),
    ]);
    for (key, resources) in
        [(labels::RESOURCES, container.resources.as_ref()), (labels::POD_RESOURCES, resources::of_whole(from.pod))]
    {
        if let Some(json) = resources.and_then(|resources| serde_json::to_string(resources).ok()) {
            annotations.insert(key.to_owned(), json);
        }
    }
    if let Some(id) = from.restarted_by {
        annotations.insert(labels::RESTARTED_BY.to_owned(), id.clone());
    }
    let pre_stop = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let Some(json) = pre_stop.and_then(|hook| serde_json::to_string(hook).ok()) {
        annotations.insert(labels::PRE_STOP_HANDLER.to_owned(), json);
    }
    annotations
}

fn contexts<'a>(from: &Ingredients<'a>) -> (Option<&'a SecurityContext>, Option<&'a PodSecurityContext>) {
    let of_pod = from.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    (from.container.security_context.as_ref(), of_pod)
}

fn verify_non_root(from: &Ingredients<'_>) -> Result<(), String> {
    let (own, of_pod) = contexts(from);
    let non_root = own.and_then(|c| c.run_as_non_root).or(of_pod.and_then(|c| c.run_as_non_root));
    if non_root != Some(true) {
        return Ok(());
    }
    let wanted = own.and_then(|c| c.run_as_user).or(of_pod.and_then(|c| c.run_as_user));
    match (wanted, from.image_user) {
        (Some(0), _) => Err("container's runAsUser breaks non-root policy".to_owned()),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err("container has runAsNonRoot and image will run as root".to_owned()),
        (None, None) if !from.image_username.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root",
            from.image_username
        )),
        _ => Ok(()),
    }
}

#[expect(deprecated, reason = "older runtimes read only the old field of the AppArmor profile")]
fn security_context(from: &Ingredients<'_>) -> LinuxContainerSecurityContext {
    let (own, of_pod) = contexts(from);
    let user = own.and_then(|c| c.run_as_user).or(of_pod.and_then(|c| c.run_as_user)).or(from.image_user);
    let group = own.and_then(|c| c.run_as_group).or(of_pod.and_then(|c| c.run_as_group));
    let privileged = own.and_then(|c| c.privileged).unwrap_or(false);
    let profile = own.and_then(|c| c.seccomp_profile.as_ref()).or(of_pod.and_then(|c| c.seccomp_profile.as_ref()));
    let unmasked = privileged || own.and_then(|c| c.proc_mount.as_deref()) == Some("Unmasked");
    let paths = |list: &[&str]| {
        if unmasked { Vec::new() } else { list.iter().map(|path| (*path).to_owned()).collect() }
    };
    let mut namespaces = sandbox::namespace_options(from.pod);
    if let Some(target) = &from.target_id {
        namespaces.pid = NamespaceMode::Target as i32;
        namespaces.target_id = target.clone();
    }
    let capabilities = own.and_then(|c| c.capabilities.as_ref());
    let selinux = own.and_then(|c| c.se_linux_options.as_ref()).or(of_pod.and_then(|c| c.se_linux_options.as_ref()));
    let apparmor = own.and_then(|c| c.app_armor_profile.as_ref());
    let (apparmor, old_apparmor) = sandbox::apparmor(apparmor.or(of_pod.and_then(|c| c.app_armor_profile.as_ref())));
    LinuxContainerSecurityContext {
        capabilities: Some(Capability {
            add_capabilities: capabilities.and_then(|c| c.add.clone()).unwrap_or_default(),
            drop_capabilities: capabilities.and_then(|c| c.drop.clone()).unwrap_or_default(),
            ..Default::default()
        }),
        privileged,
        namespace_options: Some(namespaces),
        run_as_user: user.map(|value| Int64Value { value }),
        run_as_group: group
            .filter(|_| user.is_some() || !from.image_username.is_empty())
            .map(|value| Int64Value { value }),
        run_as_username: if user.is_none() { from.image_username.clone() } else { String::new() },
        readonly_rootfs: own.and_then(|c| c.read_only_root_filesystem).unwrap_or(false),
        supplemental_groups: sandbox::supplemental_groups(from.pod),
        supplemental_groups_policy: sandbox::groups_policy(from.pod) as i32,
        selinux_options: selinux.map(sandbox::selinux),
        apparmor,
        apparmor_profile: old_apparmor,
        no_new_privs: own.and_then(|c| c.allow_privilege_escalation) == Some(false),
        masked_paths: paths(&MASKED_PATHS),
        readonly_paths: paths(&READ_ONLY_PATHS),
        seccomp: Some(if privileged {
            v1::SecurityProfile {
                profile_type: v1::security_profile::ProfileType::Unconfined as i32,
                localhost_ref: String::new(),
            }
        } else {
            sandbox::seccomp(profile, &from.config.root_dir.join("seccomp"))
        }),
        ..Default::default()
    }
}
