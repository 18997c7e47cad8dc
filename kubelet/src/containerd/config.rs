//! Where the private containerd keeps its files, and its configuration file.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::images::pause;

/// Lines of a container's output longer than this are split, as the log reader expects.
const LOG_LINE_BYTES_MAX: usize = 16 << 10;
/// Capability number of CAP_SYS_RESOURCE.
const CAP_SYS_RESOURCE: u32 = 24;
/// `f_type` of an overlay file system, on which overlayfs cannot be stacked.
const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;

/// Plugins that the agent never uses; each costs time at start.
const DISABLED_PLUGINS: [&str; 8] = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
];

/// The private containerd of one cluster. Every path is the cluster's own, so clusters do not meet.
#[derive(Debug, Clone)]
pub struct Config {
    /// Keeps what must last: images, snapshots, metadata, the log. Made if absent.
    pub root: PathBuf,
    /// Keeps what need not outlive a boot: sockets, bundles, mounts, network namespaces. Keep it short: a socket's path
    /// has at most 107 bytes. Made if absent.
    pub state: PathBuf,
    /// The directory of the CNI configuration (see `network`).
    pub cni_conf_dir: PathBuf,
    /// The directory of the CNI plugins (see `network`).
    pub cni_bin_dir: PathBuf,
    /// Extra directory of per-registry `hosts.toml` files, if any.
    pub registry_config_dir: Option<PathBuf>,
}

impl Config {
    /// The socket for CRI and containerd's own API.
    #[must_use]
    pub fn address(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }

    /// The log of containerd and its shims.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.root.join("containerd.log")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.state.join("containerd.pid")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.state.join("config.toml")
    }

    /// Makes the directories and the configuration file.
    pub(super) fn write(&self) -> Result<(), Error> {
        for directory in [&self.root, &self.state] {
            files::private::directory(directory).map_err(|source| Error::File { path: directory.clone(), source })?;
        }
        let path = self.config_file();
        let text = self.render(can_lower_oom_score(), snapshotter(&self.root));
        files::private::write(&path, text.as_bytes()).map_err(|source| Error::File { path, source })
    }

    /// The text of `config.toml`, in version 2, which containerd 1.6 reads and 2.x migrates.
    fn render(&self, can_lower_oom_score: bool, snapshotter: &str) -> String {
        let quoted = |path: &Path| toml_string(&path.to_string_lossy());
        let disabled: Vec<String> = DISABLED_PLUGINS.iter().map(|plugin| toml_string(plugin)).collect();
        let mut text = format!(
            r#"version = 2
root = {root}
state = {state}
disabled_plugins = [{disabled}]

[grpc]
  address = {address}

[ttrpc]
  address = {ttrpc}

[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "10s"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
  max_container_log_line_size = {LOG_LINE_BYTES_MAX}
  restrict_oom_score_adj = {restrict}
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

[plugins."io.containerd.grpc.v1.cri".cni]
  conf_dir = {cni_conf}
  bin_dir = {cni_bin}
  max_conf_num = 1

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{snapshotter}"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = {runc_root}
"#,
            root = quoted(&self.root),
            state = quoted(&self.state),
            disabled = disabled.join(", "),
            address = quoted(&self.address()),
            ttrpc = quoted(&self.state.join("containerd.ttrpc.sock")),
            sandbox = pause::NAME,
            restrict = !can_lower_oom_score,
            cni_conf = quoted(&self.cni_conf_dir),
            cni_bin = quoted(&self.cni_bin_dir),
            runc_root = quoted(&self.state.join("runc")),
        );
        if let Some(directory) = &self.registry_config_dir {
            let directory = quoted(directory);
            write!(text, "\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = {directory}\n")
                .expect("writing to a String cannot fail");
        }
        text
    }
}

/// A TOML basic string.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Whether this process may give its children a lower `oom_score_adj`. Without the capability runc would fail to
/// start every guaranteed pod and every pause container.
fn can_lower_oom_score() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_none_or(|bits| bits & (1 << CAP_SYS_RESOURCE) != 0)
}

/// overlayfs, unless the root directory lies on one already.
fn snapshotter(root: &Path) -> &'static str {
    match rustix::fs::statfs(root) {
        Ok(stat) if stat.f_type == OVERLAYFS_SUPER_MAGIC => "native",
        _ => "overlayfs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_only_the_clusters_own_paths() {
        let config = Config {
            root: "/data/c\"1".into(),
            state: "/run/c1".into(),
            cni_conf_dir: "/data/cni".into(),
            cni_bin_dir: "/usr/lib/cni".into(),
            registry_config_dir: None,
        };
        let text = config.render(false, "overlayfs");
        for line in [
            r#"root = "/data/c\"1""#,
            r#"address = "/run/c1/containerd.sock""#,
            "restrict_oom_score_adj = true",
            r#"conf_dir = "/data/cni""#,
            "SystemdCgroup = false",
        ] {
            assert!(text.lines().any(|have| have.trim() == line), "{line} is missing in\n{text}");
        }
        assert!(config.render(true, "overlayfs").contains("restrict_oom_score_adj = false"));
    }
}
