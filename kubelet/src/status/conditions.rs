//! The conditions that the node agent owns, with the times of their last change.

use k8s_openapi::{
    api::core::v1::{ContainerStatus, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{Inputs, OWN_CONDITIONS};
use crate::{
    observe::Life,
    pod::{self, Role},
    restart,
};

/// One condition before it gets its times.
struct Finding {
    type_: &'static str,
    ok: bool,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn yes(type_: &'static str) -> Self {
        Self { type_, ok: true, reason: "", message: String::new() }
    }

    fn no(type_: &'static str, reason: &'static str, message: String) -> Self {
        Self { type_, ok: false, reason, message }
    }
}

/// All conditions of the pod: those of others as they are, and the agent's own.
pub(super) fn of(inputs: &Inputs<'_>, status: &PodStatus, old: &PodStatus) -> Vec<PodCondition> {
    let known = old.conditions.as_deref().unwrap_or_default();
    let containers_ready = containers_ready(inputs, status);
    let findings = [
        ready_to_start(inputs),
        initialized(inputs, status),
        ready(inputs, known, &containers_ready),
        containers_ready,
        Finding::yes("PodScheduled"),
    ];
    let mut conditions: Vec<PodCondition> =
        known.iter().filter(|condition| !OWN_CONDITIONS.contains(&condition.type_.as_str())).cloned().collect();
    for finding in findings {
        let before = known.iter().find(|condition| condition.type_ == finding.type_);
        conditions.push(dated(inputs, finding, before));
    }
    if restart::may_restart_all(inputs.pod) {
        let finding = restarting_all(inputs, status);
        let before = known.iter().find(|condition| condition.type_ == finding.type_);
        conditions.push(dated(inputs, finding, before));
    }
    for resize in inputs.resize {
        let before = known.iter().find(|condition| condition.type_ == resize.type_);
        let since = before.and_then(|before| before.last_transition_time.clone()).unwrap_or(Time(inputs.now));
        conditions.push(PodCondition {
            type_: resize.type_.to_owned(),
            status: "True".to_owned(),
            reason: resize.reason.map(str::to_owned),
            message: Some(resize.message.clone()).filter(|message| !message.is_empty()),
            last_transition_time: Some(since),
            observed_generation: inputs.pod.metadata.generation,
            last_probe_time: None,
        });
    }
    conditions
}

/// Whether all containers are being restarted (`GenerateAllContainersRestartingCondition`).
fn restarting_all(inputs: &Inputs<'_>, status: &PodStatus) -> Finding {
    const TYPE: &str = "AllContainersRestarting";
    match status.phase.as_deref() {
        Some("Failed") => Finding::no(TYPE, "PodFailed", String::new()),
        _ if !inputs.observed.is_ending_all() => Finding::no(TYPE, "", String::new()),
        _ => Finding {
            reason: "RestartAllContainersStarted",
            message: "a container ended whose restart policy rule restarts all".to_owned(),
            ..Finding::yes(TYPE)
        },
    }
}

fn dated(inputs: &Inputs<'_>, finding: Finding, before: Option<&PodCondition>) -> PodCondition {
    let status = if finding.ok { "True" } else { "False" };
    let unchanged = before.filter(|before| before.status == status);
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    PodCondition {
        type_: finding.type_.to_owned(),
        status: status.to_owned(),
        reason: some(finding.reason),
        message: some(&finding.message),
        last_transition_time: unchanged
            .and_then(|before| before.last_transition_time.clone())
            .or(Some(Time(inputs.now))),
        observed_generation: inputs.pod.metadata.generation,
        last_probe_time: None,
    }
}

fn ready_to_start(inputs: &Inputs<'_>) -> Finding {
    if inputs.observed.needs_sandbox(pod::host_network(inputs.pod)) {
        Finding::no("PodReadyToStartContainers", "", String::new())
    } else {
        Finding::yes("PodReadyToStartContainers")
    }
}

fn find<'a>(list: Option<&'a Vec<ContainerStatus>>, name: &str) -> Option<&'a ContainerStatus> {
    list?.iter().find(|status| status.name == name)
}

fn initialized(inputs: &Inputs<'_>, status: &PodStatus) -> Finding {
    const TYPE: &str = "Initialized";
    let containers = pod::containers(inputs.pod);
    if status.phase.as_deref() == Some("Succeeded") {
        return Finding { reason: "PodCompleted", ..Finding::yes(TYPE) };
    }
    let main_started = containers.iter().filter(|(role, _)| *role == Role::Main).any(|(_, container)| {
        inputs.observed.newest(&container.name).is_some_and(|instance| instance.life != Life::Created)
    });
    if main_started {
        return Finding::yes(TYPE);
    }
    let incomplete: Vec<&str> = containers
        .iter()
        .filter(|(role, container)| {
            let own = find(status.init_container_statuses.as_ref(), &container.name);
            match role {
                Role::Init => !own.is_some_and(|own| own.ready),
                Role::Sidecar => own.is_none_or(|own| own.started != Some(true)),
                Role::Main | Role::Ephemeral => false,
            }
        })
        .map(|(_, container)| container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return Finding::yes(TYPE);
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    Finding::no(TYPE, "ContainersNotInitialized", message)
}

fn containers_ready(inputs: &Inputs<'_>, status: &PodStatus) -> Finding {
    const TYPE: &str = "ContainersReady";
    match status.phase.as_deref() {
        Some("Succeeded") => return Finding::no(TYPE, "PodCompleted", String::new()),
        Some("Failed") => return Finding::no(TYPE, "PodFailed", String::new()),
        _ => {}
    }
    let unready: Vec<String> = pod::containers(inputs.pod)
        .into_iter()
        .filter(|(role, container)| {
            let list = match role {
                Role::Main => status.container_statuses.as_ref(),
                Role::Sidecar => status.init_container_statuses.as_ref(),
                Role::Init | Role::Ephemeral => return false,
            };
            !find(list, &container.name).is_some_and(|own| own.ready)
        })
        .map(|(_, container)| container.name)
        .collect();
    if unready.is_empty() {
        return Finding::yes(TYPE);
    }
    Finding::no(TYPE, "ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))
}

fn ready(inputs: &Inputs<'_>, known: &[PodCondition], containers: &Finding) -> Finding {
    const TYPE: &str = "Ready";
    if !containers.ok {
        return Finding::no(TYPE, containers.reason, containers.message.clone());
    }
    let gates = inputs.pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_ref());
    let missing: Vec<String> = gates
        .into_iter()
        .flatten()
        .filter_map(|gate| {
            let name = &gate.condition_type;
            match known.iter().find(|condition| condition.type_ == *name) {
                None => Some(format!("corresponding condition of pod readiness gate {name:?} does not exist.")),
                Some(condition) if condition.status != "True" => {
                    Some(format!("the status of pod readiness gate {name:?} is not \"True\", but {}", condition.status))
                }
                Some(_) => None,
            }
        })
        .collect();
    if missing.is_empty() {
        Finding::yes(TYPE)
    } else {
        Finding::no(TYPE, "ReadinessGatesNotReady", missing.join(", "))
    }
}
