//! How commands reach the cluster: with the administrator's kubeconfig, over TLS.

use std::path::Path;

use k8s_openapi::api::core::v1::Node;
use kube::config::{Config, KubeConfigOptions};

use crate::error::Error;
use crate::kubeconfig;

/// A client with the administrator's certificate, and the server's URL.
///
/// # Errors
/// If there is no kubeconfig or it is damaged.
pub(crate) async fn admin(data_dir: &Path) -> Result<(kube::Client, String), Error> {
    let file = kubeconfig::read(data_dir)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(|error| Error::part("kubeconfig", error))?;
    let server = config.cluster_url.to_string();
    Ok((kube::Client::try_from(config)?, server.trim_end_matches('/').to_string()))
}

/// Whether a node's condition `Ready` is true.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    api::conditions::is_true(conditions.into_iter().flatten(), "Ready")
}
