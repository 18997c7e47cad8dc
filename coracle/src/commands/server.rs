//! `coracle server`

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::Cluster;
use crate::config::ClusterConfig;
use crate::error::Error;
use crate::log::{self, LogFormat};
use crate::{kubeconfig, memory, process};

/// How long the end of a cluster of which a part has failed may take.
const FAILED_STOP_MAX: Duration = Duration::from_secs(10);

/// Runs a cluster until it is told to end. Pods go on running: the next start adopts them.
///
/// # Errors
/// If the cluster does not start, or a part of it fails for good.
pub(crate) fn run(config: ClusterConfig, format: LogFormat) -> Result<(), Error> {
    log::start(format);
    if config.agent && !rustix::process::geteuid().is_root() {
        let hint = "run as root, or run the control plane alone with --disable-agent";
        return Err(Error::usage(format!("a node needs root: {hint}")));
    }
    let data_dir = config.data_dir.clone().expect("the command line gives one");
    memory::runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut look = signal(SignalKind::user_defined1())?;
        let cluster = Cluster::start(config).await?;
        if let Err(error) = write_files(&data_dir, &cluster) {
            cluster.abandon().await?;
            return Err(error);
        }
        tracing::info!(url = cluster.url(), "serving");
        let mut renewals = cluster.renewals();
        let failure = loop {
            tokio::select! {
                _ = interrupt.recv() => break None,
                _ = terminate.recv() => break None,
                Some(()) = look.recv() => cluster.look_at_encryption(),
                failure = cluster.failed() => break Some(failure),
                Ok(()) = renewals.changed() => {
                    if let Err(error) = kubeconfig::refresh(&data_dir, cluster.kubeconfig()) {
                        tracing::error!(%error, "the administrator's kubeconfig has the certificate of before");
                    }
                }
            }
        };
        if let Some(failure) = failure {
            tracing::error!(%failure, "the server ends");
            // Whatever is wrong must not keep the process, which a supervisor starts again.
            let _ = tokio::time::timeout(FAILED_STOP_MAX, cluster.stop()).await;
            let _ = std::fs::remove_file(process::pid_path(&data_dir));
            return Err(failure);
        }
        cluster.stop().await?;
        match std::fs::remove_file(process::pid_path(&data_dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove", &process::pid_path(&data_dir), error))
            }
            _ => Ok(()),
        }
    })
}

/// Writes what other commands and people need to find the server.
fn write_files(data_dir: &Path, cluster: &Cluster) -> Result<(), Error> {
    write_pid(data_dir)?;
    if let Err(error) = kubeconfig::refresh(data_dir, cluster.kubeconfig()) {
        // An earlier one still serves, but for what has changed; none at all would leave nobody in.
        if !kubeconfig::path(data_dir).exists() {
            return Err(error);
        }
        tracing::error!(%error, "the administrator's kubeconfig is that of an earlier start");
    }
    Ok(())
}

/// Writes the process's id for the other commands. On a full disk the cluster serves without: reading and deleting is
/// what helps then.
fn write_pid(data_dir: &Path) -> Result<(), Error> {
    let path = process::pid_path(data_dir);
    match files::private::write(&path, std::process::id().to_string().as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            tracing::error!(%error, path = %path.display(), "cannot be written; `coracle down` will not find this process");
            Ok(())
        }
        Err(error) => Err(Error::file("write", &path, error)),
        Ok(()) => Ok(()),
    }
}
