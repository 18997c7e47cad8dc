//! The mounts of one container.

use std::collections::HashMap;

use k8s_cri::v1::{Mount, MountPropagation};
use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::{Mounted, subpath};
use crate::expansion::expand;

/// The mounts that a container asks for.
///
/// # Errors
/// When a volume is not set up or a subpath leads out of its volume.
pub fn of(
    container: &Container,
    mounted: &HashMap<String, Mounted>,
    env: &[(String, String)],
    pod_dir: &std::path::Path,
) -> Result<Vec<Mount>, String> {
    if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
        return Err("block volumes are not supported by this node".to_owned());
    }
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = mounted.get(&mount.name).ok_or_else(|| {
            format!("cannot find volume {:?} to mount into container {:?}", mount.name, container.name)
        })?;
        let host_path = match sub_path(mount, env)? {
            None => volume.path.clone(),
            Some(path) => {
                let target =
                    pod_dir.join(super::SUBPATHS).join(&mount.name).join(&container.name).join(index.to_string());
                subpath::bind(&volume.path, &path, &target).map_err(|error| {
                    format!(
                        "failed to prepare subPath for volumeMount {:?} of container {:?}: {error}",
                        mount.name, container.name
                    )
                })?
            }
        };
        mounts.push(Mount {
            container_path: absolute(&mount.mount_path),
            host_path: host_path.to_string_lossy().into_owned(),
            readonly: volume.read_only || mount.read_only == Some(true),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
                Some("Bidirectional") => MountPropagation::PropagationBidirectional,
                _ => MountPropagation::PropagationPrivate,
            } as i32,
            ..Default::default()
        });
    }
    Ok(mounts)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<Option<String>, String> {
    if let Some(path) = mount.sub_path.as_deref().filter(|path| !path.is_empty()) {
        return Ok(Some(path.to_owned()));
    }
    let Some(template) = mount.sub_path_expr.as_deref().filter(|path| !path.is_empty()) else { return Ok(None) };
    let lookup = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let missing = std::cell::Cell::new(false);
    let path = expand(template, |name| {
        let found = lookup(name);
        missing.set(missing.get() || found.is_none());
        found
    });
    if missing.get() {
        return Err(format!("missing value for {template:?}"));
    }
    Ok(Some(path))
}
