//! The machine as it is before a start: addresses that are routed, and what an earlier start left on the bridge.

use futures::future::BoxFuture;
use ipnet::Ipv4Net;
use serde_json::Value;
use tokio::process::Command;

use super::{Config, Error, link_exists, run};

/// The name of every cluster's bridge begins with this.
pub(super) const BRIDGE_PREFIX: &str = "cor-";
/// The second number of the first range that is proposed; the others follow in pairs.
const PROPOSED_FIRST: u8 = 42;
/// The second number of the last range that is proposed.
const PROPOSED_LAST: u8 = 250;

/// A range of addresses that the machine routes, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The addresses.
    pub to: Ipv4Net,
    /// The link.
    pub link: String,
}

impl Route {
    /// Whether a cluster with this range and bridge would take these addresses away from others, or they from it. A range
    /// that a longer one of others holds is a cluster's to use, unless the other is a cluster as well.
    fn collides(&self, range: &Ipv4Net, bridge: &str) -> bool {
        let inside = range.contains(&self.to);
        let around = self.to.contains(range) && self.link.starts_with(BRIDGE_PREFIX);
        self.link != bridge && (inside || around)
    }
}

/// The ranges of this machine's routing table, but for the default route.
///
/// # Errors
/// If `ip` cannot be run.
pub fn routes() -> BoxFuture<'static, Result<Vec<Route>, Error>> {
    Box::pin(async move {
        let list = list(&["-json", "-4", "route", "show"]).await?;
        let route = |item: &Value| {
            let to = item["dst"].as_str()?;
            let to = to.parse().or_else(|_| to.parse::<std::net::Ipv4Addr>().map(Ipv4Net::from)).ok()?;
            Some(Route { to, link: item["dev"].as_str().unwrap_or_default().to_owned() })
        };
        Ok(list.iter().filter_map(route).collect())
    })
}

/// Why a cluster cannot have its ranges: a line for each, with what to say instead. Nothing is changed.
#[must_use]
pub fn collisions(config: &Config, routes: &[Route]) -> Vec<String> {
    let bridge = config.bridge();
    let ranges = [("--pod-cidr", config.pod_cidr.trunc()), ("--service-cidr", config.service_cidr.trunc())];
    let mut complaints = Vec::new();
    let [pods, services] = [ranges[0].1, ranges[1].1];
    if pods.contains(&services) || services.contains(&pods) {
        complaints.push(format!("--pod-cidr {pods} and --service-cidr {services} overlap: say two ranges that do not"));
    }
    let mut proposed = proposals(routes, &bridge);
    for (flag, range) in ranges {
        let Some(taken) = routes.iter().find(|route| route.collides(&range, &bridge)) else { continue };
        let whose = match taken.link.strip_prefix(BRIDGE_PREFIX) {
            Some(_) => format!("{}, the bridge of another cluster", taken.link),
            None => taken.link.clone(),
        };
        let instead = proposed.next().map_or_else(|| "a free range".to_owned(), |range| range.to_string());
        complaints.push(format!("{flag} {range}: this machine routes {} to {whose}; say {flag} {instead}", taken.to));
    }
    complaints
}

/// Ranges that are free, the usual ones first.
fn proposals<'a>(routes: &'a [Route], bridge: &'a str) -> impl Iterator<Item = Ipv4Net> + 'a {
    let range = |second: u8| Ipv4Net::new(std::net::Ipv4Addr::new(10, second, 0, 0), 16).ok();
    let ranges = (PROPOSED_FIRST..=PROPOSED_LAST).filter_map(range);
    ranges.filter(move |range| {
        !routes.iter().any(|route| route.collides(range, bridge) || route.to.contains(range) && route.link != bridge)
    })
}

/// Takes away what an earlier start with other ranges left on the bridge, so that only `config` is true of it.
///
/// # Errors
/// [`Error::InUse`] if pods with addresses of another range still hang on it.
pub(super) async fn settle(config: &Config) -> Result<(), Error> {
    let bridge = config.bridge();
    if !link_exists(&bridge) {
        return Ok(());
    }
    let wanted =
        Ipv4Net::new(config.gateway(), config.pod_cidr.prefix_len()).map_err(|_| Error::TooSmall(config.pod_cidr))?;
    let mut foreign = addresses(&bridge).await?;
    foreign.retain(|address| *address != wanted);
    if let Some(other) = foreign.first()
        && has_ports(&bridge).await?
    {
        return Err(Error::InUse { bridge, range: other.trunc(), wanted: config.pod_cidr.trunc() });
    }
    for address in &foreign {
        tracing::info!(bridge, %address, "an earlier start left this address on the bridge; it is removed");
        run("ip", &["address", "delete", &address.to_string(), "dev", &bridge]).await?;
    }
    if !foreign.is_empty() {
        // The leases of the other range, too: nobody holds them.
        let _ = std::fs::remove_dir_all(config.lease_dir());
    }
    let services = config.service_cidr.trunc();
    for route in list(&["-json", "-4", "route", "show", "dev", &bridge]).await? {
        let to = route["dst"].as_str().unwrap_or_default();
        if route["protocol"] != "kernel" && to != services.to_string() {
            run("ip", &["route", "delete", to, "dev", &bridge]).await?;
        }
    }
    Ok(())
}

async fn addresses(bridge: &str) -> Result<Vec<Ipv4Net>, Error> {
    let links = list(&["-json", "-4", "address", "show", "dev", bridge]).await?;
    let infos = links.iter().flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
    let address = |info: &Value| {
        let prefix = u8::try_from(info["prefixlen"].as_u64()?).ok()?;
        Ipv4Net::new(info["local"].as_str()?.parse().ok()?, prefix).ok()
    };
    Ok(infos.filter_map(address).collect())
}

async fn has_ports(bridge: &str) -> Result<bool, Error> {
    Ok(!list(&["-json", "link", "show", "master", bridge]).await?.is_empty())
}

/// The items that `ip` lists.
async fn list(arguments: &[&str]) -> Result<Vec<Value>, Error> {
    let failed = |message: String| Error::Command { command: format!("ip {}", arguments.join(" ")), message };
    let output = Command::new("ip").args(arguments).output().await.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    // Without anything to list some versions print nothing at all.
    let mut list: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    list.retain(|item| item.as_object().is_some_and(|item| !item.is_empty()));
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(routes: &[(&str, &str)], pods: &str, services: &str, expected: &[&str]) {
        let config = Config {
            id: "own".into(),
            pod_cidr: pods.parse().unwrap(),
            service_cidr: services.parse().unwrap(),
            directory: "/data".into(),
        };
        let route = |(to, link): &(&str, &str)| Route { to: to.parse().unwrap(), link: (*link).to_owned() };
        let routes: Vec<Route> = routes.iter().map(route).collect();
        assert_eq!(collisions(&config, &routes), expected, "{routes:?}");
    }

    #[test]
    fn ranges_that_are_taken_are_named_with_free_ones() {
        let (pods, services) = ("10.42.0.0/16", "10.43.0.0/16");
        check(&[], pods, services, &[]);
        check(&[("192.0.2.0/24", "eth0"), (pods, "cor-own"), (services, "cor-own")], pods, services, &[]);
        let other = "--pod-cidr 10.42.0.0/16: this machine routes 10.42.0.0/16 to cor-x, the bridge of another cluster; say --pod-cidr 10.44.0.0/16";
        let another = "--service-cidr 10.43.0.0/16: this machine routes 10.43.0.0/16 to cor-x, the bridge of another cluster; say --service-cidr 10.45.0.0/16";
        check(&[(pods, "cor-x"), (services, "cor-x")], pods, services, &[other, another]);
        let host = "--pod-cidr 10.42.0.0/16: this machine routes 10.42.3.0/24 to eth1; say --pod-cidr 10.43.0.0/16";
        check(&[("10.42.3.0/24", "eth1")], pods, "10.50.0.0/16", &[host]);
        // A private network around ours is no other's to give, but a cluster's range is.
        check(&[("10.0.0.0/8", "tun0")], pods, services, &[]);
        let inside = "--pod-cidr 10.42.7.0/24: this machine routes 10.42.0.0/16 to cor-x, the bridge of another cluster; say --pod-cidr 10.43.0.0/16";
        check(&[(pods, "cor-x")], "10.42.7.0/24", "10.50.0.0/16", &[inside]);
        let both = "--pod-cidr 10.42.0.0/16 and --service-cidr 10.42.128.0/17 overlap: say two ranges that do not";
        check(&[], pods, "10.42.128.0/17", &[both]);
    }
}
