//! One cluster as a value: nothing is global, a hundred may live in one process.

mod control_plane;
mod join;
mod node;
mod reserve;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use std::sync::Arc;

use api::UserInfo;
use apiserver::ApiServer;
use kube::config::Kubeconfig;
use store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ClusterConfig;
use crate::error::Error;
use crate::kubeconfig;
use control_plane::ControlPlane;
use node::Node;
use reserve::Reserved;

/// A running cluster. Dropping it stops every task; [`Cluster::stop`] also waits for them and closes the store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use k8s_openapi::api::core::v1::Namespace;
///
/// let cluster = coracle::Cluster::start(coracle::ClusterConfig::in_memory()).await?;
/// let namespaces: kube::Api<Namespace> = kube::Api::all(cluster.client());
/// assert_eq!(namespaces.get("kube-system").await?.metadata.name.as_deref(), Some("kube-system"));
/// # Ok(())
/// # }
/// ```
pub struct Cluster {
    control_plane: ControlPlane,
    node: Option<Node>,
    tasks: TaskTracker,
    token: CancellationToken,
    failure: watch::Receiver<Option<String>>,
}

impl Cluster {
    /// Starts a cluster: its API server answers and is ready when this returns; the node becomes Ready in the background.
    ///
    /// # Errors
    /// What cannot be opened, bound or started, in a sentence for people.
    pub async fn start(config: ClusterConfig) -> Result<Self, Error> {
        let reserved = Reserved::of(&config).await?;
        let token = CancellationToken::new();
        // Whatever was started ends if the rest does not start.
        let guard = token.clone().drop_guard();
        let tasks = TaskTracker::new();
        let (failed, failure) = watch::channel(None);
        let control_plane = ControlPlane::start(&config, reserved.api, reserved.advertised, &tasks, &token).await?;
        tasks.spawn(tell_of_a_failed_store(control_plane.store.clone(), failed.clone(), token.clone()));
        let node = match reserved.node {
            Some(listener) => {
                let join = control_plane.join(&config, listener.local_addr()?)?;
                let clock = control_plane.clock.clone();
                Some(Node::start(&config, join, listener, clock, &tasks, &token, failed).await?)
            }
            None => None,
        };
        tasks.close();
        guard.disarm();
        Ok(Self { control_plane, node, tasks, token, failure })
    }

    /// A client of the administrator, in this process.
    pub fn client(&self) -> kube::Client {
        self.client_as(UserInfo::new("kubernetes-admin", &["system:masters"]))
    }

    /// A client of anybody, in this process.
    pub fn client_as(&self, user: UserInfo) -> kube::Client {
        client::in_process(self.control_plane.server.clone(), user, "default")
    }

    /// The API server, as a tower service.
    pub fn api_server(&self) -> &ApiServer {
        &self.control_plane.server
    }

    /// The URL under which the API server is reached from this machine.
    pub fn url(&self) -> String {
        format!("https://{}", local(self.control_plane.address))
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> Kubeconfig {
        let admin = self.control_plane.admin.current();
        let ca = self.control_plane.pki.authority_pem();
        kubeconfig::render(&self.url(), ca, &admin.certificate_pem, &admin.key_pem)
    }

    /// Has the keys of encryption read again, if they are to be followed.
    pub fn look_at_encryption(&self) {
        if let Some(encryption) = &self.control_plane.server.registry().config().encryption {
            encryption.look();
        }
    }

    /// Changes whenever certificates were renewed, the administrator's among them perhaps.
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.control_plane.renewals.clone()
    }

    /// Resolves when a part of the cluster has failed for good.
    pub async fn failed(&self) -> Error {
        let mut failure = self.failure.clone();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match failed {
            Some(reason) => Error::usage(reason),
            None => std::future::pending().await,
        }
    }

    /// Stops the cluster and closes the store. Pods of a node go on running.
    ///
    /// # Errors
    /// If the store cannot be closed cleanly.
    pub async fn stop(mut self) -> Result<(), Error> {
        let never_ran = self.node.as_ref().is_some_and(Node::never_ran);
        self.end(never_ran).await
    }

    /// Stops a cluster whose start does not come to its end. A node that was not there before goes too.
    ///
    /// # Errors
    /// As [`Cluster::stop`].
    pub async fn abandon(mut self) -> Result<(), Error> {
        self.end(true).await
    }

    async fn end(&mut self, undo: bool) -> Result<(), Error> {
        self.token.cancel();
        self.tasks.wait().await;
        if let Some(audit) = &self.control_plane.server.registry().config().audit {
            audit.flush().await;
        }
        if let Some(node) = self.node.take().filter(|_| undo) {
            node.undo().await;
        }
        self.control_plane.store.close().await?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

/// A store that has stopped accepts no write any more, and only a new process can tell what is on the disk.
async fn tell_of_a_failed_store(
    store: Arc<dyn Store>,
    failed: watch::Sender<Option<String>>,
    token: CancellationToken,
) {
    if let Some(error) = token.run_until_cancelled(store.failed()).await {
        failed.send_replace(Some(format!("{error}; nothing that was acknowledged is lost, and a new start shows it")));
    }
}

/// An address that this machine reaches: the loopback address where the server listens on all.
fn local(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}
