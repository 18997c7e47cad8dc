//! The end of the pod network: no link, table or lease of the cluster remains.

use std::fs;
use std::io::ErrorKind;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::process::Command;

use super::{Config, Error, link_exists, run};

/// The chains that the portmap plugin leaves behind in the `nat` table.
const PORTMAP_CHAINS: [&str; 3] = ["CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"];

/// Removes the bridge with every veth on it, the cluster's table, the CNI configuration and the address leases.
/// What is gone already is no error, so it may be called after a crash and twice.
///
/// # Errors
/// If the system refuses one of these.
pub fn teardown(config: &Config) -> BoxFuture<'_, Result<(), Error>> {
    Box::pin(async move {
        let bridge = config.bridge();
        if link_exists(&bridge) {
            for port in ports(&bridge).await {
                run("ip", &["link", "delete", &port]).await?;
            }
            run("ip", &["link", "delete", &bridge]).await?;
        }
        // Deleting what was just declared works whether or not it was there.
        let table = config.table();
        crate::nft::apply(&format!("add table ip {table}\ndelete table ip {table}\n"))
            .await
            .map_err(|error| Error::Command { command: "nft".into(), message: error.to_string() })?;
        for family in ["ip", "ip6"] {
            remove_portmap_chains(family).await;
        }
        match fs::remove_dir_all(&config.directory) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(Error::File { path: config.directory.clone(), source })
            }
            _ => Ok(()),
        }
    })
}

/// The links that hang on the bridge: the outer ends of pods' links whose network was not undone.
async fn ports(bridge: &str) -> Vec<String> {
    let arguments = ["-json", "link", "show", "master", bridge];
    let Ok(output) = Command::new("ip").args(arguments).output().await else { return Vec::new() };
    let links: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    links.iter().filter_map(|link| Some(link["ifname"].as_str()?.to_owned())).collect()
}

/// The portmap plugin makes three chains at the first host port and never removes them, and for the other address family a
/// table with nothing in it. They are shared by everything on the machine that uses the plugin, so they go only when no
/// host port is left in them. A table `nat` that then has no rule and no chain of its own was made by the plugin too.
async fn remove_portmap_chains(family: &str) {
    let Some(list) = nat_table(family).await else { return };
    let rules: Vec<&Value> = list.iter().filter_map(|item| item.get("rule")).collect();
    let in_chain = |name: &str| rules.iter().filter(|rule| rule["chain"] == name).count();
    let chains: Vec<&str> = list.iter().filter_map(|item| item["chain"]["name"].as_str()).collect();
    let empty = rules.is_empty() && chains.iter().all(|chain| is_base(chain));
    if !empty && (!chains.contains(&PORTMAP_CHAINS[0]) || in_chain(PORTMAP_CHAINS[0]) > 0) {
        return;
    }
    let jumps: Vec<&&Value> = rules
        .iter()
        .filter(|rule| PORTMAP_CHAINS.iter().any(|chain| rule["expr"].to_string().contains(chain)))
        .filter(|rule| PORTMAP_CHAINS.iter().all(|chain| rule["chain"] != *chain))
        .collect();
    let ours = PORTMAP_CHAINS.iter().map(|chain| in_chain(chain)).sum::<usize>() + jumps.len();
    if ours == rules.len() && chains.iter().all(|chain| is_base(chain) || PORTMAP_CHAINS.contains(chain)) {
        let _ = crate::nft::apply(&format!("delete table {family} nat\n")).await;
        return;
    }
    let mut text = String::new();
    for rule in jumps {
        let (chain, handle) = (rule["chain"].as_str().unwrap_or_default(), &rule["handle"]);
        text.push_str(&format!("delete rule {family} nat {chain} handle {handle}\n"));
    }
    for chain in PORTMAP_CHAINS.iter().filter(|chain| chains.contains(*chain)) {
        text.push_str(&format!("flush chain {family} nat {chain}\ndelete chain {family} nat {chain}\n"));
    }
    if let Err(error) = crate::nft::apply(&text).await {
        tracing::warn!(%error, "the chains of the portmap plugin stay");
    }
}

fn is_base(chain: &str) -> bool {
    ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"].contains(&chain)
}

async fn nat_table(family: &str) -> Option<Vec<Value>> {
    let output =
        Command::new("nft").args(["--json", "--handle", "list", "table", family, "nat"]).output().await.ok()?;
    let document: Value = serde_json::from_slice(&output.stdout).ok()?;
    document["nftables"].as_array().cloned()
}
