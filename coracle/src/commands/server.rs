//! `coracle server`

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cluster::Cluster;
use crate::config::ClusterConfig;
use crate::error::Error;
use crate::{code_pages, kubeconfig, process};

/// Runs a cluster until it is told to end. Pods go on running: the next start adopts them.
///
/// # Errors
/// If the cluster does not start, or a part of it fails for good.
pub fn run(config: ClusterConfig) -> Result<(), Error> {
    let filter = EnvFilter::try_from_env("CORACLE_LOG").unwrap_or_else(|_| EnvFilter::new("warn,coracle=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true).init();
    if config.agent && !rustix::process::geteuid().is_root() {
        let hint = "run as root, or run the control plane alone with --disable-agent";
        return Err(Error::usage(format!("a node needs root: {hint}")));
    }
    let data_dir = config.data_dir.clone().expect("the command line gives one");
    std::fs::create_dir_all(&data_dir)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let cluster = Cluster::start(config).await?;
        std::fs::write(process::pid_path(&data_dir), std::process::id().to_string())?;
        kubeconfig::refresh(&data_dir, cluster.kubeconfig())?;
        tracing::info!(url = cluster.url(), "serving");
        let settled = tokio::spawn(async {
            tokio::time::sleep(code_pages::SETTLED_AFTER).await;
            code_pages::release();
        });
        let failure = tokio::select! {
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            failure = cluster.failed() => Some(failure),
        };
        settled.abort();
        cluster.stop().await?;
        match std::fs::remove_file(process::pid_path(&data_dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        failure.map_or(Ok(()), Err)
    })
}
