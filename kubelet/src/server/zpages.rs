//! `/statusz`, `/flagz` and `/configz`: what runs here, with which flags, and how the agent is set.

use std::collections::BTreeMap;

use api::zpages::{self, About};
use http::HeaderMap;
use http::header::ACCEPT;
use jiff::Timestamp;
use metrics::process;
use serde_json::{Value, json};

use super::Node;

/// The agent's name on the pages.
const COMPONENT: &str = "kubelet";
/// The paths that help who debugs.
const PATHS: [&str; 6] = ["/configz", "/flagz", "/healthz", "/metrics", "/pods", "/statusz"];

/// Whether a client takes text, which is all that the pages are on a node.
pub(super) fn takes_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let fits = |clause: &str| {
        let (media_type, parameters) = clause.split_once(';').unwrap_or((clause, ""));
        // Of a version there is no text.
        matches!(media_type.trim(), "text/plain" | "text/*" | "*/*") && !parameters.contains("as=")
    };
    accept.trim().is_empty() || accept.split(',').any(fits)
}

/// The page of `/statusz`.
pub(super) fn statusz(node: &Node) -> String {
    let now = node.clock.now();
    let started = process::started().and_then(|seconds| Timestamp::from_second(seconds as i64).ok()).unwrap_or(now);
    let about = About {
        up_seconds: now.duration_since(started).as_secs().max(0),
        started,
        program: node.about.program.clone(),
        binary: node.about.version.clone(),
        emulation: node.about.version.clone(),
        paths: PATHS.map(str::to_owned).to_vec(),
    };
    zpages::statusz(COMPONENT, &about, chance(node))
}

/// The page of `/flagz`.
pub(super) fn flagz(node: &Node) -> String {
    let flags: BTreeMap<&str, &str> =
        node.about.flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    zpages::flagz(COMPONENT, &flags, chance(node))
}

fn chance(node: &Node) -> u8 {
    node.clock.random_bits() as u8
}

/// The object of `/configz`: what of a `KubeletConfiguration` the agent is set to.
pub(super) fn configz(config: &crate::Config) -> Value {
    let dns: Vec<String> = config.cluster_dns.iter().map(ToString::to_string).collect();
    json!({"kubeletconfig": {
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {},
        },
        "authorization": {"mode": "Webhook"},
        "allowedUnsafeSysctls": config.allowed_unsafe_sysctls,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": config.cgroup_root,
        "clusterDNS": dns,
        "clusterDomain": config.cluster_domain,
        "containerRuntimeEndpoint": format!("unix://{}", config.socket.display()),
        "maxPods": config.max_pods,
        "podLogsDir": config.log_dir,
        "port": config.server_port,
        "resolvConf": config.resolv_conf,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_for_those_who_take_it() {
        let check = |accept: &str, expected| {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().expect("a value"))]);
            assert_eq!(takes_text(&headers), expected, "{accept}");
        };
        check("", true);
        check("text/plain", true);
        check("application/json, */*", true);
        check("application/json", false);
        check("application/json;g=config.k8s.io;v=v1alpha1;as=Statusz", false);
        check("text/plain;as=Statusz", false);
    }
}
