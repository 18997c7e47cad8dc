//! The end of a private containerd: no process, mount, network namespace or state directory of it remains.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{ListPodSandboxRequest, RemovePodSandboxRequest, StopPodSandboxRequest};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal};

use super::{Config, Error, channel, process, wait_ready};
use crate::volumes::mount_points;

/// How long the runtime may take to stop one pod before its processes are killed.
const STOP_SECONDS_MAX: u64 = 10;
/// How often mounts are gone through; each round frees those that a nested mount kept busy.
const UNMOUNT_ROUNDS_MAX: usize = 4;

/// Stops every pod of the private containerd, then the process itself, its shims and whatever they left: mounts,
/// network namespaces, sockets and the state directory. The root directory (images) stays.
///
/// Works after a crash as well: a containerd that is gone is not started for this, its shims are found by their socket.
///
/// # Errors
/// If a process cannot be ended or the state directory not be removed.
pub fn teardown(config: &Config) -> BoxFuture<'_, Result<(), Error>> {
    Box::pin(async move {
        if process::running(config).is_some() && wait_ready(&config.address(), Duration::from_secs(2)).await.is_ok() {
            remove_sandboxes(config).await;
        }
        process::end_leftover(config).await?;
        let shim_sockets = shim_sockets(&config.state);
        kill_shims(&config.address());
        for socket in shim_sockets {
            let _ = fs::remove_file(socket);
        }
        unmount_below(&[&config.state, &config.root]);
        match fs::remove_dir_all(&config.state) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::File { path: config.state.clone(), source })
            }
            _ => Ok(()),
        }
    })
}

/// Stops and removes all pods through CRI, at once, so that CNI undoes their networks.
async fn remove_sandboxes(config: &Config) {
    let client = RuntimeServiceClient::new(channel(&config.address()));
    let list = client.clone().list_pod_sandbox(ListPodSandboxRequest { filter: None }).await;
    let sandboxes = list.map(|list| list.into_inner().items).unwrap_or_default();
    let removals = sandboxes.into_iter().map(|sandbox| {
        let mut client = client.clone();
        async move {
            let pod_sandbox_id = sandbox.id;
            let work = async {
                client.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() }).await?;
                let request = RemovePodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() };
                client.remove_pod_sandbox(request).await
            };
            match tokio::time::timeout(Duration::from_secs(STOP_SECONDS_MAX), work).await {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => tracing::warn!(sandbox = pod_sandbox_id, %status, "stopping a pod failed"),
                Err(_) => tracing::warn!(sandbox = pod_sandbox_id, "stopping a pod took too long"),
            }
        }
    });
    futures::future::join_all(removals).await;
}

/// The sockets of our shims, which lie in a directory that all containerds of the machine share.
fn shim_sockets(state: &Path) -> BTreeSet<PathBuf> {
    let mut sockets = BTreeSet::new();
    let tasks = state.join("io.containerd.runtime.v2.task");
    for namespace in entries(&tasks) {
        for bundle in entries(&namespace) {
            if let Ok(address) = fs::read_to_string(bundle.join("address")) {
                sockets.extend(address.trim().strip_prefix("unix://").map(PathBuf::from));
            }
        }
    }
    sockets
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Kills the shims that serve the containerd at `address` and all processes below them. The children are collected
/// before their shim dies, because afterwards nothing tells whose they were.
fn kill_shims(address: &Path) {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut doomed = Vec::new();
    for path in entries(Path::new("/proc")) {
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else { continue };
        let Some(parent) = parent_of(&path) else { continue };
        children.entry(parent).or_default().push(pid);
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
        let is_shim = words[0].windows(15).any(|part| part == b"containerd-shim");
        if is_shim && words.contains(&address.as_os_str().as_encoded_bytes()) {
            doomed.push(pid);
        }
    }
    let mut next = 0;
    while let Some(pid) = doomed.get(next) {
        let below = children.remove(pid).unwrap_or_default();
        doomed.extend(below);
        next += 1;
    }
    for pid in doomed.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// The parent's id from `/proc/PID/stat`: the second word after the command, which stands in brackets.
fn parent_of(process: &Path) -> Option<u32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let after = &stat[stat.rfind(')')? + 1..];
    after.split_whitespace().nth(1)?.parse().ok()
}

/// Detaches every mount below the directories, innermost first. A network namespace that is only held by its mount
/// goes with it.
pub(crate) fn unmount_below(directories: &[&Path]) {
    for _ in 0..UNMOUNT_ROUNDS_MAX {
        let mut mounts = mount_points().unwrap_or_default();
        mounts.retain(|mount| directories.iter().any(|directory| mount.starts_with(directory)));
        if mounts.is_empty() {
            return;
        }
        for mount in mounts.iter().rev() {
            let _ = rustix::mount::unmount(mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
    }
}
