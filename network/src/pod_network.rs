//! The pod network of one node: a bridge, addresses from the pod CIDR, and the way out.
//!
//! Pods hang on a bridge of the cluster's own, made here with the gateway address so that it exists before the first
//! pod does (the cluster's DNS listens on it). The reference CNI plugins do the rest: `bridge` with `host-local`
//! addresses, and `portmap` for host ports. Everything carries the cluster's name, so clusters on one machine do not meet;
//! their pod and service CIDRs must differ too, because the machine has one routing table.

mod cni;
mod ranges;
mod teardown;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use ipnet::Ipv4Net;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use ranges::BRIDGE_PREFIX;
pub use ranges::{Route, collisions, routes};
pub use teardown::teardown;

/// The name of every cluster's nftables table begins with this.
pub(crate) const TABLE_PREFIX: &str = "coracle-";
/// The kernel's limit on the name of a link (IFNAMSIZ less the final zero).
const LINK_NAME_BYTES_MAX: usize = 15;
/// Directories in which distributions put the CNI plugins.
const PLUGIN_DIRECTORIES: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
/// The plugins that the configuration names.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// Why the pod network cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plugins are not installed.
    #[error("the CNI plugins {PLUGINS:?} are in none of {PLUGIN_DIRECTORIES:?}: install containernetworking-plugins")]
    NoPlugins,
    /// The pod CIDR leaves no address for pods.
    #[error("the pod CIDR {0} is too small: it must have room for a gateway and pods (/29 or larger)")]
    TooSmall(Ipv4Net),
    /// Pods of an earlier start hang on the bridge.
    #[error(
        "the bridge {bridge} has pods with addresses of {range}: say --pod-cidr {range}, or run `coracle down` before \
         the cluster gets {wanted}"
    )]
    InUse {
        /// The bridge.
        bridge: String,
        /// The addresses that the pods have.
        range: Ipv4Net,
        /// The addresses that were asked for.
        wanted: Ipv4Net,
    },
    /// A file cannot be written.
    #[error("network: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("network: {command}: {message}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// Its words, or those of the system.
        message: String,
    },
}

/// The pod network of one cluster's node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's name on this machine.
    pub id: String,
    /// The addresses of this node's pods.
    pub pod_cidr: Ipv4Net,
    /// The addresses of services, which the host reaches by way of the bridge even without a default route.
    pub service_cidr: Ipv4Net,
    /// Where the CNI configuration, its cache and the address leases are kept.
    pub directory: PathBuf,
}

impl Config {
    /// The name of the cluster's bridge: `cor-ID`, or with a hash where that is too long for a link.
    #[must_use]
    pub fn bridge(&self) -> String {
        let plain = format!("{BRIDGE_PREFIX}{}", self.id);
        let fits = plain.len() <= LINK_NAME_BYTES_MAX && self.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if fits {
            return plain;
        }
        let hash = Sha256::digest(self.id.as_bytes());
        format!("{BRIDGE_PREFIX}{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
    }

    /// The name of the cluster's nftables table.
    #[must_use]
    pub fn table(&self) -> String {
        let name: String = self.id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{TABLE_PREFIX}{name}")
    }

    /// The bridge's own address, the first of the CIDR: the pods' gateway.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        let first = u32::from(self.pod_cidr.network()).saturating_add(1);
        Ipv4Addr::from(first)
    }

    /// The directory of the CNI configuration.
    #[must_use]
    pub fn cni_conf_dir(&self) -> PathBuf {
        self.directory.join("net.d")
    }

    fn lease_dir(&self) -> PathBuf {
        self.directory.join("leases")
    }
}

/// The directory that holds the CNI plugins.
///
/// # Errors
/// [`Error::NoPlugins`] if none has all of them.
pub fn plugin_dir() -> Result<PathBuf, Error> {
    let mut candidates = PLUGIN_DIRECTORIES.iter().map(Path::new);
    let found = candidates.find(|directory| PLUGINS.iter().all(|plugin| directory.join(plugin).exists()));
    found.map(Path::to_path_buf).ok_or(Error::NoPlugins)
}

/// Whether the cluster's bridge is there: then its pods may be, too.
#[must_use]
pub fn exists(config: &Config) -> bool {
    link_exists(&config.bridge())
}

/// Makes the bridge, the CNI configuration, the kernel settings and the rule that lets pods reach the outside.
///
/// # Errors
/// If a plugin is missing or the system refuses one of these.
pub fn setup(config: &Config) -> BoxFuture<'_, Result<(), Error>> {
    Box::pin(async move {
        plugin_dir()?;
        if config.pod_cidr.prefix_len() > 29 {
            return Err(Error::TooSmall(config.pod_cidr));
        }
        ranges::settle(config).await?;
        let directory = config.cni_conf_dir();
        files::private::directory(&directory).map_err(|source| Error::File { path: directory.clone(), source })?;
        let path = directory.join("10-coracle.conflist");
        let text = cni::conflist(config);
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            files::private::write(&path, text.as_bytes()).map_err(|source| Error::File { path, source })?;
        }
        make_bridge(config).await?;
        kernel_settings(&config.bridge())?;
        crate::nft::apply(&base_rules(config))
            .await
            .map_err(|error| Error::Command { command: "nft".into(), message: error.to_string() })
    })
}

/// Makes the bridge if it is not there. `replace` keeps what another life of the agent made.
async fn make_bridge(config: &Config) -> Result<(), Error> {
    let bridge = config.bridge();
    if !link_exists(&bridge) {
        run("ip", &["link", "add", &bridge, "type", "bridge"]).await?;
    }
    let address = format!("{}/{}", config.gateway(), config.pod_cidr.prefix_len());
    run("ip", &["address", "replace", &address, "dev", &bridge]).await?;
    run("ip", &["link", "set", &bridge, "up"]).await?;
    // Before the output rules can translate a service address, the kernel must find some route to it.
    let (services, gateway) = (config.service_cidr.trunc().to_string(), config.gateway().to_string());
    run("ip", &["route", "replace", &services, "dev", &bridge, "src", &gateway]).await
}

fn link_exists(name: &str) -> bool {
    use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
    socket(AddressFamily::INET, SocketType::DGRAM, None).is_ok_and(|socket| name_to_index(&socket, name).is_ok())
}

/// Packets are forwarded, and those that cross the bridge pass the service rules: without that the answer of a pod
/// to its neighbour, which called it by a service address, would go past the translation.
///
/// The bridge may carry packets that came from 127.0.0.1 before their source was rewritten, so that a node port answers
/// there too; the table drops what arrives from pods for such addresses.
fn kernel_settings(bridge: &str) -> Result<(), Error> {
    for setting in ["ip_forward".to_owned(), format!("conf/{bridge}/route_localnet")] {
        let path = Path::new("/proc/sys/net/ipv4").join(setting);
        set(&path).map_err(|source| Error::File { path, source })?;
    }
    let bridged = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if !bridged.exists() {
        let _ = std::process::Command::new("modprobe").arg("br_netfilter").status();
    }
    tracking(Path::new("/proc/sys/net/netfilter"));
    if let Err(error) = set(bridged) {
        tracing::warn!(%error, "no br_netfilter: pods reach service addresses only if served from another node");
    }
    Ok(())
}

/// The limits of connection tracking that kube-proxy asks for in its default configuration; a machine that allows more keeps that. A client
/// that waits for the other side to close is not forgotten after the kernel's minute.
const TRACKING_MIN: [(&str, u64); 3] = [
    ("nf_conntrack_tcp_timeout_close_wait", 3_600),
    ("nf_conntrack_tcp_timeout_established", 86_400),
    ("nf_conntrack_max", 131_072),
];

fn tracking(directory: &Path) {
    for (name, least) in TRACKING_MIN {
        let path = directory.join(name);
        let raised = fs::read_to_string(&path).and_then(|text| match text.trim().parse::<u64>() {
            Ok(now) if now < least => fs::write(&path, least.to_string()),
            _ => Ok(()),
        });
        if let Err(error) = raised {
            tracing::debug!(name, %error, "connection tracking keeps the kernel's own limit");
        }
    }
}

fn set(path: &Path) -> std::io::Result<()> {
    if fs::read_to_string(path)?.trim() == "1" { Ok(()) } else { fs::write(path, "1") }
}

/// The part of the cluster's table that the pod network needs: pods leave the node with its address.
#[must_use]
pub fn base_rules(config: &Config) -> String {
    let (table, cidr, bridge) = (config.table(), config.pod_cidr.trunc(), config.bridge());
    format!(
        "add table ip {table}
add chain ip {table} outside {{ type nat hook postrouting priority srcnat + 5; }}
flush chain ip {table} outside
add rule ip {table} outside ip saddr {cidr} ip daddr != {{ {cidr}, 224.0.0.0/4 }} oifname != \"{bridge}\" masquerade
"
    )
}

/// Runs a program to its end.
async fn run(program: &str, arguments: &[&str]) -> Result<(), Error> {
    let failed = |message: String| Error::Command { command: format!("{program} {}", arguments.join(" ")), message };
    let output = Command::new(program).args(arguments).output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests;
