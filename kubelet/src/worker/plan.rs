//! The next steps for a pod: a plain function of its specification and of what the runtime shows.

use std::collections::{HashMap, HashSet};

use api::go::duration;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::{
    container_config,
    observe::{Instance, Life, Observed},
    pod::{self, Role},
    restart::{self, StartsByName},
    status::{Health, Waiting},
};

/// A container to be started.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Its role.
    pub role: Role,
    /// Its specification.
    pub container: Container,
    /// How often it was started before.
    pub restart_count: u32,
}

/// A container to be killed.
#[derive(Debug, Clone, PartialEq)]
pub struct Kill {
    /// Its CRI id.
    pub id: String,
    /// Its specification.
    pub container: Container,
    /// Why, for the event.
    pub message: String,
    /// A grace period other than the pod's.
    pub grace_seconds: Option<i64>,
}

/// The next steps.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Nothing of the pod will run again: what still runs must be stopped.
    pub ended: bool,
    /// A new sandbox must be made, with this attempt number.
    pub sandbox: Option<u32>,
    /// Containers to kill.
    pub kill: Vec<Kill>,
    /// Containers to start, all at once.
    pub start: Vec<Start>,
    /// Containers that must wait, and why.
    pub waiting: HashMap<String, Waiting>,
    /// When to look again.
    pub wake: Option<Timestamp>,
}

/// A probe that wants a container replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condemned {
    /// The message of the `Killing` event.
    pub message: String,
    /// The probe's own grace period.
    pub grace_seconds: Option<i64>,
}

/// A plan is made from this.
pub struct Inputs<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Whether the pod has reached a phase that it never leaves.
    pub terminal: bool,
    /// The pod as the runtime shows it.
    pub observed: &'a Observed,
    /// The findings of probes, by CRI id.
    pub health: &'a HashMap<String, Health>,
    /// Containers that probes want replaced, by CRI id.
    pub condemned: &'a HashMap<String, Condemned>,
    /// Instances that are replaced so that they get other resources, by CRI id.
    pub resized: &'a HashSet<String>,
    /// The time of day.
    pub now: Timestamp,
}

struct Planner<'a> {
    inputs: &'a Inputs<'a>,
    spec: &'a PodSpec,
    starts: &'a mut StartsByName,
    fresh: bool,
    plan: Plan,
}

/// Makes the plan; restarts that it orders are noted in `starts`.
pub fn make(inputs: &Inputs<'_>, starts: &mut StartsByName) -> Plan {
    let Some(spec) = inputs.pod.spec.as_ref() else { return Plan { ended: true, ..Plan::default() } };
    let containers = pod::containers(inputs.pod);
    if inputs.terminal || has_ended(inputs, spec, &containers) {
        return Plan { ended: true, ..Plan::default() };
    }
    let fresh = inputs.observed.needs_sandbox(pod::host_network(inputs.pod));
    let mut planner = Planner { inputs, spec, starts, fresh, plan: Plan::default() };
    if fresh {
        planner.plan.sandbox = Some(inputs.observed.next_attempt());
    }
    planner.end_all(&containers);
    if !planner.plan.kill.is_empty() {
        return planner.plan;
    }
    let initialized = !fresh && is_initialized(&containers, inputs.observed);
    let ready_for_main = planner.initialize(&containers, initialized);
    if ready_for_main {
        for (role, container) in containers.iter().filter(|(role, _)| *role == Role::Main) {
            planner.consider(*role, container);
        }
    }
    if !fresh {
        for (role, container) in containers.iter().filter(|(role, _)| *role == Role::Ephemeral) {
            if inputs.observed.newest(&container.name).is_none() {
                planner.start(*role, container, None);
            }
        }
    }
    planner.plan
}

/// Whether the init containers have done their work: an ordinary container was made in the newest sandbox
/// (`computeInitContainerActions`).
pub(super) fn is_initialized(containers: &[(Role, Container)], observed: &Observed) -> bool {
    let mut mains = containers.iter().filter(|(role, _)| *role == Role::Main);
    mains.any(|(_, container)| observed.newest_here(&container.name).is_some())
}

/// Whether all containers have ended and none starts again.
fn has_ended(inputs: &Inputs<'_>, spec: &PodSpec, containers: &[(Role, Container)]) -> bool {
    let for_good = |role: Role, container: &Container| {
        inputs.observed.newest(&container.name).is_some_and(|instance| {
            instance.life == Life::Exited
                && !inputs.observed.is_over(instance)
                && !inputs.resized.contains(&instance.id)
                && instance.hash().is_none_or(|hash| hash == container_config::hash(container))
                && !restart::restarts(spec, role, container, instance.status.exit_code)
        })
    };
    let init_failed = containers.iter().any(|(role, container)| {
        *role == Role::Init
            && for_good(*role, container)
            && inputs.observed.newest(&container.name).is_some_and(|instance| !instance.succeeded())
    });
    let mut mains = containers.iter().filter(|(role, _)| *role == Role::Main).peekable();
    init_failed || mains.peek().is_some() && mains.all(|(role, container)| for_good(*role, container))
}

impl Planner<'_> {
    /// Ends what still runs although all containers restart.
    fn end_all(&mut self, containers: &[(Role, Container)]) {
        let (observed, fresh) = (self.inputs.observed, self.fresh);
        for (_, container) in containers.iter().filter(|(role, _)| *role != Role::Ephemeral && !fresh) {
            let instances = observed.instances.iter().filter(|instance| instance.name == container.name);
            for instance in instances.filter(|i| i.life == Life::Running && observed.is_over(i)) {
                let message = format!("Container {} is restarted with all others of the pod", container.name);
                self.kill(container, instance, message, Some(0));
            }
        }
    }

    /// Plans init containers and sidecars; answers whether ordinary ones may start.
    fn initialize(&mut self, containers: &[(Role, Container)], initialized: bool) -> bool {
        for (role, container) in containers {
            let instance = if self.fresh { None } else { self.inputs.observed.newest_here(&container.name) };
            match (role, instance.cloned()) {
                (Role::Init, _) if initialized => {}
                (Role::Init, Some(instance)) if instance.succeeded() && !self.is_resized(&instance) => {}
                (Role::Init, Some(instance)) if instance.life == Life::Running => {
                    self.replace_if_resized(container, &instance);
                    return false;
                }
                (Role::Init, instance) => {
                    self.start_again(*role, container, instance.as_ref());
                    return false;
                }
                (Role::Sidecar, Some(instance)) if instance.life == Life::Running => {
                    self.replace_if_needed(container, &instance);
                    let started = self.inputs.health.get(&instance.id).is_none_or(|health| health.started);
                    if !initialized && !started {
                        return false;
                    }
                }
                (Role::Sidecar, instance) => {
                    self.start_again(*role, container, instance.as_ref());
                    if !initialized {
                        return false;
                    }
                }
                (Role::Main | Role::Ephemeral, _) => {}
            }
        }
        true
    }

    fn consider(&mut self, role: Role, container: &Container) {
        let newest = self.inputs.observed.newest(&container.name).cloned();
        let here = |instance: &Instance| !self.fresh && self.inputs.observed.current.contains(&instance.id);
        match newest {
            Some(instance) if instance.life == Life::Running && here(&instance) => {
                self.replace_if_needed(container, &instance);
            }
            Some(instance) if instance.life == Life::Exited => {
                let changed = self.is_changed(container, &instance);
                let again = restart::restarts(self.spec, role, container, instance.status.exit_code);
                if changed {
                    self.start(role, container, Some(&instance));
                } else if again || self.inputs.observed.is_over(&instance) {
                    self.start_again(role, container, Some(&instance));
                }
            }
            Some(instance) => self.start(role, container, Some(&instance)),
            None => self.start(role, container, None),
        }
    }

    /// Whether an instance that has ended only made place for another.
    fn is_changed(&self, container: &Container, instance: &Instance) -> bool {
        self.is_resized(instance) || instance.hash().is_some_and(|hash| hash != container_config::hash(container))
    }

    /// Whether an instance makes place for one with other resources.
    fn is_resized(&self, instance: &Instance) -> bool {
        self.inputs.resized.contains(&instance.id)
    }

    fn replace_if_needed(&mut self, container: &Container, instance: &Instance) {
        let changed = instance.hash().is_some_and(|hash| hash != container_config::hash(container));
        if self.replace_if_resized(container, instance) {
        } else if changed {
            let message = format!("Container {} definition changed, will be restarted", container.name);
            self.kill(container, instance, message, None);
        } else if let Some(condemned) = self.inputs.condemned.get(&instance.id) {
            self.kill(container, instance, condemned.message.clone(), condemned.grace_seconds);
        }
    }

    /// The one reason for which an init container is replaced while it runs: neither probes nor a new image end it.
    fn replace_if_resized(&mut self, container: &Container, instance: &Instance) -> bool {
        let resized = self.is_resized(instance);
        if resized {
            self.kill(container, instance, format!("Container {} resize requires restart", container.name), None);
        }
        resized
    }

    fn kill(&mut self, container: &Container, instance: &Instance, message: String, grace_seconds: Option<i64>) {
        let (id, container) = (instance.id.clone(), container.clone());
        self.plan.kill.push(Kill { id, container, message, grace_seconds });
    }

    /// Starts a container that has ended, unless it must wait.
    fn start_again(&mut self, role: Role, container: &Container, instance: Option<&Instance>) {
        let observed = self.inputs.observed;
        let over = || observed.newest(&container.name).filter(|instance| observed.is_over(instance));
        let instance = instance.or_else(over);
        // Only the container that has all others restarted can be crashing.
        let is_victim = |i: &Instance| observed.is_over(i) && observed.restarted_by.as_ref() != Some(&i.id);
        let is_crash = |i: &&Instance| i.life == Life::Exited && !self.is_resized(i) && !is_victim(i);
        let exited = instance.filter(is_crash);
        let Some(exited) = exited else { return self.start(role, container, instance) };
        let nanoseconds = i128::from(exited.status.finished_at);
        let ended = Timestamp::from_nanosecond(nanoseconds).unwrap_or(self.inputs.now);
        let known = self.starts.get(&container.name);
        match known.and_then(|starts| starts.backoff.until(ended, self.inputs.now)) {
            Some((due, delay)) => {
                let pod = self.inputs.pod;
                let message = format!(
                    "back-off {} restarting failed container={} pod={}_{}({})",
                    duration::format(i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX)),
                    container.name,
                    pod::name(pod),
                    pod::namespace(pod),
                    pod::uid(pod)
                );
                let reason = "CrashLoopBackOff".to_owned();
                self.plan.waiting.insert(container.name.clone(), Waiting { reason, message });
                self.wake_at(due);
            }
            None => {
                let known = self.starts.entry(container.name.clone()).or_default();
                if known.held_until(self.inputs.now).is_none() {
                    known.backoff.next(ended, self.inputs.now);
                }
                self.start(role, container, Some(exited));
            }
        }
    }

    fn start(&mut self, role: Role, container: &Container, before: Option<&Instance>) {
        let known = self.starts.get(&container.name);
        if let Some(until) = known.and_then(|starts| starts.held_until(self.inputs.now)) {
            return self.wake_at(until);
        }
        let logged = known.and_then(|starts| starts.logged).map(|count| count + 1);
        let before = before.or_else(|| self.inputs.observed.newest(&container.name));
        let restart_count = before.map(|before| before.restart_count + 1).or(logged).unwrap_or(0);
        self.plan.start.push(Start { role, container: container.clone(), restart_count });
    }

    fn wake_at(&mut self, due: Timestamp) {
        self.plan.wake = Some(self.plan.wake.map_or(due, |wake| wake.min(due)));
    }
}

/// Ids of the instances that nobody needs any more: all but the newest two of each container.
pub fn superfluous(observed: &Observed) -> Vec<String> {
    const KEPT: usize = 2;
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut superfluous = HashSet::new();
    for instance in &observed.instances {
        let count = seen.entry(&instance.name).or_default();
        *count += 1;
        let is_needed = instance.life == Life::Running || observed.restarted_by.as_ref() == Some(&instance.id);
        if *count > KEPT && !is_needed {
            superfluous.insert(instance.id.clone());
        }
    }
    superfluous.into_iter().collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
