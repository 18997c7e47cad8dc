//! This machine as a node: containerd, pod network, DNS, service rules and the node agent.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::UserInfo;
use client::{Informers, SeriesRecorder};
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

use super::control_plane::ControlPlane;
use crate::config::ClusterConfig;
use crate::error::Error;
use crate::layout::{DOMAIN, Layout, NodeRecord, RESOLV_CONF};
use crate::service_addresses;

/// What lives as long as the node's agent.
pub struct Node {
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
    pub async fn start(
        config: &ClusterConfig,
        listener: TcpListener,
        plane: &ControlPlane,
        tasks: &TaskTracker,
        token: &CancellationToken,
        failed: watch::Sender<Option<String>>,
    ) -> Result<Self, Error> {
        let data_dir = config.data_dir.as_deref();
        let data_dir = data_dir.ok_or_else(|| Error::usage("a node needs a data directory"))?;
        let undo = Undo::before(config, Layout::new(data_dir))?;
        match start(config, listener, plane, &undo, token).await {
            Ok((agent, client, directory, parts)) => {
                let (never_ran, end) = (Arc::new(AtomicBool::new(false)), token.clone());
                let note = never_ran.clone();
                tasks.spawn(async move {
                    // It fails at its start only; what goes wrong later is told on the node and its pods.
                    if let Err(error) = kubelet::run(agent, client, directory, end).await {
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
    pub fn never_ran(&self) -> bool {
        self.never_ran.load(Ordering::Relaxed)
    }

    /// Takes the node away after its start has failed, if it was not there before.
    pub async fn undo(self) {
        let undo = self.undo;
        // Nobody starts containerd again.
        drop(self._containerd);
        undo.run().await;
    }
}

type Parts = (Containerd, Dns, Proxy, Server);

async fn start(
    config: &ClusterConfig,
    listener: TcpListener,
    plane: &ControlPlane,
    undo: &Undo,
    token: &CancellationToken,
) -> Result<(kubelet::Config, kube::Client, Directory, Parts), Error> {
    let (layout, network) = (&undo.layout, undo.network.clone());
    let containerd = layout.containerd()?;
    let socket = config.containerd.clone().unwrap_or_else(|| containerd.address());
    layout.record(&NodeRecord {
        pod_cidr: config.pod_cidr,
        service_cidr: config.service_cidr,
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
    let agent = agent(config, plane, layout, runtime.address());
    agent.metrics.agent.register(Arc::new(apiserver::Build));
    let server = serve(config, listener, plane, &agent, directory.clone(), token.clone()).await?;
    let user = UserInfo::new(format!("system:node:{}", config.node_name), &["system:nodes"]);
    let client = plane.client(user);
    // Service rules and DNS read every service: as kube-proxy, which may, not as the node.
    let wide =
        Informers::new(plane.client(UserInfo::new("system:kube-proxy", &[])), plane.clock.clone(), token.clone());
    let IpAddr::V4(service_ip) = service_addresses::dns_address(&config.service_cidr)? else {
        return Err(Error::usage("--service-cidr: services have IPv4 addresses only on a node, so far"));
    };
    let settings = dns::Config {
        listen: SocketAddr::new(network.gateway().into(), 0),
        service_ip,
        domain: DOMAIN.into(),
        resolv_conf: PathBuf::from(RESOLV_CONF),
    };
    let dns = Dns::start(settings, &wide, token.clone()).await.map_err(|error| Error::part("DNS", error))?;
    let answering = match dns.address() {
        SocketAddr::V4(address) => Some((service_ip, address)),
        SocketAddr::V6(_) => None::<(std::net::Ipv4Addr, SocketAddrV4)>,
    };
    plane.server.registry().state().set_agent(config.node_name.clone(), server.address());
    let frame = Frame { network, dns: answering };
    let events = SeriesRecorder::start(
        plane.client(UserInfo::new("system:kube-proxy", &[])),
        "kube-proxy",
        &config.node_name,
        plane.clock.clone(),
        token.clone(),
    );
    let settings = proxy::Config { frame, node_name: config.node_name.clone(), metrics: agent.metrics.agent.clone() };
    let proxy = Proxy::start(settings, &wide, events, token.clone());
    let agent = kubelet::Config { server_port: server.address().port(), ..agent };
    Ok((agent, client, directory, (runtime, dns, proxy, server)))
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
    fn before(config: &ClusterConfig, layout: Layout) -> Result<Self, Error> {
        let network = layout.network(&config.pod_cidr, &config.service_cidr)?;
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
        self.layout.forget()
    }
}

/// The node server, with a certificate of the cluster's authority for the node's address.
async fn serve(
    config: &ClusterConfig,
    listener: TcpListener,
    plane: &ControlPlane,
    agent: &kubelet::Config,
    directory: Directory,
    token: CancellationToken,
) -> Result<Server, Error> {
    let made = |error| Error::part("certificates", error);
    let serving = plane.pki.node_serving(&agent.node_name, &[plane.advertised], plane.clock.now()).map_err(made)?;
    let version = apiserver::documents::version();
    let part = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
    let settings = server::Config {
        listener,
        node_name: agent.node_name.clone(),
        certificate: serving,
        client_ca_pem: plane.pki.authority_pem().to_owned(),
        about: server::About {
            program: part("goVersion"),
            version: format!("{}.{}", part("major"), part("minor")),
            flags: config.flags.iter().cloned().collect(),
            ..server::About::of(agent)
        },
    };
    let cri = Cri::connect(&agent.socket).await.map_err(|error| Error::part("container runtime", error))?;
    let client = plane.client(UserInfo::new(format!("system:node:{}", agent.node_name), &["system:nodes"]));
    Server::start(settings, directory, cri, client, plane.clock.clone(), token)
        .await
        .map_err(|error| Error::part("node server", error))
}

fn agent(config: &ClusterConfig, plane: &ControlPlane, layout: &Layout, socket: &std::path::Path) -> kubelet::Config {
    kubelet::Config {
        node_name: config.node_name.clone(),
        node_ip: plane.advertised,
        server_port: config.node_port,
        allowed_unsafe_sysctls: config.allowed_unsafe_sysctls.clone(),
        cluster_dns: service_addresses::dns_address(&config.service_cidr).into_iter().collect(),
        clock: plane.clock.clone(),
        ..layout.agent(socket)
    }
}
