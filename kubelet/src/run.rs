//! The node agent as a whole: from the runtime's socket to one worker a pod.

use std::{collections::HashMap, sync::Arc, time::Duration};

use client::{Change, EventRecorder, Informer, Selection, informer::drop_managed_fields};
use futures::{StreamExt, future::BoxFuture};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client};
use metrics::Counter;
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{Admission, sysctls::Sysctls},
    agent::Agent,
    config::Config,
    cri::{self, Cri},
    devices::{self, Devices},
    directory::Directory,
    eviction, figures,
    images::{self, Images},
    labels, log_rotation,
    machine::Machine,
    node::NodeObject,
    orphans, plugins, pod,
    pod_resources::{self, Lister},
    references::References,
    runtime_events::{self, RuntimeEvent},
    stock_directory,
    worker::{self, Handle},
};

/// Pause before the runtime's events are subscribed to again.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_millis(200);

/// Why the node agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime cannot be used.
    #[error(transparent)]
    Runtime(#[from] cri::Error),
    /// The pause image cannot be imported.
    #[error("cannot import the pause image: {0}")]
    Pause(#[from] images::ImportError),
    /// What is known of the devices of pods cannot be read.
    #[error("{0}")]
    Devices(String),
    /// A pattern of kernel parameters is not valid.
    #[error("--allowed-unsafe-sysctls: {0}")]
    Sysctls(String),
    /// A directory cannot be made.
    #[error("cannot make {path}: {source}")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

/// The workers of this node, by the UID of their pod.
#[derive(Clone)]
struct Workers {
    agent: Arc<Agent>,
    handles: Arc<Mutex<HashMap<String, Handle>>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Workers {
    fn change(&self, change: &Change<Pod>) {
        let pod = change.object();
        let uid = pod::uid(pod);
        self.agent.admission.note(change);
        let mut handles = self.handles.lock();
        match (change, handles.get(uid)) {
            (Change::Deleted(_), Some(handle)) => handle.gone(),
            (Change::Deleted(_), None) => {}
            (_, Some(handle)) => handle.update(pod.clone()),
            (Change::Added(_), None) => {
                handles.insert(uid.to_owned(), self.start(pod.clone()));
            }
            // The worker has done its work and the object is about to go.
            (Change::Updated { .. }, None) => {}
        }
    }

    fn start(&self, pod: Arc<Pod>) -> Handle {
        let (handles, uid) = (self.handles.clone(), pod::uid(&pod).to_owned());
        let ended = move || {
            handles.lock().remove(&uid);
        };
        let (handle, future) = worker::spawn(self.agent.clone(), pod, ended);
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move { cancel.run_until_cancelled(future).await });
        handle
    }

    fn evict(&self, uid: &str, excess: eviction::Excess) {
        if let Some(handle) = self.handles.lock().get(uid) {
            handle.wake().evict(excess);
        }
    }

    fn wake_all(&self) {
        for handle in self.handles.lock().values() {
            handle.wake().wake();
        }
    }

    async fn exited(&self, id: &str) {
        let uid = match self.agent.directory.uid_of(id) {
            Some(uid) => Some(uid),
            None => self.ask_owner(id).await,
        };
        if let Some(handle) = uid.and_then(|uid| self.handles.lock().get(&uid).map(|handle| handle.wake().clone())) {
            handle.exited(id);
        }
    }

    /// The pod that the runtime says a container or sandbox belongs to.
    async fn ask_owner(&self, id: &str) -> Option<String> {
        let labels = match self.agent.cri.container_status(id).await {
            Ok(status) => status.labels,
            Err(_) => self.agent.cri.sandbox_status(id).await.ok()?.labels,
        };
        labels.get(labels::POD_UID).cloned()
    }
}

/// Runs the node agent until cancelled. Pods keep running when it ends, and are adopted when it starts again.
///
/// `client` must have the identity `system:node:NAME`; `directory` is shared with the node server.
///
/// # Errors
/// When the runtime cannot be used at all; what goes wrong later is reported on the node and its pods.
pub fn run(
    config: Config,
    client: Client,
    directory: Directory,
    cancel: CancellationToken,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let of_root = ["", "pods", plugins::DIRECTORY, pod_resources::DIRECTORY].map(|name| config.root_dir.join(name));
        for path in of_root.into_iter().chain([config.log_dir.clone()]) {
            files::private::directory(&path).map_err(|source| Error::Directory { path, source })?;
        }
        if let Err(error) = stock_directory::show(&config.root_dir, &config.stock_dir) {
            let own = config.root_dir.display();
            tracing::warn!(%error, "drivers must be told to use {own}: it is not seen where their manifests expect it");
        }
        let cancel = cancel.child_token();
        let _ends_all = cancel.clone().drop_guard();
        let handles: Arc<Mutex<HashMap<String, Handle>>> = Arc::default();
        let agent = Arc::new(agent(config, client, directory, handles.clone(), cancel.clone()).await?);
        let node = Arc::new(NodeObject::new(agent.clone()));
        let registration = cancel.run_until_cancelled(async {
            let started = agent.config.clock.elapsed();
            node.register().await;
            let took = agent.config.clock.elapsed().saturating_sub(started).as_secs_f64();
            agent.figures.registration.with([], |gauge| gauge.set(took));
        });
        let (pause, _) = tokio::join!(import_pause(&agent), registration);
        pause?;
        let workers = Workers { agent: agent.clone(), handles, tasks: TaskTracker::new(), cancel: cancel.clone() };
        let selection = Selection { fields: Some(format!("spec.nodeName={}", agent.config.node_name)), labels: None };
        let pods: Informer<Pod> = Informer::start(
            Api::all(agent.client.clone()),
            selection,
            drop_managed_fields,
            agent.config.clock.clone(),
            cancel.clone(),
        );
        let events = follow_runtime(workers.clone(), node.clone());
        let on_change = workers.clone();
        pods.on_change(move |change| on_change.change(change));
        let orphans = async {
            pods.wait_synced().await;
            let known = workers.handles.lock().keys().cloned().collect();
            orphans::remove(&agent, known).await;
            agent.devices.reconcile(|uid| workers.handles.lock().contains_key(uid)).await;
        };
        agent.devices.drivers.wipe_all();
        let drivers: Arc<dyn plugins::Handler> = Arc::new(agent.devices.drivers.clone());
        let handlers = plugins::Handlers::from([(devices::PLUGIN_TYPE, drivers)]);
        let registry = agent.config.root_dir.join(plugins::DIRECTORY);
        let told = agent.config.root_dir.join(pod_resources::DIRECTORY);
        let lister = Lister::new(
            agent.directory.clone(),
            agent.devices.clone(),
            agent.config.clock.clone(),
            agent.config.metrics.agent.families(),
        );
        tokio::select! {
            () = cancel.cancelled() => {}
            () = events => {}
            () = node.keep(cancel.clone()) => {}
            () = orphans => {}
            () = log_rotation::keep(agent.clone()) => {}
            () = lister.keep(&told) => {}
            () = plugins::keep(registry, handlers, agent.config.clock.clone()) => {}
            () = eviction::keep(agent.clone(), |uid, excess| workers.evict(uid, excess)) => {}
        }
        cancel.cancel();
        workers.tasks.close();
        workers.tasks.wait().await;
        Ok(())
    })
}

fn agent(
    config: Config,
    client: Client,
    directory: Directory,
    handles: Arc<Mutex<HashMap<String, Handle>>>,
    cancel: CancellationToken,
) -> BoxFuture<'static, Result<Agent, Error>> {
    Box::pin(async move {
        let figures: Arc<figures::Agent> = config.metrics.agent.families();
        let runtime = config.metrics.agent.families();
        let cri = Cri::connect(&config.socket).await?.watched(runtime, config.clock.clone());
        let recorder = EventRecorder::start(
            client.clone(),
            "kubelet",
            Some(config.node_name.clone()),
            config.clock.clone(),
            cancel.clone(),
        );
        let services: Informer<Service> = Informer::start(
            Api::all(client.clone()),
            Selection::default(),
            drop_managed_fields,
            config.clock.clone(),
            cancel.clone(),
        );
        let wake = move |uid: &str| {
            if let Some(handle) = handles.lock().get(uid) {
                handle.wake().wake();
            }
        };
        let wake: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(wake);
        let devices = Devices::load(
            &config.root_dir,
            client.clone(),
            &config.node_name,
            config.clock.clone(),
            &config.metrics.agent,
            wake.clone(),
            cancel.clone(),
        );
        let devices = devices.map_err(Error::Devices)?;
        let machine = Machine::look(&config.root_dir);
        let sysctls =
            Sysctls::new(&machine.info.kernel_version, &config.allowed_unsafe_sysctls).map_err(Error::Sysctls)?;
        Ok(Agent {
            admission: Admission::new(sysctls),
            images: Images::new(cri.clone(), recorder.clone(), config.clock.clone(), figures.clone()),
            probe_log: config.metrics.probes.families(),
            figures,
            references: References::new(client.clone(), config.clock.clone(), cancel, wake),
            devices,
            machine,
            config,
            cri,
            client,
            directory,
            recorder,
            services,
        })
    })
}

fn import_pause(agent: &Agent) -> BoxFuture<'_, Result<(), Error>> {
    Box::pin(async move {
        let cri = &agent.cri;
        if cri.image_status(images::pause::NAME).await?.is_none() {
            images::import::import_into(cri, std::io::Cursor::new(images::pause::archive()), &agent.config.clock)
                .await?;
        }
        Ok(())
    })
}

/// Passes the runtime's events on to the workers; when the stream breaks the node is looked at again.
fn follow_runtime(workers: Workers, node: Arc<NodeObject>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let figures = workers.agent.figures.clone();
        loop {
            match runtime_events::subscribe(workers.agent.cri.channel()).await {
                Err(error) => {
                    figures.subscription_errors.with([], Counter::add_one);
                    tracing::warn!(%error, "cannot subscribe to the runtime's events");
                }
                Ok(stream) => {
                    figures.subscribed.with([], Counter::add_one);
                    // What happened while nobody listened is found by looking.
                    workers.wake_all();
                    tokio::pin!(stream);
                    while let Some(event) = stream.next().await {
                        match event {
                            Ok(RuntimeEvent::Exited { id } | RuntimeEvent::OutOfMemory { id }) => {
                                workers.exited(&id).await;
                            }
                            Err(error) => tracing::warn!(%error, "the runtime's event stream broke"),
                        }
                    }
                }
            }
            node.refresh().await;
            tokio::time::sleep(RESUBSCRIBE_PAUSE).await;
            node.refresh().await;
        }
    })
}
