//! The remains of pods that were deleted while no agent ran: sandboxes, directories, logs, mounts, cgroups.

use std::collections::HashSet;

use futures::future::BoxFuture;
use futures::future::join_all;
use metrics::Counter;

use crate::{agent::Agent, cgroup, config::Config, cri::Cri, images, labels, stock_directory, volumes};

/// The grace period of containers that carry none.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// Removes all that belongs to no known pod.
pub fn remove(agent: &Agent, known: HashSet<String>) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        match agent.cri.sandboxes(None).await {
            Ok(sandboxes) => {
                let owner = |s: &k8s_cri::v1::PodSandbox| s.labels.get(labels::POD_UID).cloned().unwrap_or_default();
                let lost = sandboxes.iter().filter(|sandbox| !known.contains(&owner(sandbox)));
                join_all(lost.map(|sandbox| {
                    agent.figures.orphans.with([], Counter::add_one);
                    end_sandbox(&agent.cri, &sandbox.id)
                }))
                .await;
            }
            Err(error) => tracing::warn!(%error, "cannot look for orphaned sandboxes"),
        }
        remove_directories(&agent.config, &known);
        match images::view::holders(&agent.cri).await {
            Ok(holders) => {
                for uid in holders.iter().filter(|uid| !known.contains(*uid)) {
                    if let Err(error) = images::view::release(&agent.cri, uid).await {
                        tracing::warn!(uid, %error, "the images of an orphaned pod's volumes stay");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for images of orphaned pods"),
        }
    })
}

async fn end_sandbox(cri: &Cri, id: &str) {
    let all = cri.containers(None).await.unwrap_or_default();
    let own: Vec<_> = all.into_iter().filter(|container| container.pod_sandbox_id == id).collect();
    let stops = own.iter().map(|container| {
        let grace = container.annotations.get(labels::TERMINATION_GRACE_PERIOD).and_then(|text| text.parse().ok());
        cri.stop_container(&container.id, grace.unwrap_or(GRACE_SECONDS_DEFAULT))
    });
    join_all(stops).await;
    for step in [cri.stop_sandbox(id).await, cri.remove_sandbox(id).await] {
        if let Err(error) = step {
            tracing::warn!(id, %error, "an orphaned sandbox stays");
        }
    }
}

fn remove_directories(config: &Config, known: &HashSet<String>) {
    for entry in std::fs::read_dir(config.root_dir.join("pods")).into_iter().flatten().flatten() {
        let uid = entry.file_name().to_string_lossy().into_owned();
        if known.contains(&uid) {
            continue;
        }
        let removed = volumes::tear_down(&entry.path())
            .and_then(|()| std::fs::remove_dir_all(entry.path()).map_err(|error| error.to_string()));
        if let Err(error) = removed {
            tracing::warn!(uid, %error, "the directory of an orphaned pod stays");
        }
        remove_cgroups(config, &uid);
    }
    for entry in std::fs::read_dir(&config.log_dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let uid = name.rsplit('_').next().unwrap_or_default();
        if !known.contains(uid)
            && name.split('_').count() == 3
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(name, %error, "the logs of an orphaned pod stay");
        }
    }
}

fn remove_cgroups(config: &Config, uid: &str) {
    for class in ["", "/burstable", "/besteffort"] {
        cgroup::remove(&format!("{}{class}/pod{uid}", config.cgroup_root));
    }
}

/// Unmounts what is mounted for pods and removes their cgroups. Their files stay, as they do when a machine restarts:
/// an `emptyDir` lives as long as its pod does, and the logs tell how often a container was started.
fn release_pods(config: &Config) {
    for entry in std::fs::read_dir(config.root_dir.join("pods")).into_iter().flatten().flatten() {
        let uid = entry.file_name().to_string_lossy().into_owned();
        if let Err(error) = volumes::unmount(&entry.path()) {
            tracing::warn!(uid, %error, "a volume of a pod stays mounted");
        }
        remove_cgroups(config, &uid);
    }
}

/// Ends all pods of this configuration's runtime and removes what the agent made outside its own directories: mounts
/// and cgroups. For taking a cluster down; the pods are started anew when it comes up again.
///
/// # Errors
/// When the runtime does not answer.
pub fn remove_everything(config: &Config) -> BoxFuture<'_, Result<(), crate::cri::Error>> {
    Box::pin(async move {
        // What lies in the file system is taken away also where the runtime is gone.
        let ended = end_everything(config).await;
        release_pods(config);
        if let Err(error) = stock_directory::hide(&config.root_dir, &config.stock_dir) {
            tracing::warn!(%error, "{} stays mounted", config.stock_dir.display());
        }
        cgroup::remove_root(&config.cgroup_root);
        ended
    })
}

async fn end_everything(config: &Config) -> Result<(), crate::cri::Error> {
    let cri = Cri::connect(&config.socket).await?;
    let sandboxes = cri.sandboxes(None).await?;
    let ends = sandboxes.iter().map(|sandbox| async {
        for step in [cri.stop_sandbox(&sandbox.id).await, cri.remove_sandbox(&sandbox.id).await] {
            if let Err(error) = step {
                tracing::warn!(id = sandbox.id, %error, "a sandbox stays");
            }
        }
    });
    join_all(ends).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_pods_outlive_a_taken_down_cluster() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = Config {
            node_name: String::new(),
            node_ip: [127, 0, 0, 1].into(),
            server_port: 0,
            root_dir: directory.path().join("kubelet"),
            stock_dir: directory.path().join("stock"),
            log_dir: directory.path().join("logs"),
            socket: "/".into(),
            resolv_conf: "/".into(),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".into(),
            cgroup_root: "/none-of-this-name".into(),
            node_labels: Default::default(),
            max_pods: 0,
            allowed_unsafe_sysctls: Vec::new(),
            version: String::new(),
            clock: client::Clock::system(),
            metrics: Default::default(),
        };
        let volume = config.pod_dir("u").join("volumes/kubernetes.io~empty-dir/a");
        let logs = config.pod_log_dir("n", "p", "u");
        for directory in [&volume, &logs] {
            std::fs::create_dir_all(directory).expect("a directory");
            std::fs::write(directory.join("file"), "kept").expect("a file");
        }
        release_pods(&config);
        assert!(volume.join("file").exists() && logs.join("file").exists(), "the pod may come back");
        remove_directories(&config, &HashSet::new());
        assert!(!volume.exists() && !logs.exists(), "nobody knows the pod any more");
    }
}
