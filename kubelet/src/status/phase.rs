//! The phase of a pod, from the states of its containers.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::{
    pod::{self, Role},
    restart,
};

/// How many containers are in which state.
#[derive(Default)]
struct Count {
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    stopped_for_good: usize,
    succeeded: usize,
    init_pending: usize,
    init_failed_for_good: usize,
}

/// The phase (`getPhase` in pkg/kubelet).
pub(super) fn of(pod: &Pod, statuses: &[&ContainerStatus], ended: bool) -> &'static str {
    let Some(spec) = pod.spec.as_ref() else { return "Pending" };
    let mut count = Count::default();
    let containers = pod::containers(pod);
    for (role, container) in &containers {
        let status = statuses.iter().find(|status| status.name == container.name);
        let state = status.and_then(|status| status.state.as_ref());
        let end = state.and_then(|state| state.terminated.as_ref());
        let last_end = status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref());
        let (exit, last) = (end.map(|end| end.exit_code), last_end.map(|end| end.exit_code));
        let restarted = end.or(last_end).is_some_and(|end| end.reason.as_deref() == Some(restart::RESTARTING_ALL));
        let running = state.is_some_and(|state| state.running.is_some());
        let for_good =
            |code: Option<i32>| !restarted && code.is_some_and(|code| !restart::restarts(spec, *role, container, code));
        match role {
            Role::Init => match (exit, last) {
                (Some(0), _) => {}
                (Some(code), _) | (None, Some(code)) if !running && code != 0 => {
                    count.init_failed_for_good += usize::from(for_good(Some(code)));
                    count.init_pending += usize::from(!for_good(Some(code)));
                }
                _ => count.init_pending += 1,
            },
            Role::Sidecar => {
                let started = status.is_some_and(|status| status.started == Some(true));
                count.init_pending += usize::from(!started && exit.is_none() && last.is_none());
                count.running += usize::from(running);
            }
            Role::Main => match (exit, last) {
                _ if running => count.running += 1,
                (Some(code), _) => {
                    count.stopped += 1;
                    count.stopped_for_good += usize::from(for_good(Some(code)));
                    count.succeeded += usize::from(code == 0);
                }
                (None, Some(code)) => {
                    count.stopped += 1;
                    count.stopped_for_good += usize::from(for_good(Some(code)));
                }
                (None, None) if state.is_some() => count.waiting += 1,
                _ => count.unknown += 1,
            },
            Role::Ephemeral => {}
        }
    }
    decide(&count, ended)
}

fn decide(count: &Count, ended: bool) -> &'static str {
    if count.init_failed_for_good > 0 {
        return "Failed";
    }
    if ended {
        // Nothing will run again: what ended well succeeded, anything else is a failure.
        let complete = count.waiting == 0 && count.unknown == 0 && count.init_pending == 0 && count.running == 0;
        return if complete && count.stopped > 0 && count.succeeded == count.stopped { "Succeeded" } else { "Failed" };
    }
    if count.init_pending > 0 && count.stopped == 0 {
        return "Pending";
    }
    if count.waiting > 0 {
        return if count.stopped > 0 { "Running" } else { "Pending" };
    }
    if count.unknown > 0 {
        return "Pending";
    }
    if count.running > 0 && count.stopped_for_good < count.stopped {
        return "Running";
    }
    if count.stopped > 0 && count.stopped == count.stopped_for_good && count.running == 0 {
        return if count.succeeded == count.stopped { "Succeeded" } else { "Failed" };
    }
    if count.running > 0 || count.stopped > 0 { "Running" } else { "Pending" }
}
