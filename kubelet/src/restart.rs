//! Whether and when an ended container starts again.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::{
    observe::{Life, Observed},
    pod::{self, Role},
    status::Waiting,
};

/// The reason of an end that another container's end asked for (`RestartingAllContainers`).
pub const RESTARTING_ALL: &str = "RestartingAllContainers";
/// The action of a rule that restarts all containers of the pod.
const RESTART_ALL: &str = "RestartAllContainers";

/// The first delay before a restart.
pub const BACKOFF_INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest delay before a restart.
pub const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(300);

/// Whether a container that ended with this exit code starts again.
pub fn restarts(spec: &PodSpec, role: Role, container: &Container, exit_code: i32) -> bool {
    if role == Role::Ephemeral {
        return false;
    }
    if matches!(action(container, exit_code), Some("Restart" | RESTART_ALL)) {
        return true;
    }
    let policy = container.restart_policy.as_deref().or(spec.restart_policy.as_deref()).unwrap_or("Always");
    match (policy, role) {
        // An ordinary init container that succeeded has done its work, whatever the pod's policy.
        (_, Role::Init) if exit_code == 0 => false,
        ("Always", _) => true,
        ("OnFailure", _) => exit_code != 0,
        _ => false,
    }
}

/// The action of the first rule that applies to this exit code (`FindMatchingContainerRestartRule`).
fn action(container: &Container, exit_code: i32) -> Option<&str> {
    let rule = container.restart_policy_rules.iter().flatten().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.as_ref().is_some_and(|values| values.contains(&exit_code));
            if codes.operator == "NotIn" { !listed } else { listed }
        })
    })?;
    Some(&rule.action)
}

/// Whether the end of a container may restart all others (`AllContainersCouldRestart`).
pub fn may_restart_all(pod: &Pod) -> bool {
    let containers = pod::containers(pod);
    let mut rules = containers.iter().flat_map(|(_, container)| container.restart_policy_rules.iter().flatten());
    rules.any(|rule| rule.action == RESTART_ALL)
}

/// The CRI id of the newest container whose end restarts all containers of the pod (`ShouldAllContainersRestart`). What
/// was made before that end is over; what is made after it carries this id, so that neither an agent that starts anew
/// nor a clock that is set back restarts anything twice.
pub fn restarted_by(pod: &Pod, observed: &Observed) -> Option<String> {
    if !may_restart_all(pod) {
        return None;
    }
    let containers = pod::containers(pod);
    let newest = observed.instances.iter().find(|instance| {
        let own = containers.iter().find(|(role, own)| *role != Role::Ephemeral && own.name == instance.name);
        let code = instance.status.exit_code;
        instance.life == Life::Exited && own.is_some_and(|(_, own)| action(own, code) == Some(RESTART_ALL))
    });
    newest.map(|instance| instance.id.clone())
}

/// The starts of one container, as far as the runtime does not tell of them.
#[derive(Debug, Default)]
pub struct Starts {
    /// Why it waits.
    pub waiting: Option<Waiting>,
    /// When one may be tried that comes after one that failed.
    pub held: Option<Timestamp>,
    /// How often it had been started before by what its log files tell; for instances that the runtime has forgotten.
    pub logged: Option<u32>,
    /// How long the next one waits after a crash.
    pub backoff: Backoff,
}

impl Starts {
    /// When a start may be tried, if not yet.
    pub fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.held.filter(|until| *until > now)
    }
}

/// The starts of a pod's containers, by name.
pub type StartsByName = HashMap<String, Starts>;

/// The delay between the restarts of a container: 10 s, doubled at each crash up to five minutes, forgotten once it has
/// run for twice the longest delay.
#[derive(Debug, Default)]
pub struct Backoff(Option<Delay>);

#[derive(Debug, Clone, Copy)]
struct Delay {
    delay: SignedDuration,
    updated: Timestamp,
}

impl Backoff {
    /// When the container that ended at `ended` may start again, and the delay that holds; `None` if at once.
    pub fn until(&self, ended: Timestamp, now: Timestamp) -> Option<(Timestamp, SignedDuration)> {
        let delay = self.at(ended)?;
        let due = ended.saturating_add(delay).ok()?;
        (due > now).then_some((due, delay))
    }

    /// Notes a restart after an end at `ended`.
    pub fn next(&mut self, ended: Timestamp, now: Timestamp) {
        let delay = self.at(ended).map_or(BACKOFF_INITIAL, |delay| (delay * 2).min(BACKOFF_MAX));
        self.0 = Some(Delay { delay, updated: now });
    }

    /// The delay after an end at `ended`, if it is not forgotten by then.
    fn at(&self, ended: Timestamp) -> Option<SignedDuration> {
        let known = self.0.filter(|known| ended.duration_since(known.updated) <= BACKOFF_MAX * 2);
        known.map(|known| known.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a valid time")
    }

    #[test]
    fn delays_double_and_reset() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(at(0), at(0)), None, "the first restart is immediate");
        backoff.next(at(0), at(0));
        let mut time = 1;
        for expected in [10, 20, 40, 80, 160, 300, 300] {
            let (due, delay) = backoff.until(at(time), at(time)).expect("a delay");
            assert_eq!(delay.as_secs(), expected);
            assert_eq!(due, at(time + expected));
            time += expected;
            assert_eq!(backoff.until(at(time - expected), at(time)), None, "the delay has passed");
            backoff.next(at(time - expected), at(time));
            time += 1;
        }
        assert_eq!(backoff.until(at(time + 700), at(time + 700)), None, "a long run is forgiven");
    }

    #[test]
    fn policies() {
        let check = |policy: &str, role, code, expected| {
            let spec = PodSpec { restart_policy: Some(policy.to_owned()), ..Default::default() };
            let container = Container::default();
            assert_eq!(restarts(&spec, role, &container, code), expected, "{policy} {role:?} {code}");
        };
        check("Always", Role::Main, 0, true);
        check("OnFailure", Role::Main, 0, false);
        check("OnFailure", Role::Main, 1, true);
        check("Never", Role::Main, 1, false);
        check("Always", Role::Init, 0, false);
        check("Always", Role::Init, 1, true);
        check("Never", Role::Init, 1, false);
        check("Always", Role::Ephemeral, 1, false);
    }
}
