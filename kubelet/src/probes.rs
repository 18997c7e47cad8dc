//! Probes: commands, HTTP, TCP and gRPC checks that tell whether containers have started, live and are ready.

pub mod check;
pub mod grpc;
pub mod http;
pub mod log;
mod task;
mod tls;

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, Probe};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    agent::Agent,
    observe::{Instance, Life, Observed},
    pod,
    status::Health,
    worker::{Wake, plan::Condemned},
};

/// The three kinds of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Holds the others back until it succeeds.
    Startup,
    /// Its failure restarts the container.
    Liveness,
    /// Its failure takes the pod out of services.
    Readiness,
}

impl Kind {
    /// The name in events.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }
}

/// The findings of the probes of one container instance.
#[derive(Clone)]
pub(crate) struct Findings {
    pub(crate) started: Arc<watch::Sender<bool>>,
    pub(crate) ready: Arc<watch::Sender<bool>>,
    pub(crate) condemned: Arc<Mutex<Option<Condemned>>>,
}

struct Probed {
    findings: Findings,
    _running: DropGuard,
    /// Keeps the probes that ask whether the container must be replaced.
    replacing: Option<DropGuard>,
}

/// The probes of one pod.
pub struct Probes {
    agent: Arc<Agent>,
    wake: Wake,
    probed: HashMap<String, Probed>,
    adopted: HashMap<String, Health>,
}

impl Probes {
    /// No probes yet. What the API shows of containers that run already is believed until a probe says otherwise, so
    /// that a restart of the agent makes no pod unready.
    pub fn new(agent: Arc<Agent>, pod: &Pod, wake: Wake) -> Self {
        let statuses = pod.status.iter().flat_map(|status| {
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
        });
        let adopted = statuses
            .filter_map(|status| {
                let id = status.container_id.as_ref()?.rsplit('/').next()?.to_owned();
                Some((id, Health { started: status.started == Some(true), ready: status.ready }))
            })
            .collect();
        Self { agent, wake, probed: HashMap::new(), adopted }
    }

    /// Starts probes of containers that run and ends those of containers that do not.
    pub fn sync(&mut self, pod: &Arc<Pod>, observed: &Observed) {
        let running = |id: &str| observed.instances.iter().any(|i| i.id == id && i.life == Life::Running);
        self.probed.retain(|id, _| running(id));
        let containers = pod::containers(pod);
        for instance in observed.instances.iter().filter(|instance| instance.life == Life::Running) {
            if self.probed.contains_key(&instance.id) {
                continue;
            }
            let Some((_, container)) = containers.iter().find(|(_, container)| container.name == instance.name) else {
                continue;
            };
            let kinds = [
                (Kind::Startup, &container.startup_probe),
                (Kind::Liveness, &container.liveness_probe),
                (Kind::Readiness, &container.readiness_probe),
            ];
            let probes: Vec<(Kind, Probe)> =
                kinds.into_iter().filter_map(|(kind, probe)| Some((kind, probe.clone()?))).collect();
            let probed = self.start(pod, instance, container, probes);
            self.probed.insert(instance.id.clone(), probed);
        }
    }

    fn start(
        &self,
        pod: &Arc<Pod>,
        instance: &Instance,
        container: &k8s_openapi::api::core::v1::Container,
        probes: Vec<(Kind, Probe)>,
    ) -> Probed {
        let known = self.adopted.get(&instance.id);
        let has = |wanted: Kind| probes.iter().any(|(kind, _)| *kind == wanted);
        let started = !has(Kind::Startup) || known.is_some_and(|known| known.started);
        let ready = !has(Kind::Readiness) || known.is_some_and(|known| known.ready);
        let findings = Findings {
            started: Arc::new(watch::Sender::new(started)),
            ready: Arc::new(watch::Sender::new(ready)),
            condemned: Arc::default(),
        };
        let cancel = CancellationToken::new();
        let replacing = cancel.child_token();
        for (kind, probe) in probes {
            if kind == Kind::Startup && started {
                continue;
            }
            let task = task::Task {
                agent: self.agent.clone(),
                pod: pod.clone(),
                container: container.clone(),
                id: instance.id.clone(),
                started_at_nanoseconds: instance.status.started_at,
                kind,
                probe,
                findings: findings.clone(),
                wake: self.wake.clone(),
            };
            let cancel = if kind == Kind::Readiness { cancel.clone() } else { replacing.clone() };
            tokio::spawn(async move { cancel.run_until_cancelled(task.run()).await });
        }
        Probed { findings, _running: cancel.drop_guard(), replacing: Some(replacing.drop_guard()) }
    }

    /// The findings of each running container, by CRI id.
    pub fn health(&self, observed: &Observed) -> HashMap<String, Health> {
        let running = observed.instances.iter().filter(|instance| instance.life == Life::Running);
        running
            .map(|instance| {
                let health = match self.probed.get(&instance.id) {
                    Some(probed) => {
                        let started = *probed.findings.started.borrow();
                        Health { started, ready: started && *probed.findings.ready.borrow() }
                    }
                    // A pod that ends has no probes after a restart of the agent.
                    None => self.adopted.get(&instance.id).copied().unwrap_or(Health { started: true, ready: true }),
                };
                (instance.id.clone(), health)
            })
            .collect()
    }

    /// Containers that probes want replaced, by CRI id.
    pub fn condemned(&self) -> HashMap<String, Condemned> {
        let all = self.probed.iter();
        all.filter_map(|(id, probed)| Some((id.clone(), probed.findings.condemned.lock().clone()?))).collect()
    }

    /// Ends liveness and startup probes and forgets what they have said: the pod is ending. Readiness is probed on.
    pub fn end(&mut self) {
        for probed in self.probed.values_mut() {
            probed.replacing = None;
            *probed.findings.condemned.lock() = None;
        }
    }
}
