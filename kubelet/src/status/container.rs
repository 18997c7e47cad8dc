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
    restart::RESTARTING_ALL,
};

/// The exit code of a container that ended unseen.
const EXIT_CODE_UNKNOWN: i32 = 137;
/// For people, beside the reason of the same name.
const RESTARTING_ALL_MESSAGE: &str = "A container ended whose restart policy rule restarts all containers of the pod";

/// The status of a container; ephemeral containers have one only once they exist.
pub(super) fn status(
    inputs: &Inputs<'_>,
    role: Role,
    container: &Container,
    old: &PodStatus,
) -> Option<ContainerStatus> {
    let newest = inputs.observed.newest(&container.name);
    let waiting = inputs.waiting(&container.name);
    if role == Role::Ephemeral && newest.is_none() && waiting.is_none() {
        return None;
    }
    let Some(newest) = newest else { return Some(without_instance(inputs, role, container, old)) };
    let wait = waiting.filter(|_| newest.life != Life::Running);
    let over = role != Role::Ephemeral && is_over(inputs, newest);
    let state = match wait {
        Some(wait) => waiting_state(&wait.reason, &wait.message),
        None if over => waiting_state(RESTARTING_ALL, RESTARTING_ALL_MESSAGE),
        None => state(inputs, newest),
    };
    let last = match wait {
        Some(_) => Some(newest),
        None if over => Some(newest),
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
    let given = inputs.actuated.get(&newest.id).filter(|_| running).map(|given| given.own.clone());
    Some(ContainerStatus {
        name: container.name.clone(),
        container_id: Some(format!("containerd://{}", newest.id)),
        image: newest.status.image.as_ref().map(|image| image.image.clone()).unwrap_or_default(),
        image_id: newest.status.image_ref.clone(),
        restart_count: i32::try_from(newest.restart_count.saturating_add(u32::from(over))).unwrap_or(i32::MAX),
        ready,
        started: Some(started),
        state: Some(state),
        last_state: Some(
            last.filter(|last| last.life == Life::Exited).map(|i| last_state(inputs, i)).unwrap_or_default(),
        ),
        allocated_resources: resources.requests.clone().filter(|_| role != Role::Ephemeral),
        // One that does not run has what the next one gets (`convertContainerStatusResources`).
        resources: Some(given.unwrap_or(resources)),
        volume_mounts: volume_mounts(container, Some(newest)),
        ..Default::default()
    })
}

/// Whether an instance waits for its successor because all containers of the pod are restarted.
fn is_over(inputs: &Inputs<'_>, instance: &Instance) -> bool {
    instance.life != Life::Running && inputs.observed.is_over(instance) && !inputs.observed.is_ending_all()
}

fn without_instance(inputs: &Inputs<'_>, role: Role, container: &Container, old: &PodStatus) -> ContainerStatus {
    let lists = [&old.container_statuses, &old.init_container_statuses, &old.ephemeral_container_statuses];
    let known = lists.into_iter().flat_map(|list| list.iter().flatten()).find(|status| status.name == container.name);
    let wait = inputs.waiting(&container.name);
    // What had ended before the runtime forgot it stays ended.
    if let Some(known) = known
        && (inputs.ended || wait.is_none())
        && known.state.as_ref().is_some_and(|state| state.terminated.is_some())
    {
        return ContainerStatus { ready: role == Role::Init && known.ready, started: Some(false), ..known.clone() };
    }
    let initializing = inputs.pod.spec.as_ref().is_some_and(|spec| spec.init_containers.iter().flatten().count() > 0);
    let last = known.and_then(|known| known.last_state.clone()).unwrap_or_default();
    // One that ran and is gone has ended, though nobody knows how: a pod does not go back to the beginning.
    let vanished = wait.is_none()
        && last.terminated.is_none()
        && known.is_some_and(|known| known.state.as_ref().is_some_and(|state| state.running.is_some()));
    let deleted = inputs.pod.metadata.deletion_timestamp.is_some();
    let state = match wait {
        Some(wait) => waiting_state(&wait.reason, &wait.message),
        None if initializing => waiting_state("PodInitializing", ""),
        None => waiting_state("ContainerCreating", ""),
    };
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        restart_count: known.map_or(0, |known| known.restart_count) + i32::from(vanished && !deleted),
        started: Some(false),
        state: Some(state),
        last_state: Some(if vanished { lost("deleted.  The container used to be Running") } else { last }),
        allocated_resources: container.resources.as_ref().and_then(|r| r.requests.clone()),
        volume_mounts: volume_mounts(container, None),
        ..Default::default()
    }
}

fn volume_mounts(container: &Container, instance: Option<&Instance>) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref()?;
    let recursive = |path: &str| {
        let made = instance.into_iter().flat_map(|instance| &instance.status.mounts);
        made.filter(|mount| mount.container_path == path).any(|mount| mount.recursive_read_only)
    };
    let one = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: (mount.read_only == Some(true))
            .then(|| if recursive(&mount.mount_path) { "Enabled" } else { "Disabled" }.to_owned()),
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

/// The end of a container that was restarted with all others (`convertToAPIContainerStatuses`).
fn restarted() -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: EXIT_CODE_UNKNOWN,
            reason: Some(RESTARTING_ALL.to_owned()),
            message: Some(RESTARTING_ALL_MESSAGE.to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The end of a container of which nobody knows how it ended.
pub(super) fn lost(when: &str) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: EXIT_CODE_UNKNOWN,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some(format!("The container could not be located when the pod was {when}")),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn last_state(inputs: &Inputs<'_>, instance: &Instance) -> ContainerState {
    if is_over(inputs, instance) { restarted() } else { state_of_exit(inputs, instance) }
}

fn state_of_exit(inputs: &Inputs<'_>, instance: &Instance) -> ContainerState {
    if instance.life == Life::Unknown {
        return lost("terminated");
    }
    let status = &instance.status;
    let own = inputs.messages.get(&instance.id).cloned().filter(|message| !message.is_empty());
    let runtime = Some(status.message.clone()).filter(|message| !message.is_empty());
    let reason = match status.reason.as_str() {
        "" if status.exit_code == 0 => "Completed",
        "" => "Error",
        reason => reason,
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

/// Whether a container waits and has never run.
fn never_ran(status: &ContainerStatus) -> bool {
    let waits = status.state.as_ref().is_some_and(|state| state.waiting.is_some());
    waits && status.last_state.as_ref().is_none_or(|last| last.terminated.is_none())
}

/// Gives every container of a pod that was deleted an end (`TerminatePod` in pkg/kubelet/status): one that was being
/// started is gone now, and nobody saw how. Containers whose turn never came because init containers had not ended go
/// on waiting.
pub(super) fn conclude(status: &mut PodStatus) {
    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    let ended_well = |last: &ContainerStatus| {
        let ended = |state: &Option<ContainerState>| {
            state.as_ref().is_some_and(|state| state.terminated.as_ref().is_some_and(|end| end.exit_code == 0))
        };
        ended(&last.state) || ended(&last.last_state) || last.started == Some(true)
    };
    let mains = status.container_statuses.as_deref().unwrap_or_default();
    let initialized = init.last().is_none_or(ended_well) || mains.iter().any(|main| !never_ran(main));
    // Init containers up to the last that has been tried, and the first in any case.
    let tried = init.iter().rposition(|own| !never_ran(own)).map_or(1, |last| last + 1).min(init.len());
    let end = |own: &mut ContainerStatus| {
        if own.state.as_ref().is_none_or(|state| state.terminated.is_none()) {
            own.state = Some(lost("terminated"));
            (own.ready, own.started) = (false, Some(false));
        }
    };
    if initialized {
        status.container_statuses.iter_mut().flatten().for_each(end);
    }
    status.init_container_statuses.iter_mut().flatten().take(tried).for_each(end);
}
