//! Resizing a pod in place: new resources are first allocated, if the node has room, and then given to each container, in
//! its cgroup or by starting it again.

mod given;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use client::EventType;
use jiff::{SignedDuration, Timestamp};
use k8s_cri::v1::ContainerStats;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus, ResourceRequirements};

use super::{Worker, plan};
use crate::{
    cgroup, labels,
    observe::{Instance, Life, Observed},
    pod::{self, Role},
    resources::{self, PodCgroup},
    status::ResizeCondition,
};
pub use given::Given;
use given::{Shares, Step, allocated_before, amounts, is_same, lowered, only_named, resizable, step, wanted, wider};

/// When a resize that has no room or did not succeed is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(10);
/// The reason of a resize that never fits this node.
pub const INFEASIBLE: &str = "Infeasible";
/// The reason of a resize that waits for room.
pub const DEFERRED: &str = "Deferred";

/// How far the resizes of a pod are.
#[derive(Debug, Default)]
pub struct Resizing {
    /// The allocation of the pod and each container; a change of the pod that has no room is not in here.
    allocated: Option<Shares>,
    /// The resources that each running instance was given, by CRI id.
    actuated: HashMap<String, Given>,
    /// The resources that the pod was given as a whole.
    whole: Option<Option<ResourceRequirements>>,
    /// Instances that end because only a new one can have the new resources.
    restarting: HashSet<String>,
    pending: Option<ResizeCondition>,
    /// Whether a resize was begun and is not complete.
    begun: bool,
    failed: Option<String>,
    /// The resources that each container was to have when the pod was looked at last.
    asked: Option<HashMap<String, ResourceRequirements>>,
}

/// One amount that is to change: of which resource, its request or its limit, and how.
type Asked = (&'static str, &'static str, &'static str);

/// The amounts that differ (`resizeOperationForResources`).
fn differences(old: &ResourceRequirements, new: &ResourceRequirements) -> Vec<Asked> {
    let (old, new) = (amounts(None, Some(old)), amounts(None, Some(new)));
    let mut found = Vec::new();
    for (at, resource) in given::RESIZABLE.into_iter().enumerate() {
        for (part, requirement) in ["requests", "limits"].into_iter().enumerate() {
            let operation = match (old[at][part], new[at][part]) {
                (None, Some(_)) => "add",
                (Some(_), None) => "remove",
                (Some(old), Some(new)) if new > old => "increase",
                (Some(old), Some(new)) if new < old => "decrease",
                _ => continue,
            };
            found.push((resource, requirement, operation));
        }
    }
    found
}

impl Resizing {
    /// The changes that the pod asks for since this was asked last.
    fn asks(&mut self, pod: &Pod) -> Vec<Asked> {
        let wanted = wanted(pod).own;
        if self.asked.as_ref() == Some(&wanted) {
            return Vec::new();
        }
        let before = self.asked.replace(wanted.clone()).unwrap_or_default();
        let both = wanted.iter().filter_map(|(name, new)| Some((before.get(name)?, new)));
        both.flat_map(|(old, new)| differences(old, new)).collect()
    }

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
        let same = wanted.own.iter().all(|(name, new)| is_same(new, allocated.own.get(name).unwrap_or(&none)));
        let same = same && amounts(None, wanted.whole.as_ref()) == amounts(None, allocated.whole.as_ref());
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
        if let Some(spec) = &mut restrained.spec {
            spec.resources.clone_from(&allocated.whole);
        }
        let spec = restrained.spec.iter_mut();
        let all = spec.flat_map(|spec| spec.init_containers.iter_mut().flatten().chain(&mut spec.containers));
        for container in all {
            container.resources = allocated.own.get(&container.name).cloned().or(container.resources.take());
        }
        let condition = ResizeCondition { type_: "PodResizePending", reason: Some(reason), message };
        let news = self.pending.as_ref() != Some(&condition);
        self.pending = Some(condition);
        (Arc::new(restrained), news.then_some(Allocation::Refused))
    }

    /// The resources of an instance: as this agent remembers it, as it has told the API, or as the instance was made.
    fn given(&mut self, instance: &Instance, known: Option<&PodStatus>, pod: &Pod, spec: &Container) -> Given {
        let whole_given = self.whole_given(known, pod);
        let told = || {
            let id = format!("containerd://{}", instance.id);
            let lists = known.into_iter().flat_map(|k| [&k.container_statuses, &k.init_container_statuses]);
            let mut all = lists.flat_map(|list| list.iter().flatten());
            let told = all.find(|status| status.container_id.as_ref() == Some(&id))?;
            // Of one that did not run yet the status tells what is allocated.
            told.state.as_ref().and_then(|state| state.running.as_ref()).and(told.resources.clone())
        };
        let made = |key: &str| serde_json::from_str(instance.status.annotations.get(key)?).ok();
        let settled = || amounts(None, whole_given.as_ref()) == amounts(None, resources::of_whole(pod));
        let entry = self.actuated.entry(instance.id.clone());
        let given = entry.or_insert_with(|| Given {
            own: told().or_else(|| made(labels::RESOURCES)).or(spec.resources.clone()).unwrap_or_default(),
            whole: if settled() { whole_given.clone() } else { made(labels::POD_RESOURCES) },
        });
        given.clone()
    }

    /// The resources of the pod as a whole: as this agent remembers it, as it has told the API, or as it is wanted.
    fn whole_given(&mut self, known: Option<&PodStatus>, pod: &Pod) -> Option<ResourceRequirements> {
        let wanted = resources::of_whole(pod);
        let told = || {
            let (told, wanted) = (known?.resources.as_ref()?, wanted?);
            Some(Some(ResourceRequirements {
                requests: only_named(told.requests.as_ref(), wanted.requests.as_ref()),
                limits: only_named(told.limits.as_ref(), wanted.limits.as_ref()),
                claims: None,
            }))
        };
        self.whole.get_or_insert_with(|| told().unwrap_or_else(|| wanted.cloned())).clone()
    }

    /// The resources of the pod as a whole, if they are known by now.
    pub fn whole(&self) -> Option<&ResourceRequirements> {
        self.whole.as_ref()?.as_ref()
    }

    /// The resources of running instances, by CRI id.
    pub fn actuated(&self) -> &HashMap<String, Given> {
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

/// The fate of a wish for other resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allocation {
    Begun,
    Refused,
}

impl Worker {
    /// The pod with the resources that are allocated to it.
    pub(super) fn allocate(&mut self, pod: Arc<Pod>) -> Arc<Pod> {
        let agent = self.agent.clone();
        for (resource, requirement, operation) in self.resizing.asks(&pod) {
            agent.figures.resize_asked(resource, requirement, operation);
        }
        let waited = self.resizing.pending.as_ref().is_some_and(|pending| pending.reason == Some(DEFERRED));
        let (allocated, news) = self.resizing.allocate(&pod, || agent.admission.refuses_resize(&agent, &pod));
        match news {
            None => {}
            Some(Allocation::Begun) => {
                if waited {
                    agent.figures.resize_accepted();
                }
                self.resize_event(&pod, EventType::Normal, "ResizeStarted", "started", "");
            }
            Some(Allocation::Refused) => {
                let (reason, message) = match &self.resizing.pending {
                    Some(pending) => (pending.reason.unwrap_or(DEFERRED), pending.message.clone()),
                    None => return allocated,
                };
                let event = if reason == INFEASIBLE { "ResizeInfeasible" } else { "ResizeDeferred" };
                if reason == INFEASIBLE {
                    agent.figures.resize_infeasible();
                }
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
        let (mut updates, mut before, pod) = (Vec::new(), Pod::clone(&self.pod), self.pod.clone());
        let (whole, whole_given) = (resources::of_whole(&pod), self.resizing.whole_given(known.as_ref(), &pod));
        self.resizing.begun |= amounts(None, whole) != amounts(None, whole_given.as_ref());
        if let Some(spec) = &mut before.spec {
            spec.resources = whole_given;
        }
        let initialized = plan::is_initialized(&pod::containers(&pod), observed);
        for (role, container) in resizable(&pod) {
            let Some(instance) = observed.newest_here(&container.name) else { continue };
            let is_newest = |id: &String| observed.newest(&container.name).is_some_and(|newest| newest.id == *id);
            let instances = observed.instances.iter().filter(|i| i.name == container.name);
            for old in instances.map(|i| &i.id).filter(|id| !is_newest(id)) {
                self.resizing.restarting.remove(old);
            }
            if !gets_resources(role, instance.life, initialized) {
                continue;
            }
            let given = self.resizing.given(instance, known.as_ref(), &pod, &container);
            let Some(step) = step(&container, whole, &given) else { continue };
            self.resizing.begun = true;
            set_resources(&mut before, &container.name, given.own.clone());
            if step == Step::Restart {
                self.resizing.restarting.insert(instance.id.clone());
            } else {
                updates.push((container, instance.id.clone(), given));
            }
        }
        if !self.resizing.begun {
            return;
        }
        let started = self.agent.config.clock.elapsed();
        let updated = self.update_containers(&before, &updates).await;
        if !updates.is_empty() {
            let took = self.agent.config.clock.elapsed().saturating_sub(started);
            self.agent.figures.resized(updated.is_ok(), took);
        }
        match updated {
            Ok(()) => {
                for (container, id, _) in updates {
                    let given = Given { own: container.resources.unwrap_or_default(), whole: whole.cloned() };
                    self.resizing.actuated.insert(id, given);
                }
                self.resizing.failed = None;
                if self.resizing.restarting.is_empty() {
                    self.resizing.whole = Some(whole.cloned());
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

    async fn update_containers(&self, before: &Pod, updates: &[(Container, String, Given)]) -> Result<(), String> {
        let (config, pod) = (&self.agent.config, &self.pod);
        let parent = resources::cgroup_parent(&config.cgroup_root, pod);
        let new = resources::pod_cgroup(pod);
        self.check_memory(updates, lowered(resources::pod_cgroup(before).memory, new.memory)).await?;
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

    /// A limit below what is in use would kill the container, and one of the pod some container of it
    /// (`validateMemoryResizeAction`).
    async fn check_memory(&self, updates: &[(Container, String, Given)], pod: Option<i64>) -> Result<(), String> {
        let limit = |whole: Option<&ResourceRequirements>, own: Option<&ResourceRequirements>| {
            resources::limit(whole, own, "memory").map(resources::value)
        };
        let whole = resources::of_whole(&self.pod);
        let containers = updates.iter().filter_map(|(container, id, given)| {
            let before = limit(given.whole.as_ref(), Some(&given.own));
            Some((container, id, lowered(before, limit(whole, container.resources.as_ref()))?))
        });
        let containers: Vec<_> = containers.collect();
        if containers.is_empty() && pod.is_none() {
            return Ok(());
        }
        let stats = self.agent.cri.container_stats(Some(&self.uid)).await.map_err(|error| error.message())?;
        let used = |stats: &ContainerStats| stats.memory.as_ref()?.working_set_bytes.as_ref().map(|used| used.value);
        let below = |what: &str, new: i64, used: u64| {
            let text = format!("attempting to set {what} memory limit ({new}) below current usage ({used})");
            (used >= new.unsigned_abs()).then_some(text)
        };
        let of_pod = pod.and_then(|new| below("pod", new, stats.iter().filter_map(used).sum()));
        let of_containers = containers.into_iter().filter_map(|(container, id, new)| {
            let own = stats.iter().find(|stats| stats.attributes.as_ref().is_some_and(|a| a.id == *id));
            below(&format!("container {:?}", container.name), new, own.and_then(used)?)
        });
        match of_pod.into_iter().chain(of_containers).next() {
            Some(error) => Err(format!("cannot decrease memory limits: {error}")),
            None => Ok(()),
        }
    }
}

/// Whether a container is given other resources while it runs: an init container that is no sidecar too, as long as the
/// pod is not initialized (`computeInitContainerActions`).
fn gets_resources(role: Role, life: Life, initialized: bool) -> bool {
    life == Life::Running && (role != Role::Init || !initialized)
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
