//! The status of one container.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, PodStatus, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::Inputs;
use crate::{
    observe::{Instance, Life},
    pod::Role,
};

/// The status of a container; ephemeral containers have one only once they exist.
pub fn status(inputs: &Inputs<'_>, role: Role, container: &Container, old: &PodStatus) -> Option<ContainerStatus> {
    let newest = inputs.observed.newest(&container.name);
    let waiting = inputs.waiting.get(&container.name);
    if role == Role::Ephemeral && newest.is_none() && waiting.is_none() {
        return None;
    }
    let Some(newest) = newest else { return Some(without_instance(inputs, role, container, old)) };
    let wait = waiting.filter(|_| newest.life != Life::Running);
    let state = match wait {
        Some(wait) => waiting_state(&wait.reason, &wait.message),
        None => state(inputs, newest),
    };
    let last = match wait {
        Some(_) => Some(newest),
        None => inputs.observed.previous(&container.name),
    };
    let running = state.running.is_some();
    let health = inputs.health.get(&newest.id);
    let started = running && health.is_none_or(|health| health.started);
    let ready = match role {
        Role::Init => wait.is_none() && newest.succeeded(),
        Role::Ephemeral => false,
        Role::Main | Role::Sidecar => started && health.is_none_or(|health| health.ready),
    };
    let resources = container.resources.clone().unwrap_or_default();
    Some(ContainerStatus {
        name: container.name.clone(),
        container_id: Some(format!("containerd://{}", newest.id)),
        image: newest.status.image.as_ref().map(|image| image.image.clone()).unwrap_or_default(),
        image_id: newest.status.image_ref.clone(),
        restart_count: i32::try_from(newest.restart_count).unwrap_or(i32::MAX),
        ready,
        started: Some(started),
        state: Some(state),
        last_state: Some(
            last.filter(|last| last.life == Life::Exited).map(|i| state_of_exit(inputs, i)).unwrap_or_default(),
        ),
        allocated_resources: resources.requests.clone().filter(|_| role != Role::Ephemeral),
        resources: (running && role != Role::Ephemeral)
            .then(|| inputs.actuated.get(&newest.id).cloned().unwrap_or(resources)),
        volume_mounts: volume_mounts(container),
        ..Default::default()
    })
}

fn without_instance(inputs: &Inputs<'_>, role: Role, container: &Container, old: &PodStatus) -> ContainerStatus {
    let lists = [&old.container_statuses, &old.init_container_statuses, &old.ephemeral_container_statuses];
    let known = lists.into_iter().flat_map(|list| list.iter().flatten()).find(|status| status.name == container.name);
    // What had ended before the runtime forgot it stays ended.
    if let Some(known) = known
        && (inputs.ended || role == Role::Init)
        && known.state.as_ref().is_some_and(|state| state.terminated.is_some())
    {
        return ContainerStatus { ready: role == Role::Init && known.ready, started: Some(false), ..known.clone() };
    }
    let initializing = inputs.pod.spec.as_ref().is_some_and(|spec| spec.init_containers.iter().flatten().count() > 0);
    let state = match inputs.waiting.get(&container.name) {
        Some(wait) => waiting_state(&wait.reason, &wait.message),
        None if initializing => waiting_state("PodInitializing", ""),
        None => waiting_state("ContainerCreating", ""),
    };
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        restart_count: known.map_or(0, |known| known.restart_count),
        started: Some(false),
        state: Some(state),
        last_state: Some(known.and_then(|known| known.last_state.clone()).unwrap_or_default()),
        allocated_resources: container.resources.as_ref().and_then(|r| r.requests.clone()),
        volume_mounts: volume_mounts(container),
        ..Default::default()
    }
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref()?;
    let one = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: (mount.read_only == Some(true)).then(|| "Disabled".to_owned()),
        ..Default::default()
    };
    Some(mounts.iter().map(one).collect())
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..Default::default()
    }
}

fn state(inputs: &Inputs<'_>, instance: &Instance) -> ContainerState {
    match instance.life {
        Life::Created => waiting_state("ContainerCreating", ""),
        Life::Running => ContainerState {
            running: Some(ContainerStateRunning { started_at: time(instance.status.started_at) }),
            ..Default::default()
        },
        Life::Exited | Life::Unknown => state_of_exit(inputs, instance),
    }
}

fn state_of_exit(inputs: &Inputs<'_>, instance: &Instance) -> ContainerState {
    let status = &instance.status;
    let own = inputs.messages.get(&instance.id).cloned().filter(|message| !message.is_empty());
    let runtime = Some(status.message.clone()).filter(|message| !message.is_empty());
    let reason = match (status.reason.as_str(), instance.life) {
        ("", Life::Unknown) => "ContainerStatusUnknown",
        ("", _) if status.exit_code == 0 => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    };
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: status.exit_code,
            reason: Some(reason.to_owned()),
            message: own.or(runtime),
            started_at: time(status.started_at),
            finished_at: time(status.finished_at),
            container_id: Some(format!("containerd://{}", instance.id)),
            signal: None,
        }),
        ..Default::default()
    }
}

/// A time of the runtime, in nanoseconds since 1970; 0 is none.
fn time(nanoseconds: i64) -> Option<Time> {
    if nanoseconds <= 0 {
        return None;
    }
    Timestamp::from_nanosecond(i128::from(nanoseconds)).ok().map(Time)
}
