//! Volumes that are claims: bound to a persistent volume on this host.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;

use super::{Mounted, host_path, ownership::Owner};
use crate::{agent::Agent, pod};

/// The path that a claim of the pod's namespace is bound to.
pub(super) async fn resolve(
    agent: &Agent,
    of: &Pod,
    name: &str,
    read_only: bool,
    owner: &Owner,
) -> Result<Mounted, String> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(agent.client.clone(), pod::namespace(of));
    let claim = claims.get(name).await.map_err(|error| format!("failed to get claim {name:?}: {error}"))?;
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let volume_name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    let Some(volume_name) = volume_name.filter(|_| bound) else {
        return Err(format!("PVC {:?} is not bound", format!("{}/{name}", pod::namespace(of))));
    };
    let volumes: Api<PersistentVolume> = Api::all(agent.client.clone());
    let volume = volumes.get(volume_name).await.map_err(|error| format!("failed to get PV {volume_name}: {error}"))?;
    let spec = volume.spec.unwrap_or_default();
    let owned = spec.claim_ref.as_ref().and_then(|claim| claim.uid.as_ref()) == claim.metadata.uid.as_ref();
    if !owned {
        return Err(format!("PV {volume_name} is bound to another claim than {name}"));
    }
    if let Some(source) = &spec.host_path {
        return Ok(Mounted { path: host_path::check(source)?, read_only });
    }
    if let Some(source) = &spec.local {
        let path = std::path::PathBuf::from(&source.path);
        if !path.exists() {
            return Err(format!("path {:?} does not exist", source.path));
        }
        if !read_only {
            owner.apply(&path, false).map_err(|error| error.to_string())?;
        }
        return Ok(Mounted { path, read_only });
    }
    Err(format!("the kind of persistent volume {volume_name} is not supported by this node"))
}
