//! The ports and ranges of addresses that a cluster takes of the machine. All of it is taken, or named with what to say
//! instead, before anything is started.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::TcpListener;

use crate::config::ClusterConfig;
use crate::error::Error;
use crate::layout::Layout;

/// How often a port that is taken is tried.
const TRIES_MAX: usize = 25;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(40);

/// The ports that a cluster has.
pub(super) struct Reserved {
    /// Where the API server listens.
    pub api: TcpListener,
    /// Where the node's server listens.
    pub node: Option<TcpListener>,
    /// The address that nodes and pods reach both at.
    pub advertised: IpAddr,
}

impl Reserved {
    /// Takes the ports and looks at the ranges.
    ///
    /// # Errors
    /// All that is taken by others, a line each.
    pub(super) async fn of(config: &ClusterConfig) -> Result<Self, Error> {
        let advertised = advertised(config.bind);
        let api = listen("--port", SocketAddr::new(config.bind, config.port));
        let mut complaints = Vec::new();
        let (api, node) = if config.agent {
            let node = listen("--node-port", SocketAddr::new(advertised, config.node_port));
            let (api, node) = tokio::join!(api, node);
            (api, node.map(Some))
        } else {
            (api.await, Ok(None))
        };
        let mut or_complain = |taken: Result<_, String>| taken.map_err(|why| complaints.push(why)).ok();
        let api = or_complain(api.map(Some)).flatten();
        let node = or_complain(node).flatten();
        if config.agent {
            complaints.extend(collisions(config).await?);
        }
        match api {
            Some(api) if complaints.is_empty() => Ok(Self { api, node, advertised }),
            _ => Err(Error::usage(complaints.join("\n"))),
        }
    }
}

/// Takes a port. The kernel may hold that of a server which was killed just now for a moment longer.
async fn listen(flag: &str, address: SocketAddr) -> Result<TcpListener, String> {
    let mut tries = 1;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries < TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                let port = address.port();
                return Err(format!("port {port} is taken: say {flag} PORT, or {flag} 0 for a free one"));
            }
            Err(error) => return Err(format!("cannot listen on {address} ({flag}): {error}")),
        }
    }
}

async fn collisions(config: &ClusterConfig) -> Result<Vec<String>, Error> {
    let data_dir = config.data_dir.as_deref().ok_or_else(|| Error::usage("a node needs a data directory"))?;
    let network = Layout::new(data_dir).network(&config.pod_cidr, &config.service_cidr)?;
    let routes = network::pod_network::routes().await.map_err(|error| Error::part("network", error))?;
    Ok(network::pod_network::collisions(&network, &routes))
}

/// The address of this machine that others reach: the one that packets to the outside would come from.
fn advertised(bind: IpAddr) -> IpAddr {
    if !bind.is_unspecified() {
        return bind;
    }
    // Connecting a datagram socket asks the routing table and sends nothing.
    let found = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    found.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}
