//! Which kernel parameters a pod may set: those that concern nothing but the pod, and those that the operator allows.

use k8s_openapi::api::core::v1::Pod;

use crate::status::Verdict;

/// The kernel's namespace that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespace {
    Ipc,
    Net,
}

impl Namespace {
    fn name(self) -> &'static str {
        match self {
            Self::Ipc => "IPC",
            Self::Net => "Net",
        }
    }
}

/// Parameters that are a pod's own, and the kernel that made them so (`safeSysctls` in pkg/kubelet/sysctl).
const SAFE: [(&str, (u32, u32)); 12] = [
    ("kernel.shm_rmid_forced", (0, 0)),
    ("net.ipv4.ip_local_port_range", (0, 0)),
    ("net.ipv4.tcp_syncookies", (0, 0)),
    ("net.ipv4.ping_group_range", (0, 0)),
    ("net.ipv4.ip_unprivileged_port_start", (0, 0)),
    ("net.ipv4.ip_local_reserved_ports", (3, 16)),
    ("net.ipv4.tcp_keepalive_time", (4, 5)),
    ("net.ipv4.tcp_fin_timeout", (4, 6)),
    ("net.ipv4.tcp_keepalive_intvl", (4, 5)),
    ("net.ipv4.tcp_keepalive_probes", (4, 5)),
    ("net.ipv4.tcp_rmem", (4, 15)),
    ("net.ipv4.tcp_wmem", (4, 15)),
];
/// Parameters of System V IPC; `kernel.shm` and `kernel.msg` stand for patterns such as `kernel.shm*`.
const IPC: [&str; 10] = [
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.shm",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg",
];
/// Longest name of a parameter.
const NAME_BYTES_MAX: usize = 253;

/// The parameters that pods may set.
#[derive(Debug, Clone, Default)]
pub struct Sysctls {
    allowed: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    name: String,
    prefix: bool,
    namespace: Namespace,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let segment = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
        let last = "([a-z0-9][-_a-z0-9]*)?[a-z0-9*]";
        let valid = regex::Regex::new(&format!("^({segment}[\\./])*{last}$")).expect("a constant expression");
        if text.len() > NAME_BYTES_MAX || !valid.is_match(text) {
            return Err(format!("{text:?} is not the name of a kernel parameter, or of several with * at its end"));
        }
        let name = dotted(text);
        let (name, prefix) = match name.split_once('*') {
            Some((before, _)) => (before.to_owned(), true),
            None => (name, false),
        };
        let namespace = namespace(&name).ok_or(format!("the sysctls {name:?} are not known to be namespaced"))?;
        Ok(Self { name, prefix, namespace })
    }

    fn matches(&self, name: &str) -> bool {
        if self.prefix { name.starts_with(&self.name) } else { name == self.name }
    }
}

fn namespace(name: &str) -> Option<Namespace> {
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        return Some(Namespace::Ipc);
    }
    name.starts_with("net.").then_some(Namespace::Net)
}

/// The name with dots between its parts: `net/ipv4/conf/eth0.1/x` is `net.ipv4.conf.eth0/1.x` (sysctl.d(5)).
pub fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name.as_bytes()[first] == b'/' => {
            let swapped = |c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            name.chars().map(swapped).collect()
        }
        _ => name.to_owned(),
    }
}

impl Sysctls {
    /// The safe parameters of a kernel such as `6.1.0-18-amd64`, and those that these patterns allow beside.
    ///
    /// # Errors
    /// If a pattern is none, or names parameters of the whole machine.
    pub fn new(kernel: &str, allowed: &[String]) -> Result<Self, String> {
        let mut numbers = kernel.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let safe = SAFE.iter().filter(|(_, since)| *since <= version).map(|(name, _)| Pattern::parse(name));
        let allowed = allowed.iter().map(|pattern| Pattern::parse(pattern));
        Ok(Self { allowed: safe.chain(allowed).collect::<Result<_, _>>()? })
    }

    /// Why a pod that sets parameters is not taken (`patternAllowlist` in pkg/kubelet/sysctl).
    pub fn refusal(&self, pod: &Pod) -> Option<Verdict> {
        let spec = pod.spec.as_ref()?;
        let wanted = spec.security_context.as_ref()?.sysctls.iter().flatten();
        let forbidden = wanted.filter_map(|sysctl| {
            let name = dotted(&sysctl.name);
            // A name that is spelt out goes before patterns that match it too.
            let named = self.allowed.iter().find(|allowed| !allowed.prefix && allowed.name == name);
            match named.or_else(|| self.allowed.iter().find(|allowed| allowed.matches(&name))) {
                None => Some(format!("{name:?} not allowlisted")),
                Some(Pattern { namespace, .. }) => {
                    let of_host = match namespace {
                        Namespace::Ipc => spec.host_ipc,
                        Namespace::Net => spec.host_network,
                    };
                    let host = namespace.name();
                    (of_host == Some(true)).then(|| format!("{name:?} not allowed with host {host} enabled"))
                }
            }
        });
        let why = forbidden.into_iter().next()?;
        Some(Verdict { reason: "SysctlForbidden".to_owned(), message: format!("forbidden sysctl: {why}") })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(allowed: &[&str], names: &[&str], fields: Value, expected: &str) {
        let allowed: Vec<String> = allowed.iter().map(|pattern| (*pattern).to_owned()).collect();
        let sysctls: Vec<Value> = names.iter().map(|name| json!({"name": name, "value": "1"})).collect();
        let mut spec = json!({"containers": [], "securityContext": {"sysctls": sysctls}});
        for (name, value) in fields.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
        let verdict = Sysctls::new("6.1.0-18-amd64", &allowed).expect("patterns").refusal(&pod);
        assert_eq!(verdict.map(|v| v.message).unwrap_or_default(), expected, "{allowed:?} {names:?}");
    }

    #[test]
    fn safe_ones_and_allowed_ones_may_be_set() {
        check(&[], &[], json!({}), "");
        check(&[], &["kernel.shm_rmid_forced", "net.ipv4.tcp_rmem", "net/ipv4/tcp_fin_timeout"], json!({}), "");
        let forbidden = |name: &str| format!("forbidden sysctl: {name:?} not allowlisted");
        check(&[], &["kernel.msgmax"], json!({}), &forbidden("kernel.msgmax"));
        check(&[], &["net.ipv4.tcp_syncookies", "net/core/somaxconn"], json!({}), &forbidden("net.core.somaxconn"));
        check(&["kernel.msg*", "net.core.somaxconn"], &["kernel.msgmax", "net.core.somaxconn"], json!({}), "");
        check(&["kernel.msg*"], &["kernel.shmmax"], json!({}), &forbidden("kernel.shmmax"));
        check(&[], &["vm.swappiness"], json!({}), &forbidden("vm.swappiness"));
        let shared = "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled";
        check(&[], &["net.ipv4.tcp_syncookies"], json!({"hostNetwork": true}), shared);
        check(&[], &["kernel.shm_rmid_forced"], json!({"hostNetwork": true}), "");
        let shared = "forbidden sysctl: \"kernel.msgmax\" not allowed with host IPC enabled";
        check(&["kernel.msg*"], &["kernel.msgmax"], json!({"hostIPC": true}), shared);
    }

    #[test]
    fn old_kernels_share_more() {
        let pod = json!({"spec": {"containers": [],
            "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_wmem", "value": "1"}]}}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        assert!(Sysctls::new("4.14.3", &[]).expect("none").refusal(&pod).is_some());
        assert!(Sysctls::new("4.15", &[]).expect("none").refusal(&pod).is_none());
    }

    #[test]
    fn patterns_of_the_whole_machine_are_refused() {
        let told = |pattern: &str| Sysctls::new("6.1", &[pattern.to_owned()]).err().unwrap_or_default();
        assert_eq!(told("vm.swappiness"), "the sysctls \"vm.swappiness\" are not known to be namespaced");
        assert_eq!(told("kernel.*"), "the sysctls \"kernel.\" are not known to be namespaced");
        assert!(told("net.*.x").contains("is not the name"));
        assert!(told("Kernel.msgmax").contains("is not the name"));
        assert_eq!(told("net.*"), "");
        assert_eq!(told("net/ipv4/*"), "");
    }
}
