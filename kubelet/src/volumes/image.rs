//! Volumes that are the content of an image.

use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};

use super::local;
use crate::{
    agent::Agent,
    config::Config,
    images::view::{self, Layered},
};

/// Where the volume is, once it is mounted.
pub(crate) fn path(config: &Config, uid: &str, volume: &str) -> PathBuf {
    config.pod_dir(uid).join("volumes/kubernetes.io~image").join(volume)
}

/// Mounts a local image as a volume of a pod, unless that is done.
///
/// # Errors
/// When the image is not there or cannot be mounted.
pub(crate) async fn set_up(agent: &Agent, uid: &str, volume: &str, image: &str) -> Result<(), String> {
    let path = path(&agent.config, uid, volume);
    if local::mounts()?.contains(&path) {
        return Ok(());
    }
    let layered = view::view(&agent.cri, uid, volume, image).await.map_err(|error| error.to_string())?;
    // Another container of the pod may have been quicker; from here on nothing comes between.
    if local::mounts()?.contains(&path) {
        return Ok(());
    }
    fs::create_dir_all(&path).map_err(|error| error.to_string())?;
    let mounted = show(&layered, &path);
    mounted.map_err(|error| format!("cannot mount {image} on {}: {error}", path.display()))
}

fn show(layered: &Layered, path: &Path) -> Result<(), rustix::io::Errno> {
    let flags = MountFlags::RDONLY | MountFlags::NOEXEC | MountFlags::NOSUID | MountFlags::NODEV;
    if layered.kind == "bind" {
        mount_bind(&layered.source, path)?;
        return mount_remount(path, flags | MountFlags::BIND, c"");
    }
    let data = CString::new(data(&layered.options)).map_err(|_| rustix::io::Errno::INVAL)?;
    mount(&layered.source, path, &layered.kind, flags, Some(data.as_c_str()))
}

/// The options that are the file system's own.
fn data(options: &[String]) -> String {
    let own = options.iter().filter(|option| !matches!(option.as_str(), "ro" | "rw" | "bind" | "rbind"));
    own.cloned().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_no_options_of_the_file_system() {
        let check = |options: &[&str], expected: &str| {
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            assert_eq!(data(&options), expected);
        };
        check(&["index=off", "ro", "lowerdir=/a:/b"], "index=off,lowerdir=/a:/b");
        check(&["ro", "rbind"], "");
    }
}
