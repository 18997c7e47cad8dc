//! The mounts of one container.

use std::collections::HashMap;

use k8s_cri::v1::{Mount, MountPropagation};
use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::{Mounted, subpath};
use crate::expansion::expand;

/// The mounts that a container asks for.
///
/// # Errors
/// When a volume is not set up, a subpath leads out of its volume, or what is mounted below must be read-only too and
/// the runtime cannot make it so (`recursive_read_only`).
pub fn of(
    container: &Container,
    mounted: &HashMap<String, Mounted>,
    env: &[(String, String)],
    pod_dir: &std::path::Path,
    recursive_read_only: bool,
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
        let recursive_read_only = recursively(mount, recursive_read_only)?;
        mounts.push(Mount {
            recursive_read_only,
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

/// Whether what is mounted below is read-only as well (`resolveRecursiveReadOnly` in pkg/kubelet).
fn recursively(mount: &VolumeMount, supported: bool) -> Result<bool, String> {
    let name = &mount.name;
    let asked = format!("volume {name:?} requested recursive read-only mode, but it is not");
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => Ok(false),
        Some(_) if mount.read_only != Some(true) => Err(format!("{asked} read-only")),
        Some(_) if mount.mount_propagation.as_deref().is_some_and(|mode| mode != "None") => Err(format!(
            "{asked} compatible with propagation {:?}",
            mount.mount_propagation.as_deref().unwrap_or_default()
        )),
        Some("IfPossible") => Ok(supported),
        Some(_) if supported => Ok(true),
        Some(_) => Err(format!("{asked} supported by the runtime")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_below_is_read_only_if_asked_for() {
        let check = |fields: serde_json::Value, supported: bool, expected: &str| {
            let mut mount = serde_json::json!({"name": "v", "mountPath": "/v", "readOnly": true});
            for (name, value) in fields.as_object().expect("fields") {
                mount[name] = value.clone();
            }
            let mount: VolumeMount = serde_json::from_value(mount).expect("a mount");
            let found = recursively(&mount, supported);
            assert_eq!(found.map_or_else(|error| error, |yes| yes.to_string()), expected, "{mount:?}");
        };
        let mode = |mode: &str| serde_json::json!({"recursiveReadOnly": mode});
        check(serde_json::json!({}), true, "false");
        check(mode("Disabled"), true, "false");
        check(mode("IfPossible"), true, "true");
        check(mode("IfPossible"), false, "false");
        check(mode("Enabled"), true, "true");
        let not = "volume \"v\" requested recursive read-only mode, but it is not";
        check(mode("Enabled"), false, &format!("{not} supported by the runtime"));
        let writable = serde_json::json!({"recursiveReadOnly": "IfPossible", "readOnly": false});
        check(writable, true, &format!("{not} read-only"));
        let propagated = serde_json::json!({"recursiveReadOnly": "Enabled", "mountPropagation": "HostToContainer"});
        check(propagated, true, &format!("{not} compatible with propagation \"HostToContainer\""));
    }
}
