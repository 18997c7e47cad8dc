//! `coracle status`

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::ListParams;

use crate::commands::{block_on, say};
use crate::error::Error;
use crate::{connect, process};

/// Prints whether the cluster runs, and how it is.
///
/// # Errors
/// If it does not run or does not answer.
pub(crate) fn run(data_dir: &Path) -> Result<(), Error> {
    let Some(pid) = process::running(data_dir) else {
        return Err(Error::usage(format!("no cluster runs in {}", data_dir.display())));
    };
    say(format!("process     {}", pid.as_raw_nonzero()));
    say(format!("data        {}", data_dir.display()));
    block_on(async {
        let (client, server) = connect::admin(data_dir).await?;
        let version =
            tokio::time::timeout(Duration::from_secs(5), client.apiserver_version()).await.map_err(|_| {
                Error::usage(format!("{server} does not answer; see {}", data_dir.join("coracle.log").display()))
            })??;
        say(format!("API server  {server} (Kubernetes {})", version.git_version));
        let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
        for node in &nodes {
            let state = if connect::is_ready(node) { "Ready" } else { "NotReady" };
            say(format!("node        {} {state}", node.metadata.name.as_deref().unwrap_or("")));
        }
        let pods = Api::<Pod>::all(client).list(&ListParams::default()).await?;
        let running = pods.iter().filter(|pod| phase(pod) == "Running").count();
        say(format!("pods        {} ({running} running)", pods.items.len()));
        Ok(())
    })
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("")
}
