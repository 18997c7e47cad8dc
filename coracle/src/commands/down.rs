//! `coracle down`

use std::path::Path;
use std::time::Duration;

use crate::commands::{block_on, say};
use crate::error::Error;
use crate::layout::Layout;
use crate::process;

/// How long the server may take to end.
pub(crate) const GRACE: Duration = Duration::from_secs(20);

/// Ends the server, stops every pod and the cluster's containerd, and takes away links, rules, namespaces and mounts.
///
/// # Errors
/// If something cannot be ended or removed.
pub(crate) fn run(data_dir: &Path, purge: bool) -> Result<(), Error> {
    if !data_dir.exists() {
        say(format!("There is no cluster in {}.", data_dir.display()));
        return Ok(());
    }
    block_on(async {
        if let Some(pid) = process::running(data_dir) {
            process::stop(pid, GRACE).await?;
            say("The server has ended.");
        }
        Ok::<_, Error>(())
    })?;
    if take_away(data_dir)? {
        say("Pods, containerd, links and rules are gone.");
    }
    // The kubeconfig stays with the data: it serves again after the next start, with the namespace that is set in it.
    match std::fs::remove_file(process::pid_path(data_dir)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    if purge {
        std::fs::remove_dir_all(data_dir)?;
        say(format!("{} is removed.", data_dir.display()));
    }
    Ok(())
}

/// Takes away all that a node has outside its data directory; false if there was none.
///
/// # Errors
/// If something cannot be ended or removed.
pub(crate) fn take_away(data_dir: &Path) -> Result<bool, Error> {
    let layout = Layout::new(data_dir);
    let Some(record) = layout.recorded() else { return Ok(false) };
    block_on(async {
        // A runtime that does not answer any more has its pods ended below.
        if let Err(error) = kubelet::remove_everything(&layout.agent(&record.socket)).await
            && !record.own_containerd
        {
            return Err(Error::part("pods", error));
        }
        if record.own_containerd {
            let containerd = layout.containerd()?;
            kubelet::containerd::teardown(&containerd).await.map_err(|error| Error::part("containerd", error))?;
        }
        let network = layout.network(&record.pod_cidr, &record.service_cidr)?;
        network::pod_network::teardown(&network).await.map_err(|error| Error::part("network", error))
    })?;
    Ok(true)
}
