//! This machine as a node: containerd, pod network, DNS, service rules and the node agent.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::{Clock, Informers, SeriesRecorder};
use kubelet::containerd::Containerd;
use kubelet::server::{self, Server};
use kubelet::{Cri, Directory};
use network::dns::{self, Dns};
use network::pod_network;
use network::proxy::{self, Frame, Proxy};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::join::Join;
use crate::config::ClusterConfig;
use crate::error::Error;
use crate::layout::{Layout, NodeRecord, RESOLV_CONF};

/// The parts of the node that live as long as its agent.
pub(super) struct Node {
    undo: Undo,
    /// Whether its agent could not begin.
    never_ran: Arc<AtomicBool>,
    _containerd: Containerd,
    _dns: Dns,
    _proxy: Proxy,
    _server: Server,
}

impl Node {
    /// Starts the node, whose server listens at `listener`. What a start that fails has made is taken away again.
    pub(super) async fn start(
        config: &ClusterConfig,
        join: Join,
        listener: TcpListener,
        clock: Clock,
        tasks: &TaskTracker,
        token: &CancellationToken,
        failed: watch::Sender<Option<String>>,
    ) -> Result<Self, Error> {
        let data_dir = config.data_dir.as_deref();
        let data_dir = data_dir.ok_or_else(|| Error::usage("a node needs a data directory"))?;
        let undo = Undo::before(&join, Layout::new(data_dir))?;
        match start(config, &join, listener, clock, &undo, token).await {
            Ok((agent, directory, parts)) => {
                let (never_ran, end) = (Arc::new(AtomicBool::new(false)), token.clone());
                let note = never_ran.clone();
                tasks.spawn(async move {
                    // It fails at its start only; what goes wrong later is told on the node and its pods.
                    if let Err(error) = kubelet::run(agent, join.agent, directory, end).await {
                        note.store(true, Ordering::Relaxed);
                        failed.send_replace(Some(format!("node: {error}")));
                    }
                });
                let (containerd, dns, proxy, server) = parts;
                Ok(Self { undo, never_ran, _containerd: containerd, _dns: dns, _proxy: proxy, _server: server })
            }
            Err(error) => {
                undo.run().await;
                Err(error)
            }
        }
    }

    /// Whether the node's agent could not begin, so that no pod was ever started by it.
    pub(super) fn never_ran(&self) -> bool {
        self.never_ran.load(Ordering::Relaxed)
    }

    /// Takes the node away after its start has failed, if it was not there before.
    pub(super) async fn undo(self) {
        let undo = self.undo;
        // Nobody starts containerd again.
        drop(self._containerd);
        undo.run().await;
    }
}

type Parts = (Containerd, Dns, Proxy, Server);

async fn start(
    config: &ClusterConfig,
    join: &Join,
    listener: TcpListener,
    clock: Clock,
    undo: &Undo,
    token: &CancellationToken,
) -> Result<(kubelet::Config, Directory, Parts), Error> {
    let (layout, network) = (&undo.layout, undo.network.clone());
    let containerd = layout.containerd()?;
    let socket = config.containerd.clone().unwrap_or_else(|| containerd.address());
    layout.record(&NodeRecord {
        pod_cidr: join.pod_cidr,
        service_cidr: join.service_cidr,
        own_containerd: config.containerd.is_none(),
        socket,
    })?;
    let runtime = async {
        match &config.containerd {
            Some(address) => Containerd::at(address).await,
            None => Containerd::start(containerd).await,
        }
    };
    let (runtime, pods) = tokio::join!(runtime, pod_network::setup(&network));
    pods.map_err(|error| Error::part("network", error))?;
    let runtime = runtime.map_err(|error| Error::part("containerd", error))?;
    let directory = Directory::default();
    let agent = kubelet::Config {
        node_name: join.node_name.clone(),
        node_ip: join.address,
        server_port: listener.local_addr()?.port(),
        allowed_unsafe_sysctls: config.allowed_unsafe_sysctls.clone(),
        cluster_dns: vec![join.dns],
        cluster_domain: join.domain.clone(),
        clock: clock.clone(),
        ..layout.agent(runtime.address())
    };
    agent.metrics.agent.register(Arc::new(apiserver::Build));
    let server = serve(config, join, listener, &agent, directory.clone(), token.clone()).await?;
    let informers = Informers::new(join.services.clone(), clock.clone(), token.clone());
    let (dns, frame) = answer_names(join, network, &informers, token).await?;
    let events = SeriesRecorder::start(join.services.clone(), "kube-proxy", &join.node_name, clock, token.clone());
    let settings = proxy::Config { frame, node_name: join.node_name.clone(), metrics: agent.metrics.agent.clone() };
    let proxy = Proxy::start(settings, &informers, events, token.clone());
    Ok((agent, directory, (runtime, dns, proxy, server)))
}

/// Starts DNS on the pods' gateway, and tells the fixed part of the service rules, which lead there.
async fn answer_names(
    join: &Join,
    network: pod_network::Config,
    informers: &Informers,
    token: &CancellationToken,
) -> Result<(Dns, Frame), Error> {
    let IpAddr::V4(service_ip) = join.dns else {
        return Err(Error::usage("--service-cidr: services have IPv4 addresses only on a node, so far"));
    };
    let settings = dns::Config {
        listen: SocketAddr::new(network.gateway().into(), 0),
        service_ip,
        domain: join.domain.clone(),
        resolv_conf: PathBuf::from(RESOLV_CONF),
    };
    let dns = Dns::start(settings, informers, token.clone()).await.map_err(|error| Error::part("DNS", error))?;
    let answering = match dns.address() {
        SocketAddr::V4(address) => Some((service_ip, address)),
        SocketAddr::V6(_) => None,
    };
    Ok((dns, Frame { network, dns: answering }))
}

/// How things were before the node started.
struct Undo {
    layout: Layout,
    network: pod_network::Config,
    /// Whether the machine was a node of this cluster, so that its pods may run.
    was_there: bool,
    record: Option<NodeRecord>,
}

impl Undo {
    fn before(join: &Join, layout: Layout) -> Result<Self, Error> {
        let network = layout.network(&join.pod_cidr, &join.service_cidr)?;
        let (was_there, record) = (layout.node_is_there(&network), layout.recorded());
        Ok(Self { layout, network, was_there, record })
    }

    /// Brings that back: a machine that was no node has no bridge, no rules and no containerd again. What goes wrong is
    /// told; the next start, or `coracle down`, finds it.
    async fn run(self) {
        let result = if self.was_there { self.restore() } else { self.remove().await };
        if let Err(error) = result {
            tracing::warn!(%error, "not all that the failed start has made could be taken away");
        }
    }

    fn restore(&self) -> Result<(), Error> {
        self.record.as_ref().map_or(Ok(()), |record| self.layout.record(record))
    }

    async fn remove(&self) -> Result<(), Error> {
        let own = self.layout.recorded().is_some_and(|record| record.own_containerd);
        if own {
            let containerd = self.layout.containerd()?;
            kubelet::containerd::teardown(&containerd).await.map_err(|error| Error::part("containerd", error))?;
        }
        pod_network::teardown(&self.network).await.map_err(|error| Error::part("network", error))?;
        let agent = self.layout.agent(Path::new(""));
        kubelet::stock_directory::hide(&agent.root_dir, &agent.stock_dir)?;
        self.layout.forget()
    }
}

/// The node server.
async fn serve(
    config: &ClusterConfig,
    join: &Join,
    listener: TcpListener,
    agent: &kubelet::Config,
    directory: Directory,
    token: CancellationToken,
) -> Result<Server, Error> {
    let version = apiserver::documents::version();
    let part = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
    let settings = server::Config {
        listener,
        node_name: join.node_name.clone(),
        certificate: join.serving.clone(),
        client_ca_pem: join.client_ca_pem.clone(),
        about: server::About {
            program: part("goVersion"),
            version: format!("{}.{}", part("major"), part("minor")),
            flags: config.flags.iter().cloned().collect(),
            ..server::About::of(agent)
        },
    };
    let cri = Cri::connect(&agent.socket).await.map_err(|error| Error::part("container runtime", error))?;
    Server::start(settings, directory, cri, join.agent.clone(), agent.clock.clone(), token)
        .await
        .map_err(|error| Error::part("node server", error))
}
