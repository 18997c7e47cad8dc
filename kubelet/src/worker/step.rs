//! Carrying a plan out: kills, a new sandbox, or starts.

use std::sync::Arc;

use client::EventType;
use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use jiff::Timestamp;

use super::{
    Worker, end,
    plan::{self, Plan},
    start,
};
use crate::{
    container_config, log_rotation,
    observe::{Life, Observed},
    pod,
};

impl Worker {
    pub(super) async fn carry_out(&mut self, plan: Plan, observed: Observed) -> Result<(), String> {
        if !plan.kill.is_empty() {
            let grace = pod::grace_period_seconds(&self.pod);
            let kills = plan.kill.into_iter().map(|kill| {
                let (agent, pod) = (self.agent.clone(), self.pod.clone());
                async move { end::kill(&agent, &pod, &kill, kill.grace_seconds.unwrap_or(grace), true).await }
            });
            join_all(kills).await;
            return Ok(());
        }
        if let Some(attempt) = plan.sandbox {
            return self.make_sandbox(attempt, &observed).await;
        }
        self.set_up_volumes(&observed).await?;
        let Some(sandbox) = observed.ready_sandbox() else { return Ok(()) };
        let context = Arc::new(start::Context {
            agent: self.agent.clone(),
            pod: self.pod.clone(),
            sandbox_id: sandbox.id.clone(),
            attempt: sandbox.metadata.as_ref().map_or(0, |metadata| metadata.attempt),
            pod_ips: observed.ips(),
            mounted: self.volumes.mounted(),
            observed,
            launches: self.launches.clone(),
        });
        self.end_unknown(&plan.start, &context.observed).await;
        let mut starting: FuturesUnordered<_> = plan
            .start
            .into_iter()
            .map(|start| {
                let context = context.clone();
                async move {
                    let (name, role) = (start.container.name.clone(), start.role);
                    let started = context.start(start).await;
                    let error = started.as_ref().err().map(|failed| failed.waiting.reason.as_str());
                    context.agent.figures.started_container(role, error);
                    (name, started)
                }
            })
            .collect();
        while let Some((name, result)) = starting.next().await {
            self.note_start(name, result);
            if !starting.is_empty() {
                let observed = self.observe().await.map_err(|error| error.to_string())?;
                self.probes.sync(&self.pod, &observed);
                self.publish(&observed, false);
            }
        }
        Ok(())
    }

    /// Ends instances of which the runtime does not know whether they run, before others take their place.
    async fn end_unknown(&self, starts: &[plan::Start], observed: &Observed) {
        let unknown = starts.iter().filter_map(|start| {
            let instance = observed.newest(&start.container.name).filter(|instance| instance.life == Life::Unknown)?;
            let name = &start.container.name;
            let message = format!("Container {name} is in unknown state, try killing it before restart");
            Some(plan::Kill {
                id: instance.id.clone(),
                container: start.container.clone(),
                message,
                grace_seconds: None,
            })
        });
        let grace = pod::grace_period_seconds(&self.pod);
        let kills: Vec<_> = unknown.collect();
        join_all(kills.iter().map(|kill| end::kill(&self.agent, &self.pod, kill, grace, true))).await;
    }

    fn note_start(&mut self, name: String, result: Result<(), start::Failed>) {
        let until = |pause| self.agent.config.clock.now().checked_add(pause).unwrap_or(Timestamp::MAX);
        let starts = self.starts.entry(name).or_default();
        (starts.held, starts.waiting) = match result {
            Ok(()) => (None, None),
            Err(failed) => (Some(until(failed.retry)), Some(failed.waiting)),
        };
    }

    /// Makes a sandbox in place of what is left of older ones, and the volumes beside it.
    async fn make_sandbox(&mut self, attempt: u32, observed: &Observed) -> Result<(), String> {
        if !observed.sandboxes.is_empty() {
            if observed.anything_runs() || observed.ready_sandbox().is_some() {
                let message = "Pod sandbox changed, it will be killed and re-created.";
                self.agent.pod_event(&self.pod, EventType::Normal, "SandboxChanged", message);
            }
            self.stop(observed, None).await;
        }
        start::make_directories(&self.agent.config, &self.pod).await?;
        if let Err(error) = Box::pin(self.agent.devices.prepare(&self.pod)).await {
            let message = format!("Failed to prepare dynamic resources: {error}");
            self.agent.pod_event(&self.pod, EventType::Warning, "FailedPrepareDynamicResources", message);
            return Err(error);
        }
        let (agent, pod) = (self.agent.clone(), self.pod.clone());
        let sandbox = async {
            if pod.spec.as_ref().and_then(|spec| spec.host_users) == Some(false) {
                let why = "can't set `spec.hostUsers: false`, this node does not support user namespaces";
                return Err(why.to_owned());
            }
            let config = start::sandbox_config(&agent, &pod, attempt).await;
            let handler = start::runtime_handler(&agent, &pod).await?;
            agent.cri.run_sandbox(config, &handler).await.map_err(|error| error.to_string())
        };
        let (sandbox, volumes) = tokio::join!(sandbox, self.volumes.set_up(&pod, Vec::new()));
        if let Err(error) = &volumes {
            self.agent.pod_event(&self.pod, EventType::Warning, "FailedMount", error.clone());
        }
        self.agent.figures.started_pod(sandbox.is_ok());
        match sandbox {
            Ok(_) => volumes.map(drop),
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.agent.pod_event(&self.pod, EventType::Warning, "FailedCreatePodSandBox", message.clone());
                Err(message)
            }
        }
    }

    pub(super) async fn remove_superfluous(&self, observed: &Observed) {
        for id in plan::superfluous(observed) {
            if let Err(error) = self.agent.cri.remove_container(&id).await {
                tracing::debug!(id, %error, "an old container was not removed");
                continue;
            }
            let Some(instance) = observed.instances.iter().find(|instance| instance.id == id) else { continue };
            let logs = start::log_dir(&self.agent.config, &self.pod);
            let log = logs.join(container_config::log_path(&instance.name, instance.restart_count));
            if let Err(error) = log_rotation::remove(&log) {
                tracing::debug!(id, %error, "the log of an old container was not removed");
            }
        }
        for sandbox in observed.sandboxes.iter().skip(1) {
            let used = observed.instances.iter().any(|i| !observed.current.contains(&i.id));
            if !used && let Err(error) = self.agent.cri.remove_sandbox(&sandbox.id).await {
                tracing::debug!(id = sandbox.id, %error, "an old sandbox was not removed");
            }
        }
    }
}
