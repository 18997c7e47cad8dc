//! One pod as the runtime shows it: the only source of its status.

use std::collections::HashMap;

use futures::future::try_join_all;
use k8s_cri::v1::{self, ContainerState, PodSandboxState};

use crate::{
    cri::{Cri, Error},
    labels,
};

/// How far the life of a container instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Made, not started.
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited,
    /// The runtime has lost it.
    Unknown,
}

/// One instance of a container.
#[derive(Debug, Clone)]
pub struct Instance {
    /// CRI id.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// State.
    pub life: Life,
    /// All that the runtime tells.
    pub status: v1::ContainerStatus,
    /// How often the container had been started before.
    pub restart_count: u32,
}

impl Instance {
    fn new(status: v1::ContainerStatus) -> Self {
        let life = match status.state() {
            ContainerState::ContainerCreated => Life::Created,
            ContainerState::ContainerRunning => Life::Running,
            ContainerState::ContainerExited => Life::Exited,
            ContainerState::ContainerUnknown => Life::Unknown,
        };
        Self {
            id: status.id.clone(),
            name: status.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default(),
            life,
            restart_count: status.annotations.get(labels::RESTART_COUNT).and_then(|n| n.parse().ok()).unwrap_or(0),
            status,
        }
    }

    /// An instance for tests of other modules.
    #[cfg(test)]
    pub(crate) fn for_test(status: v1::ContainerStatus) -> Self {
        Self::new(status)
    }

    /// The container whose end restarted all others last before this instance was made.
    fn restarted_by(&self) -> Option<&String> {
        self.status.annotations.get(labels::RESTARTED_BY)
    }

    /// The hash of the specification that this instance was made from.
    pub fn hash(&self) -> Option<&str> {
        self.status.annotations.get(labels::CONTAINER_HASH).map(String::as_str)
    }

    /// Whether it ended well.
    pub fn succeeded(&self) -> bool {
        self.life == Life::Exited && self.status.exit_code == 0
    }
}

/// All of one pod in the runtime.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Sandboxes, newest first.
    pub sandboxes: Vec<v1::PodSandbox>,
    /// Status of the newest sandbox.
    pub sandbox: Option<v1::PodSandboxStatus>,
    /// Container instances, newest first.
    pub instances: Vec<Instance>,
    /// Ids of the containers that live in the newest sandbox.
    pub current: Vec<String>,
    /// CRI id of the container whose end restarts all containers of the pod.
    pub restarted_by: Option<String>,
}

/// Statuses of ended containers, which never change again; saves asking for them at every step.
pub type Ended = HashMap<String, v1::ContainerStatus>;

impl Observed {
    /// Asks the runtime about the pod with this UID.
    ///
    /// # Errors
    /// When the runtime does not answer.
    pub async fn of(cri: &Cri, uid: &str, ended: &mut Ended) -> Result<Self, Error> {
        let (sandboxes, containers) = futures::try_join!(cri.sandboxes(Some(uid)), cri.containers(Some(uid)))?;
        let mut sandboxes = sandboxes;
        sandboxes.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.created_at));
        ended.retain(|id, _| containers.iter().any(|container| container.id == *id));
        let known: &Ended = ended;
        let statuses = containers.iter().map(|container| async move {
            match known.get(&container.id) {
                Some(status) => Ok(Some(status.clone())),
                None => gone_is_none(cri.container_status(&container.id).await),
            }
        });
        let newest = sandboxes.first().map(|sandbox| sandbox.id.clone());
        let sandbox = async {
            match &newest {
                Some(id) => gone_is_none(cri.sandbox_status(id).await),
                None => Ok(None),
            }
        };
        let (statuses, sandbox) = futures::try_join!(try_join_all(statuses), sandbox)?;
        let mut instances: Vec<_> = statuses.into_iter().flatten().map(Instance::new).collect();
        instances.sort_by_key(|instance| std::cmp::Reverse(instance.status.created_at));
        for instance in instances.iter().filter(|instance| instance.life == Life::Exited) {
            ended.insert(instance.id.clone(), instance.status.clone());
        }
        let in_newest = containers.iter().filter(|container| Some(&container.pod_sandbox_id) == newest.as_ref());
        let current = in_newest.map(|container| container.id.clone()).collect();
        Ok(Self { sandboxes, sandbox, instances, current, restarted_by: None })
    }

    /// The newest sandbox, if it is ready.
    pub fn ready_sandbox(&self) -> Option<&v1::PodSandboxStatus> {
        self.sandbox.as_ref().filter(|sandbox| sandbox.state() == PodSandboxState::SandboxReady)
    }

    /// Whether a new sandbox must be made.
    pub fn needs_sandbox(&self, host_network: bool) -> bool {
        match self.ready_sandbox() {
            None => true,
            Some(sandbox) => !host_network && sandbox.network.as_ref().is_none_or(|network| network.ip.is_empty()),
        }
    }

    /// The attempt number of the next sandbox.
    pub fn next_attempt(&self) -> u32 {
        let newest = self.sandboxes.first().and_then(|sandbox| sandbox.metadata.as_ref());
        newest.map_or(0, |metadata| metadata.attempt + 1)
    }

    /// Addresses of the ready sandbox, primary first.
    pub fn ips(&self) -> Vec<String> {
        let Some(network) = self.ready_sandbox().and_then(|sandbox| sandbox.network.as_ref()) else {
            return Vec::new();
        };
        let more = network.additional_ips.iter().map(|ip| ip.ip.clone());
        std::iter::once(network.ip.clone()).chain(more).filter(|ip| !ip.is_empty()).collect()
    }

    /// The newest instance of a container.
    pub fn newest(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.name == name)
    }

    /// The newest instance of a container, if it belongs to the newest sandbox and is not over.
    pub fn newest_here(&self, name: &str) -> Option<&Instance> {
        self.newest(name).filter(|instance| self.current.contains(&instance.id) && !self.is_over(instance))
    }

    /// Whether an instance is older than the end that restarts all containers of the pod.
    pub fn is_over(&self, instance: &Instance) -> bool {
        self.restarted_by.is_some() && instance.restarted_by() != self.restarted_by.as_ref()
    }

    /// Whether containers still run that end because all containers of the pod are restarted.
    pub fn is_ending_all(&self) -> bool {
        self.instances.iter().any(|instance| instance.life == Life::Running && self.is_over(instance))
    }

    /// The instance before the newest.
    pub fn previous(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().filter(|instance| instance.name == name).nth(1)
    }

    /// Whether any container runs.
    pub fn anything_runs(&self) -> bool {
        self.instances.iter().any(|instance| instance.life == Life::Running)
    }
}

fn gone_is_none<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
