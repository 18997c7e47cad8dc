//! Ending pods: hooks, signals and grace periods, then everything that was made for them.

use std::{sync::Arc, time::Duration};

use client::{EventType, caught::caught};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use metrics::Counter;

use super::{Worker, hooks, plan::Kill};
use crate::{
    agent::Agent,
    cgroup, labels,
    observe::{Instance, Life, Observed},
    pod::{self, Role},
    resources,
};

/// The shortest time between the stop signal and SIGKILL after a pre-stop hook has used the grace period up.
const GRACE_SECONDS_MIN: i64 = 2;
/// Pause before a failed clean-up is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Kills one container: event, pre-stop hook, stop signal, and SIGKILL after the grace period.
pub(super) async fn kill(agent: &Agent, pod: &Pod, kill: &Kill, grace_seconds: i64, pre_stop: bool) {
    agent.container_event(pod, &kill.container, EventType::Normal, "Killing", kill.message.clone());
    let own = kill.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.clone());
    let hook = own.filter(|_| pre_stop && grace_seconds > 0);
    stop_with_hook(agent, pod, &kill.container, &kill.id, hook, grace_seconds).await;
}

async fn stop_with_hook(
    agent: &Agent,
    pod: &Pod,
    container: &Container,
    id: &str,
    hook: Option<LifecycleHandler>,
    grace_seconds: i64,
) {
    let mut left = grace_seconds;
    if let Some(hook) = hook {
        let before = agent.config.clock.elapsed();
        let limit = Duration::from_secs(grace_seconds.max(0).unsigned_abs());
        let ip = pod_ip(agent, pod);
        match tokio::time::timeout(limit, hooks::run(agent, container, &hook, id, &ip)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::info!(container = container.name, %error, "pre-stop hook failed");
                agent.container_event(pod, container, EventType::Warning, "FailedPreStopHook", "PreStopHook failed");
            }
            Err(_) => {
                if hook.sleep.is_some() {
                    agent.figures.sleeps_cut.with([], Counter::add_one);
                }
                tracing::info!(container = container.name, "pre-stop hook used up the grace period");
            }
        }
        let used = agent.config.clock.elapsed().saturating_sub(before).as_secs();
        left = (grace_seconds - i64::try_from(used).unwrap_or(i64::MAX)).max(GRACE_SECONDS_MIN);
    }
    if let Err(error) = agent.cri.stop_container(id, left).await {
        tracing::warn!(container = container.name, id, %error, "the container was not stopped");
    }
}

fn pod_ip(agent: &Agent, pod: &Pod) -> String {
    let record = agent.directory.by_uid(pod::uid(pod));
    record.and_then(|record| record.ips.first().map(ToString::to_string)).unwrap_or_default()
}

/// The specification of an instance; of a container that was taken out of the pod only its name is left.
fn specification(pod: &Pod, instance: &Instance) -> (Role, Container) {
    pod::containers(pod)
        .into_iter()
        .find(|(_, container)| container.name == instance.name)
        .unwrap_or_else(|| (Role::Main, Container { name: instance.name.clone(), ..Default::default() }))
}

/// Stops all that runs of a pod: ordinary containers at once, then the sidecars from the last to the first, then the
/// sandboxes.
pub(super) async fn stop_all(agent: Arc<Agent>, pod: Arc<Pod>, observed: Observed, grace_seconds: i64, pre_stop: bool) {
    let running: Vec<(Role, Container, &Instance)> = observed
        .instances
        .iter()
        .filter(|instance| matches!(instance.life, Life::Running | Life::Unknown))
        .map(|instance| {
            let (role, container) = specification(&pod, instance);
            (role, container, instance)
        })
        .collect();
    let started = agent.config.clock.elapsed();
    let stop = |container: Container, instance: &Instance, grace: i64| {
        let (agent, pod) = (agent.clone(), pod.clone());
        let message = format!("Stopping container {}", container.name);
        let hook = stored_hook(instance);
        let id = instance.id.clone();
        async move {
            let mut container = container;
            if container.lifecycle.is_none() && hook.is_some() {
                container.lifecycle =
                    Some(k8s_openapi::api::core::v1::Lifecycle { pre_stop: hook, ..Default::default() });
            }
            let order = Kill { id, container, message, grace_seconds: None };
            kill(&agent, &pod, &order, grace, pre_stop).await;
        }
    };
    let mains = running.iter().filter(|(role, ..)| *role != Role::Sidecar);
    join_all(mains.map(|(_, container, instance)| stop(container.clone(), instance, grace_seconds))).await;
    let names: Vec<String> = pod::containers(&pod).into_iter().map(|(_, container)| container.name).collect();
    let mut sidecars: Vec<_> = running.iter().filter(|(role, ..)| *role == Role::Sidecar).collect();
    sidecars.sort_by_key(|(_, container, _)| std::cmp::Reverse(names.iter().position(|name| *name == container.name)));
    for (_, container, instance) in sidecars {
        let used = agent.config.clock.elapsed().saturating_sub(started).as_secs();
        let left = (grace_seconds - i64::try_from(used).unwrap_or(i64::MAX)).max(GRACE_SECONDS_MIN.min(grace_seconds));
        stop(container.clone(), instance, left).await;
    }
    for sandbox in &observed.sandboxes {
        if let Err(error) = agent.cri.stop_sandbox(&sandbox.id).await {
            tracing::warn!(id = sandbox.id, %error, "the sandbox was not stopped");
        }
    }
}

fn stored_hook(instance: &Instance) -> Option<LifecycleHandler> {
    serde_json::from_str(instance.status.annotations.get(labels::PRE_STOP_HANDLER)?).ok()
}

impl Worker {
    /// Stops what runs, with the pod's own grace period if none is given.
    pub(super) async fn stop(&mut self, observed: &Observed, grace_seconds: Option<i64>) {
        let grace = grace_seconds.unwrap_or_else(|| pod::grace_period_seconds(&self.pod));
        stop_all(self.agent.clone(), self.pod.clone(), observed.clone(), grace, true).await;
    }

    /// Ends a pod that is being deleted or is gone.
    pub(super) async fn end(mut self) {
        loop {
            match caught(self.try_end()).await.unwrap_or_else(|panic| Err(panic.to_string())) {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(pod = pod::name(&self.pod), %error, "the pod's end is not complete");
                    self.agent.pod_event(
                        &self.pod,
                        EventType::Warning,
                        "FailedKillPod",
                        format!("error killing pod: {error}"),
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn try_end(&mut self) -> Result<(), String> {
        self.launches.close();
        self.launches.wait().await;
        let observed = self.observe().await.map_err(|error| error.to_string())?;
        self.probes.end();
        self.starts.values_mut().for_each(|starts| starts.waiting = None);
        if observed.anything_runs() || observed.sandboxes.iter().any(|sandbox| sandbox.state == 0) {
            self.publish(&observed, false);
            self.stop_with_news(observed).await;
        }
        let observed = self.observe().await.map_err(|error| error.to_string())?;
        if observed.anything_runs() {
            return Err("containers still run".to_owned());
        }
        Box::pin(self.agent.devices.unprepare(&self.pod)).await?;
        self.publish(&observed, true);
        self.volumes.tear_down().await?;
        let gone = self.input.borrow().gone;
        if !gone {
            let mut input = self.input.clone();
            tokio::select! {
                () = self.writer.flush() => {}
                _ = input.wait_for(|input| input.gone) => {}
            }
        }
        let delete = async { if gone { Ok(()) } else { self.writer.delete().await } };
        let (removed, deleted) = tokio::join!(self.remove(&observed), delete);
        removed?;
        deleted.map_err(|error| error.to_string())?;
        self.agent.directory.remove(&self.uid);
        self.agent.references.release(&self.uid);
        self.agent.images.forget(&self.uid);
        Ok(())
    }

    /// Stops all; a deletion with a shorter grace period than the first starts over with it. Until all is stopped,
    /// readiness is told as the probes find it.
    async fn stop_with_news(&mut self, observed: Observed) {
        let mut grace = pod::grace_period_seconds(&self.pod);
        let agent = self.agent.clone();
        let all = |pod: &Arc<Pod>, grace: i64, hooks: bool| {
            Box::pin(stop_all(agent.clone(), pod.clone(), observed.clone(), grace, hooks))
        };
        let mut stopping = all(&self.pod, grace, true);
        let mut input = self.input.clone();
        loop {
            tokio::select! {
                () = &mut stopping => return,
                changed = input.changed() => {
                    if changed.is_err() {
                        return stopping.await;
                    }
                    let pod = input.borrow_and_update().pod.clone();
                    let shorter = pod::grace_period_seconds(&pod);
                    if shorter < grace {
                        grace = shorter;
                        stopping = all(&pod, grace, false);
                    }
                }
                () = self.wake.notify.notified() => {
                    if let Ok(now) = self.observe().await
                        && now.anything_runs()
                    {
                        self.publish(&now, false);
                    }
                }
            }
        }
    }

    /// Removes sandboxes, containers, logs, directories and the cgroup.
    async fn remove(&self, observed: &Observed) -> Result<(), String> {
        for sandbox in &observed.sandboxes {
            self.agent.cri.remove_sandbox(&sandbox.id).await.map_err(|error| error.to_string())?;
        }
        let config = &self.agent.config;
        let logs = config.pod_log_dir(pod::namespace(&self.pod), pod::name(&self.pod), &self.uid);
        for directory in [logs, config.pod_dir(&self.uid)] {
            match tokio::fs::remove_dir_all(&directory).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(format!("cannot remove {}: {error}", directory.display()));
                }
                _ => {}
            }
        }
        cgroup::remove(&resources::cgroup_parent(&config.cgroup_root, &self.pod));
        Ok(())
    }
}
