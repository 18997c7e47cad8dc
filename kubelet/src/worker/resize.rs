//! Resizing a pod in place: new resources are first allocated, if the node has room, and then given to each container, in
//! its cgroup or by starting it again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use client::EventType;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus, ResourceRequirements};

use super::Worker;
use crate::{
    cgroup, labels,
    observe::{Instance, Life, Observed},
    pod::{self, Role},
    resources::{self, PodCgroup},
    status::ResizeCondition,
};

/// The resources that can be changed.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
/// When a resize that has no room or did not succeed is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(10);
/// The reason of a resize that never fits this node.
pub const INFEASIBLE: &str = "Infeasible";
/// The reason of a resize that waits for room.
pub const DEFERRED: &str = "Deferred";

/// How far the resizes of a pod are.
#[derive(Debug, Default)]
pub struct Resizing {
    /// What each container may use, by name; a change of the pod that has no room is not in here.
    allocated: Option<HashMap<String, ResourceRequirements>>,
    /// What each running instance was given, by CRI id.
    actuated: HashMap<String, ResourceRequirements>,
    /// Instances that end because only a new one can have the new resources.
    restarting: HashSet<String>,
    pending: Option<ResizeCondition>,
    /// Whether a resize was begun and is not complete.
    begun: bool,
    failed: Option<String>,
}

impl Resizing {
    /// The pod with the resources that are allocated to it, and whether that changed now. `admit` tells why what the pod
    /// wants cannot be allocated.
    fn allocate(
        &mut self,
        pod: &Arc<Pod>,
        admit: impl FnOnce() -> Option<(&'static str, String)>,
    ) -> (Arc<Pod>, Option<Allocation>) {
        let wanted = wanted(pod);
        let allocated = self.allocated.get_or_insert_with(|| allocated_before(pod, &wanted));
        let none = ResourceRequirements::default();
        let same = wanted.iter().all(|(name, new)| is_same(new, allocated.get(name).unwrap_or(&none)));
        let refusal = if same { None } else { admit() };
        let Some((reason, message)) = refusal else {
            *allocated = wanted;
            self.pending = None;
            if same {
                return (pod.clone(), None);
            }
            (self.begun, self.failed) = (true, None);
            return (pod.clone(), Some(Allocation::Begun));
        };
        let mut restrained = Pod::clone(pod);
        let spec = restrained.spec.iter_mut();
        let all = spec.flat_map(|spec| spec.init_containers.iter_mut().flatten().chain(&mut spec.containers));
        for container in all {
            container.resources = allocated.get(&container.name).cloned().or(container.resources.take());
        }
        let condition = ResizeCondition { type_: "PodResizePending", reason: Some(reason), message };
        let news = self.pending.as_ref() != Some(&condition);
        self.pending = Some(condition);
        (Arc::new(restrained), news.then_some(Allocation::Refused))
    }

    /// What an instance was given: as this agent remembers it, as it has told the API, or as the instance was made.
    fn given(&mut self, instance: &Instance, known: Option<&PodStatus>, spec: &Container) -> ResourceRequirements {
        let told = || {
            let id = format!("containerd://{}", instance.id);
            let lists = known.into_iter().flat_map(|k| [&k.container_statuses, &k.init_container_statuses]);
            let mut all = lists.flat_map(|list| list.iter().flatten());
            all.find(|status| status.container_id.as_ref() == Some(&id))?.resources.clone()
        };
        let made = || serde_json::from_str(instance.status.annotations.get(labels::RESOURCES)?).ok();
        let entry = self.actuated.entry(instance.id.clone());
        entry.or_insert_with(|| told().or_else(made).or(spec.resources.clone()).unwrap_or_default()).clone()
    }

    /// What running instances were given, by CRI id.
    pub fn actuated(&self) -> &HashMap<String, ResourceRequirements> {
        &self.actuated
    }

    /// Instances that are to be replaced.
    pub fn restarting(&self) -> &HashSet<String> {
        &self.restarting
    }

    /// Whether an instance has ended only to make place for its successor: the pod is not what it looks like.
    pub fn is_replacing(&self, observed: &Observed) -> bool {
        let ended = |i: &&Instance| self.restarting.contains(&i.id) && i.life != Life::Running;
        observed.instances.iter().any(|instance| ended(&instance))
    }

    /// The conditions that tell of all this.
    pub fn conditions(&self) -> Vec<ResizeCondition> {
        let progress = self.begun.then(|| ResizeCondition {
            type_: "PodResizeInProgress",
            reason: self.failed.as_ref().map(|_| "Error"),
            message: self.failed.clone().unwrap_or_default(),
        });
        self.pending.clone().into_iter().chain(progress).collect()
    }

    /// When to look again although nothing happens.
    pub fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let deferred = self.pending.as_ref().is_some_and(|pending| pending.reason == Some(DEFERRED));
        (deferred || self.failed.is_some()).then(|| now.saturating_add(RETRY).unwrap_or(now))
    }
}

/// What became of a wish for other resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allocation {
    Begun,
    Refused,
}

/// How a container gets other resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Update,
    Restart,
}

fn resizable(of: &Pod) -> impl Iterator<Item = (Role, Container)> {
    pod::containers(of).into_iter().filter(|(role, _)| *role != Role::Ephemeral)
}

fn wanted(of: &Pod) -> HashMap<String, ResourceRequirements> {
    resizable(of).map(|(_, c)| (c.name, c.resources.unwrap_or_default())).collect()
}

/// What was allocated as the API knows it: an agent that starts anew finds it there.
fn allocated_before(of: &Pod, wanted: &HashMap<String, ResourceRequirements>) -> HashMap<String, ResourceRequirements> {
    let lists = of.status.iter().flat_map(|s| [&s.container_statuses, &s.init_container_statuses]);
    let known: HashMap<&str, &ContainerStatus> =
        lists.flat_map(|list| list.iter().flatten()).map(|status| (status.name.as_str(), status)).collect();
    let before = |name: &String, wanted: &ResourceRequirements| {
        let status = known.get(name.as_str())?;
        let requests = status.allocated_resources.clone()?;
        let limits = status.resources.as_ref()?.limits.clone();
        Some(ResourceRequirements { requests: Some(requests), limits, claims: wanted.claims.clone() })
    };
    wanted.iter().map(|(name, new)| (name.clone(), before(name, new).unwrap_or_else(|| new.clone()))).collect()
}

/// The amounts that can be changed: of each resource the request and the limit, in thousandths.
fn amounts(resources: &ResourceRequirements) -> [[Option<i64>; 2]; 2] {
    RESIZABLE
        .map(|name| [&resources.requests, &resources.limits].map(|list| list.as_ref()?.get(name).map(resources::milli)))
}

fn is_same(one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    amounts(one) == amounts(other)
}

fn step(container: &Container, given: &ResourceRequirements) -> Option<Step> {
    let wanted = amounts(container.resources.as_ref().unwrap_or(&ResourceRequirements::default()));
    let changed = RESIZABLE.into_iter().zip(wanted).zip(amounts(given)).filter(|((_, new), old)| new != old);
    let mut changed = changed.map(|((name, _), _)| name).peekable();
    changed.peek()?;
    let restarts = |name: &str| {
        let mut policies = container.resize_policy.iter().flatten();
        policies.any(|policy| policy.resource_name == name && policy.restart_policy == "RestartContainer")
    };
    Some(if changed.any(restarts) { Step::Restart } else { Step::Update })
}

/// Settings under which the containers have room before, while and after they change.
fn wider(old: PodCgroup, new: PodCgroup) -> PodCgroup {
    PodCgroup {
        cpu_shares: old.cpu_shares.max(new.cpu_shares),
        cpu_quota: old.cpu_quota.zip(new.cpu_quota).map(|(old, new)| old.max(new)),
        cpu_period: new.cpu_period,
        memory: old.memory.zip(new.memory).map(|(old, new)| old.max(new)),
    }
}

impl Worker {
    /// The pod with the resources that are allocated to it.
    pub(super) fn allocate(&mut self, pod: Arc<Pod>) -> Arc<Pod> {
        let agent = self.agent.clone();
        let (allocated, news) = self.resizing.allocate(&pod, || agent.admission.refuses_resize(&agent, &pod));
        match news {
            None => {}
            Some(Allocation::Begun) => self.resize_event(&pod, EventType::Normal, "ResizeStarted", "started", ""),
            Some(Allocation::Refused) => {
                let (reason, message) = match &self.resizing.pending {
                    Some(pending) => (pending.reason.unwrap_or(DEFERRED), pending.message.clone()),
                    None => return allocated,
                };
                let event = if reason == INFEASIBLE { "ResizeInfeasible" } else { "ResizeDeferred" };
                self.resize_event(&pod, EventType::Warning, event, reason, &message);
            }
        }
        allocated
    }

    fn resize_event(&self, pod: &Pod, type_: EventType, reason: &str, what: &str, error: &str) {
        let list = |wanted: fn(Role) -> bool| -> Vec<_> {
            let all = resizable(pod).filter(|(role, _)| wanted(*role));
            all.map(|(_, c)| serde_json::json!({"name": c.name, "resources": c.resources})).collect()
        };
        let mut summary = serde_json::json!({"generation": pod.metadata.generation});
        let init = list(|role| role != Role::Main);
        for (key, containers) in [("initContainers", init), ("containers", list(|role| role == Role::Main))] {
            if !containers.is_empty() {
                summary[key] = containers.into();
            }
        }
        if !error.is_empty() {
            summary["error"] = error.into();
        }
        self.agent.pod_event(pod, type_, reason, format!("Pod resize {what}: {summary}"));
    }

    /// Gives running containers what is allocated to them, and notes those that must be started again for it.
    pub(super) async fn resize(&mut self, observed: &Observed) {
        let ids: HashSet<&str> = observed.instances.iter().map(|instance| instance.id.as_str()).collect();
        self.resizing.actuated.retain(|id, _| ids.contains(id.as_str()));
        let known = self.published.clone().or_else(|| self.pod.status.clone());
        let (mut updates, mut before) = (Vec::new(), Pod::clone(&self.pod));
        for (role, container) in resizable(&self.pod.clone()) {
            let Some(instance) = observed.newest_here(&container.name) else { continue };
            let is_newest = |id: &String| observed.newest(&container.name).is_some_and(|newest| newest.id == *id);
            let instances = observed.instances.iter().filter(|i| i.name == container.name);
            for old in instances.map(|i| &i.id).filter(|id| !is_newest(id)) {
                self.resizing.restarting.remove(old);
            }
            if instance.life != Life::Running || role == Role::Init {
                continue;
            }
            let given = self.resizing.given(instance, known.as_ref(), &container);
            let Some(step) = step(&container, &given) else { continue };
            self.resizing.begun = true;
            set_resources(&mut before, &container.name, given.clone());
            if step == Step::Restart {
                self.resizing.restarting.insert(instance.id.clone());
            } else {
                updates.push((container, instance.id.clone(), given));
            }
        }
        if !self.resizing.begun {
            return;
        }
        match self.update_containers(&before, &updates).await {
            Ok(()) => {
                for (container, id, _) in updates {
                    self.resizing.actuated.insert(id, container.resources.unwrap_or_default());
                }
                self.resizing.failed = None;
                if self.resizing.restarting.is_empty() {
                    self.resizing.begun = false;
                    self.resize_event(&self.pod, EventType::Normal, "ResizeCompleted", "completed", "");
                }
            }
            Err(error) => {
                if self.resizing.failed.as_ref() != Some(&error) {
                    self.resize_event(&self.pod, EventType::Warning, "ResizeError", "error", &error);
                }
                self.resizing.failed = Some(error);
            }
        }
    }

    async fn update_containers(
        &self,
        before: &Pod,
        updates: &[(Container, String, ResourceRequirements)],
    ) -> Result<(), String> {
        self.check_memory(updates).await?;
        let (config, pod) = (&self.agent.config, &self.pod);
        let parent = resources::cgroup_parent(&config.cgroup_root, pod);
        let new = resources::pod_cgroup(pod);
        let set = |settings: &PodCgroup| {
            cgroup::set_up(&parent, settings).map_err(|error| format!("cannot set the pod's cgroup: {error}"))
        };
        set(&wider(resources::pod_cgroup(before), new))?;
        // What starts again is as large as it becomes, and as what it was until it ends: the pod's cgroup holds both.
        let settled = self.resizing.restarting.is_empty();
        for (container, id, _) in updates {
            let settings = resources::linux_resources(pod, container, self.agent.machine.memory_bytes);
            let updated = self.agent.cri.update_resources(id, settings).await;
            updated.map_err(|error| format!("updating container {:?}: {}", container.name, error.message()))?;
        }
        if settled { set(&new) } else { Ok(()) }
    }

    /// A limit below what is in use would kill the container.
    async fn check_memory(&self, updates: &[(Container, String, ResourceRequirements)]) -> Result<(), String> {
        let limit = |resources: &ResourceRequirements| resources.limits.as_ref()?.get("memory").map(resources::value);
        let lowered = updates.iter().filter_map(|(container, id, given)| {
            let new = limit(container.resources.as_ref()?)?;
            limit(given).is_none_or(|old| new < old).then_some((container, id, new))
        });
        let lowered: Vec<_> = lowered.collect();
        if lowered.is_empty() {
            return Ok(());
        }
        let stats = self.agent.cri.container_stats(Some(&self.uid)).await.map_err(|error| error.message())?;
        for (container, id, new) in lowered {
            let own = stats.iter().find(|stats| stats.attributes.as_ref().is_some_and(|a| a.id == *id));
            let used = own.and_then(|own| own.memory.as_ref()?.working_set_bytes.as_ref()).map(|used| used.value);
            if let Some(used) = used.filter(|used| *used >= new.unsigned_abs()) {
                return Err(format!(
                    "cannot decrease memory limits: attempting to set container {:?} memory limit ({new}) below current \
                     usage ({used})",
                    container.name
                ));
            }
        }
        Ok(())
    }
}

fn set_resources(pod: &mut Pod, name: &str, resources: ResourceRequirements) {
    let spec = pod.spec.iter_mut();
    let mut all = spec.flat_map(|spec| spec.init_containers.iter_mut().flatten().chain(&mut spec.containers));
    if let Some(container) = all.find(|container| container.name == name) {
        container.resources = Some(resources);
    }
}

#[cfg(test)]
mod tests;
