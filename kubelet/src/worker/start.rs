//! Making sandboxes and starting containers.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use client::EventType;
use k8s_cri::v1::{ContainerConfig, Mount, MountPropagation, PodSandboxConfig};
use k8s_openapi::api::{
    core::v1::{Container, Pod, Secret},
    node::v1::RuntimeClass,
};
use kube::Api;
use tokio_util::task::TaskTracker;

use super::{hooks, plan::Start};
use crate::{
    agent::Agent,
    cgroup,
    config::Config,
    container_config::{self, Ingredients},
    devices::cdi,
    env, events, hosts,
    images::{Absent, Present, Wanted},
    observe::Observed,
    pod::{self, Role},
    resolv, resources, sandbox,
    status::Waiting,
    volumes::{Mounted, image, mounts},
};

/// Pause before a start that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// A container that was not started.
#[derive(Debug)]
pub(super) struct Failed {
    /// The reason that its status shows.
    pub waiting: Waiting,
    /// When to try again.
    pub retry: Duration,
}

impl From<Absent> for Failed {
    fn from(absent: Absent) -> Self {
        Failed { waiting: absent.waiting, retry: absent.retry }
    }
}

fn failed(reason: &str, message: impl Into<String>) -> Failed {
    Failed { waiting: Waiting { reason: reason.to_owned(), message: message.into() }, retry: RETRY }
}

/// The surroundings in which all containers of one pod are started.
pub(super) struct Context {
    /// Shared parts.
    pub agent: Arc<Agent>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The sandbox.
    pub sandbox_id: String,
    /// The sandbox's attempt number.
    pub attempt: u32,
    /// Addresses of the pod.
    pub pod_ips: Vec<String>,
    /// Volumes that are set up.
    pub mounted: Arc<HashMap<String, Mounted>>,
    /// The pod as the runtime showed it.
    pub observed: Observed,
    /// Where containers are launched.
    pub launches: TaskTracker,
}

/// Making and starting a container. It runs to its end even if the pod is deleted meanwhile: a start that is broken off
/// leaves a container that looks as if it had failed.
struct Launch {
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    container: Container,
    sandbox_id: String,
}

impl Launch {
    async fn run(self, config: ContainerConfig, sandbox: PodSandboxConfig) -> Result<String, Failed> {
        let created = self.agent.cri.create_container(&self.sandbox_id, config, sandbox).await;
        let id = created.map_err(|error| self.complain("CreateContainerError", error.message()))?;
        self.event(EventType::Normal, "Created", "Container created".to_owned());
        let started = self.agent.cri.start_container(&id).await;
        started.map_err(|error| self.complain("RunContainerError", error.message()))?;
        self.event(EventType::Normal, "Started", "Container started".to_owned());
        Ok(id)
    }

    fn complain(&self, reason: &str, message: String) -> Failed {
        self.event(EventType::Warning, "Failed", format!("Error: {message}"));
        failed(reason, message)
    }

    fn event(&self, type_: EventType, reason: &str, message: String) {
        self.agent.container_event(&self.pod, &self.container, type_, reason, message);
    }
}

impl Context {
    /// Starts one container and runs its post-start hook.
    ///
    /// # Errors
    /// With the reason for the container's status.
    pub(super) async fn start(&self, start: Start) -> Result<(), Failed> {
        let (agent, pod, container) = (&self.agent, &self.pod, &start.container);
        let sandbox = sandbox_config(agent, pod, self.attempt).await;
        let secrets = pull_secrets(agent, pod).await;
        let wanted = |image, policy| Wanted {
            pod,
            reference: events::container(pod, container),
            image,
            policy,
            secrets: &secrets,
            sandbox: &sandbox,
        };
        self.image_volumes(container, wanted).await?;
        let wanted = wanted(container.image.as_deref().unwrap_or_default(), container.image_pull_policy.as_deref());
        let image = agent.images.ensure(&wanted).await?;
        let config = match self.config(&start, image).await {
            Ok(config) => config,
            Err(message) => {
                agent.container_event(pod, container, EventType::Warning, "Failed", format!("Error: {message}"));
                return Err(failed("CreateContainerConfigError", message));
            }
        };
        let launch = Launch {
            agent: agent.clone(),
            pod: pod.clone(),
            container: container.clone(),
            sandbox_id: self.sandbox_id.clone(),
        };
        let launched = self.launches.spawn(launch.run(config, sandbox)).await;
        let id = launched.map_err(|error| failed("RunContainerError", error.to_string()))??;
        self.post_start(container, &id).await
    }

    /// Sets up the volumes of this container that are images.
    async fn image_volumes<'a>(
        &'a self,
        container: &Container,
        wanted: impl Fn(&'a str, Option<&'a str>) -> Wanted<'a>,
    ) -> Result<(), Failed> {
        let (agent, pod) = (&self.agent, &self.pod);
        let mounted = |name: &str| container.volume_mounts.iter().flatten().any(|mount| mount.name == name);
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).filter(|v| mounted(&v.name)) {
            let Some(source) = &volume.image else { continue };
            let reference = source.reference.as_deref().unwrap_or_default();
            let wanted = Wanted { reference: events::pod(pod), ..wanted(reference, source.pull_policy.as_deref()) };
            let present = agent.images.ensure(&wanted).await?;
            let set_up = image::set_up(agent, pod::uid(pod), &volume.name, &present.reference).await;
            agent.figures.image_volume(set_up.is_ok());
            if let Err(error) = set_up {
                let message = format!("failed to mount the image volume {:?}: {error}", volume.name);
                agent.container_event(pod, container, EventType::Warning, "Failed", format!("Error: {message}"));
                return Err(failed("CreateContainerError", message));
            }
        }
        Ok(())
    }

    async fn post_start(&self, container: &Container, id: &str) -> Result<(), Failed> {
        let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
            return Ok(());
        };
        let (agent, pod) = (&self.agent, &self.pod);
        let ip = self.pod_ips.first().map(String::as_str).unwrap_or_default();
        let Err(error) = hooks::run(agent, container, hook, id, ip).await else { return Ok(()) };
        agent.container_event(pod, container, EventType::Warning, "FailedPostStartHook", "PostStartHook failed");
        tracing::info!(pod = pod::name(pod), container = container.name, %error, "post-start hook failed");
        let kill = super::plan::Kill {
            id: id.to_owned(),
            container: container.clone(),
            message: "FailedPostStartHook".to_owned(),
            grace_seconds: None,
        };
        super::end::kill(agent, pod, &kill, pod::grace_period_seconds(pod), false).await;
        Err(Failed { retry: Duration::from_millis(1), ..failed("PostStartHookError", error) })
    }

    async fn config(&self, start: &Start, image: Present) -> Result<ContainerConfig, String> {
        let (agent, pod, container) = (&self.agent, &self.pod, &start.container);
        let references = references(agent, pod, container).await?;
        let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
        let services = agent.services.list();
        let services = env::service_variables(services.iter().map(Arc::as_ref), pod::namespace(pod), links);
        let around = agent.surroundings(self.addresses());
        let env = env::make(pod, container, &references, services, &around)?;
        let recursive = self.recursive_read_only(container).await?;
        let pod_dir = agent.config.pod_dir(pod::uid(pod));
        let mut all_mounts = mounts::of(container, &self.mounted, &env, &pod_dir, recursive)?;
        all_mounts.extend(self.hosts_mount(container));
        all_mounts.push(self.termination_mount(container, start.restart_count).await?);
        tokio::fs::create_dir_all(log_dir(&agent.config, pod).join(&container.name))
            .await
            .map_err(|error| format!("cannot make the log directory: {error}"))?;
        let devices = agent.devices.cdi_ids(pod, container)?;
        let mut config = container_config::config(&Ingredients {
            config: &agent.config,
            pod,
            container,
            image: image.reference,
            image_user: image.user,
            image_username: image.username,
            env,
            mounts: all_mounts,
            restart_count: start.restart_count,
            restarted_by: self.observed.restarted_by.as_ref(),
            memory_capacity: agent.machine.memory_bytes,
            target_id: self.target(start),
        })?;
        if !devices.is_empty() {
            let version = agent.cri.version().await.map_err(|error| error.message())?.runtime_version;
            cdi::add(&mut config, &devices, &version, &cdi::DIRECTORIES.map(Path::new))?;
        }
        Ok(config)
    }

    /// Whether the runtime can make mounts read-only with all below; it is asked if a mount wants that.
    async fn recursive_read_only(&self, container: &Container) -> Result<bool, String> {
        let mut mounts = container.volume_mounts.iter().flatten();
        if !mounts.any(|mount| mount.recursive_read_only.as_deref().is_some_and(|mode| mode != "Disabled")) {
            return Ok(false);
        }
        let handler = runtime_handler(&self.agent, &self.pod).await?;
        let features = self.agent.cri.features().await.map_err(|error| error.message())?;
        Ok(features.recursive_read_only(&handler))
    }

    fn addresses(&self) -> Vec<String> {
        if pod::host_network(&self.pod) { self.agent.host_ips() } else { self.pod_ips.clone() }
    }

    /// The container whose processes an ephemeral container shares.
    fn target(&self, start: &Start) -> Option<String> {
        if start.role != Role::Ephemeral {
            return None;
        }
        let list = self.pod.spec.as_ref()?.ephemeral_containers.as_ref()?;
        let own = list.iter().find(|container| container.name == start.container.name)?;
        let target = own.target_container_name.as_deref().filter(|name| !name.is_empty())?;
        Some(self.observed.newest_here(target)?.id.clone())
    }

    fn hosts_mount(&self, container: &Container) -> Option<Mount> {
        let taken = container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == "/etc/hosts");
        if taken {
            return None;
        }
        let path = hosts::write(&self.agent.config, &self.pod, &self.pod_ips)
            .inspect_err(|error| tracing::warn!(%error, "cannot write the hosts file"))
            .ok()?;
        Some(bind("/etc/hosts", path.to_string_lossy().into_owned()))
    }

    async fn termination_mount(&self, container: &Container, restart_count: u32) -> Result<Mount, String> {
        let path = container.termination_message_path.clone().unwrap_or_else(|| "/dev/termination-log".to_owned());
        let suffix = self.agent.config.clock.random_bits() as u32;
        let directory = self.agent.config.pod_dir(pod::uid(&self.pod)).join("containers").join(&container.name);
        let file = directory.join(format!("{restart_count}-{suffix:08x}"));
        let made = async {
            tokio::fs::create_dir_all(&directory).await?;
            tokio::fs::write(&file, b"").await?;
            // Containers under any user may write their last words.
            use std::os::unix::fs::PermissionsExt;
            tokio::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).await
        };
        made.await.map_err(|error| format!("cannot make the termination log: {error}"))?;
        Ok(bind(&path, file.to_string_lossy().into_owned()))
    }
}

fn bind(container_path: &str, host_path: String) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path,
        propagation: MountPropagation::PropagationPrivate as i32,
        ..Default::default()
    }
}

pub(super) fn log_dir(config: &Config, pod: &Pod) -> std::path::PathBuf {
    config.pod_log_dir(pod::namespace(pod), pod::name(pod), pod::uid(pod))
}

/// The sandbox configuration of an attempt.
pub(super) async fn sandbox_config(agent: &Agent, pod: &Pod, attempt: u32) -> PodSandboxConfig {
    let host = resolv::host(&agent.config.resolv_conf).await;
    sandbox::config(&agent.config, pod, attempt, resolv::for_pod(&agent.config, pod, host))
}

/// The runtime handler that the pod's RuntimeClass names.
pub(super) async fn runtime_handler(agent: &Agent, pod: &Pod) -> Result<String, String> {
    let Some(name) = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()) else {
        return Ok(String::new());
    };
    let api: Api<RuntimeClass> = Api::all(agent.client.clone());
    match api.get(name).await {
        Ok(class) => Ok(class.handler),
        Err(error) => Err(format!("failed to get RuntimeClass {name:?}: {error}")),
    }
}

/// Makes the pod's directories and its cgroup.
pub(super) async fn make_directories(config: &Config, pod: &Pod) -> Result<(), String> {
    let (volumes, logs) = (config.pod_dir(pod::uid(pod)).join("volumes"), log_dir(config, pod));
    let made = async {
        tokio::fs::create_dir_all(volumes).await?;
        tokio::fs::create_dir_all(logs).await
    };
    made.await.map_err(|error| format!("error making pod data directories: {error}"))?;
    let parent = resources::cgroup_parent(&config.cgroup_root, pod);
    if let Err(error) = cgroup::set_up(&parent, &resources::pod_cgroup(pod)) {
        tracing::warn!(parent, %error, "cannot set the pod's cgroup");
    }
    Ok(())
}

/// The highest restart count that a log file tells of, by container.
pub(super) async fn logged_counts(config: &Config, pod: &Pod) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for (_, container) in pod::containers(pod) {
        let Ok(mut entries) = tokio::fs::read_dir(log_dir(config, pod).join(&container.name)).await else { continue };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let name = entry.file_name();
            let count = name.to_str().and_then(|name| name.split('.').next()?.parse::<u32>().ok());
            if let Some(count) = count {
                let highest = counts.entry(container.name.clone()).or_insert(count);
                *highest = count.max(*highest);
            }
        }
    }
    counts
}

async fn references(agent: &Agent, pod: &Pod, container: &Container) -> Result<env::References, String> {
    let (uid, namespace) = (pod::uid(pod), pod::namespace(pod));
    let (config_maps, secrets) = env::referenced(container);
    let mut references = env::References::default();
    for name in config_maps {
        if let Some(object) = agent.references.config_map(uid, namespace, &name).await? {
            references.config_maps.insert(name, object);
        }
    }
    for name in secrets {
        if let Some(object) = agent.references.secret(uid, namespace, &name).await? {
            references.secrets.insert(name, object);
        }
    }
    Ok(references)
}

async fn pull_secrets(agent: &Agent, pod: &Pod) -> Vec<Arc<Secret>> {
    let mut secrets = Vec::new();
    for reference in pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
        if let Ok(Some(secret)) = agent.references.secret(pod::uid(pod), pod::namespace(pod), &reference.name).await {
            secrets.push(secret);
        }
    }
    secrets
}
