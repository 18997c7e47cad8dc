//! Telling the API and the node server what the runtime shows of a pod.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::Worker;
use crate::{
    container_config,
    directory::{ContainerRecord, PodRecord},
    figures::PodStart,
    observe::{Life, Observed},
    pod::{self, Role},
    status::{self, Inputs},
};

impl Worker {
    /// Computes the status from the runtime and hands it to the writer if it is new.
    pub(super) fn publish(&mut self, observed: &Observed, ended: bool) {
        self.record(observed);
        let host_ips = self.agent.host_ips();
        let base = with_status(&self.pod, self.published.as_ref());
        let mut new = status::compute(&Inputs {
            pod: &base,
            observed,
            starts: &self.starts,
            messages: &self.messages,
            health: &self.probes.health(observed),
            host_ips: &host_ips,
            verdict: self.verdict.as_ref(),
            resize: &self.resizing.conditions(),
            actuated: self.resizing.actuated(),
            whole: self.resizing.whole(),
            ended,
            now: self.agent.config.clock.now(),
        });
        self.agent.devices.report(&base, &mut new);
        self.count(observed, &new);
        if self.published.as_ref() != Some(&new) {
            self.published = Some(new.clone());
            self.writer.set(new);
        }
    }

    /// Counts a pod that runs for the first time, and the containers that have ended since the agent looked last.
    fn count(&mut self, observed: &Observed, status: &PodStatus) {
        let agent = self.agent.clone();
        if !self.ran && status.phase.as_deref() == Some("Running") {
            self.ran = true;
            let created = self.pod.metadata.creation_timestamp.as_ref();
            let age = created.map(|created| agent.config.clock.now().duration_since(created.0));
            agent.figures.runs(PodStart {
                seen: agent.config.clock.elapsed().saturating_sub(self.seen),
                created: age.and_then(|age| age.try_into().ok()).unwrap_or_default(),
                pulling: agent.images.pulling(&self.uid),
            });
        }
        let is_there = |id: &String| observed.instances.iter().any(|instance| instance.id == *id);
        self.counted.retain(is_there);
        for instance in observed.instances.iter().filter(|instance| instance.life == Life::Exited) {
            // What had ended before the agent began was counted by the one before.
            if self.counted.insert(instance.id.clone()) && self.published.is_some() {
                let role = pod::containers(&self.pod).into_iter().find(|(_, c)| c.name == instance.name);
                let role = role.map_or(Role::Main, |(role, _)| role);
                agent.figures.ended_container(role, instance.status.exit_code, &instance.status.reason);
            }
        }
    }

    fn record(&self, observed: &Observed) {
        let logs: PathBuf =
            self.agent.config.pod_log_dir(pod::namespace(&self.pod), pod::name(&self.pod), pod::uid(&self.pod));
        let containers = observed.instances.iter().map(|instance| ContainerRecord {
            name: instance.name.clone(),
            id: instance.id.clone(),
            restart_count: instance.restart_count,
            running: instance.life == Life::Running,
            log_path: logs.join(container_config::log_path(&instance.name, instance.restart_count)),
        });
        let ips = if pod::host_network(&self.pod) { self.agent.host_ips() } else { observed.ips() };
        let record = PodRecord {
            pod: self.pod.clone(),
            sandbox_id: observed.sandboxes.first().map(|sandbox| sandbox.id.clone()),
            sandbox_ready: observed.ready_sandbox().is_some(),
            ips: ips.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()).collect(),
            containers: containers.collect(),
        };
        self.agent.directory.put(&self.uid, record);
    }
}

/// The pod with the status that was last published, which the API may not show yet, and the conditions of others.
fn with_status(pod: &Arc<Pod>, published: Option<&PodStatus>) -> Pod {
    let mut base = Pod::clone(pod);
    let Some(published) = published else { return base };
    let foreign: Vec<_> = base.status.iter().flat_map(|status| status.conditions.iter().flatten()).cloned().collect();
    let mut known = published.clone();
    let conditions = known.conditions.get_or_insert_default();
    for condition in foreign {
        if !status::OWN_CONDITIONS.contains(&condition.type_.as_str()) {
            conditions.retain(|known| known.type_ != condition.type_);
            conditions.push(condition);
        }
    }
    base.status = Some(known);
    base
}
