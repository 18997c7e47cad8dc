//! The name resolution of a pod: the search list, name servers and options of its `resolv.conf`.

use std::path::Path;

use k8s_cri::v1::DnsConfig;
use k8s_openapi::api::core::v1::Pod;

use crate::{config::Config, pod};

/// Most name servers that resolvers look at.
const SERVERS_MAX: usize = 3;
/// Most search domains that the reference writes.
const SEARCHES_MAX: usize = 32;

/// Reads the host's own `resolv.conf`; a missing one has nothing in it.
pub async fn host(path: &Path) -> DnsConfig {
    parse(&tokio::fs::read_to_string(path).await.unwrap_or_default())
}

/// The parts of a `resolv.conf` that CRI knows.
pub fn parse(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            Some("search") => config.searches = words.map(|word| trim_dot(word).to_owned()).collect(),
            Some("options") => config.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    config
}

fn trim_dot(domain: &str) -> &str {
    if domain == "." { domain } else { domain.trim_end_matches('.') }
}

/// The DNS configuration of a pod under its policy.
pub fn for_pod(config: &Config, pod: &Pod, host: DnsConfig) -> DnsConfig {
    let spec = pod.spec.as_ref();
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let cluster = match policy {
        "None" => None,
        "ClusterFirstWithHostNet" => Some(true),
        "ClusterFirst" => Some(!pod::host_network(pod)),
        _ => Some(false),
    };
    let mut dns = match cluster {
        None => DnsConfig::default(),
        Some(true) if !config.cluster_dns.is_empty() => cluster_first(config, pod::namespace(pod), host),
        Some(_) => host,
    };
    if let Some(own) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        append_new(&mut dns.servers, own.nameservers.iter().flatten().cloned());
        append_new(&mut dns.searches, own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            dns.options.retain(|known| known.split(':').next() != Some(name));
            dns.options.push(match option.value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            });
        }
    }
    dns.servers.truncate(SERVERS_MAX);
    dns.searches.truncate(SEARCHES_MAX);
    dns
}

fn cluster_first(config: &Config, namespace: &str, host: DnsConfig) -> DnsConfig {
    let domain = &config.cluster_domain;
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    append_new(&mut searches, host.searches.into_iter());
    DnsConfig {
        servers: config.cluster_dns.iter().map(ToString::to_string).collect(),
        searches,
        options: vec!["ndots:5".to_owned()],
    }
}

fn append_new(list: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str, expected: &str) {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "n"},
            "spec": serde_json::from_str::<serde_json::Value>(spec).expect("JSON"),
        }))
        .expect("a pod");
        let host = parse("# c\nnameserver 192.0.2.1\nsearch corp.example.\noptions rotate\n");
        let config = Config {
            node_name: String::new(),
            node_ip: [127, 0, 0, 1].into(),
            server_port: 0,
            root_dir: "/".into(),
            stock_dir: "/".into(),
            log_dir: "/".into(),
            socket: "/".into(),
            resolv_conf: "/".into(),
            cluster_dns: vec![[10, 0, 0, 10].into()],
            cluster_domain: "cluster.local".into(),
            cgroup_root: String::new(),
            node_labels: Default::default(),
            max_pods: 0,
            allowed_unsafe_sysctls: Vec::new(),
            version: String::new(),
            clock: client::Clock::system(),
            metrics: Default::default(),
        };
        let dns = for_pod(&config, &pod, host);
        let text = [dns.servers.join(" "), dns.searches.join(" "), dns.options.join(" ")].join(" | ");
        assert_eq!(text, expected, "{spec}");
    }

    #[test]
    fn policies() {
        let cluster = "10.0.0.10 | n.svc.cluster.local svc.cluster.local cluster.local corp.example | ndots:5";
        let host = "192.0.2.1 | corp.example | rotate";
        check(r#"{"containers":[]}"#, cluster);
        check(r#"{"containers":[],"dnsPolicy":"ClusterFirst","hostNetwork":true}"#, host);
        check(r#"{"containers":[],"dnsPolicy":"ClusterFirstWithHostNet","hostNetwork":true}"#, cluster);
        check(r#"{"containers":[],"dnsPolicy":"Default"}"#, host);
        check(
            r#"{"containers":[],"dnsPolicy":"None","dnsConfig":{"nameservers":["1.1.1.1"],"options":[{"name":"ndots","value":"2"}]}}"#,
            "1.1.1.1 |  | ndots:2",
        );
    }
}
