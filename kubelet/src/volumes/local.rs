//! Empty directories, memory-backed file systems, and taking mounts away.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use rustix::mount::{MountFlags, UnmountFlags};

use super::ownership::Owner;
use crate::resources;

/// Makes an `emptyDir` volume.
pub(super) fn empty_dir(path: &Path, source: &EmptyDirVolumeSource, owner: &Owner) -> Result<(), String> {
    match source.medium.as_deref().unwrap_or_default() {
        "" => fs::create_dir_all(path).map_err(|error| error.to_string())?,
        "Memory" => memory_backed(path, source.size_limit.as_ref().map(resources::value))?,
        other => return Err(format!("the medium {other:?} is not supported by this node")),
    }
    let done = fs::set_permissions(path, fs::Permissions::from_mode(0o777)).and_then(|()| owner.apply(path, false));
    done.map_err(|error| error.to_string())
}

/// Mounts a file system in memory, unless one is there.
pub(super) fn memory_backed(path: &Path, size: Option<i64>) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| error.to_string())?;
    if mounts()?.iter().any(|mount| mount == path) {
        return Ok(());
    }
    let options = size.filter(|size| *size > 0).map(|size| format!("size={size}")).unwrap_or_default();
    let options = std::ffi::CString::new(options).map_err(|error| error.to_string())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", path, "tmpfs", flags, Some(options.as_c_str()))
        .map_err(|error| format!("cannot mount tmpfs on {}: {error}", path.display()))
}

/// Mount points of this process.
pub(crate) fn mounts() -> Result<Vec<PathBuf>, String> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("cannot read mounts: {error}"))?;
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| PathBuf::from(unescape(path))).collect())
}

/// The kernel writes blanks and backslashes in paths as octal numbers.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Unmounts everything at and below a path, the last mount first.
pub(super) fn unmount_below(path: &Path) -> Result<(), String> {
    for mount in mounts()?.iter().rev().filter(|mount| mount.starts_with(path)) {
        let unmounted = rustix::mount::unmount(mount, UnmountFlags::NOFOLLOW)
            .or_else(|_| rustix::mount::unmount(mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW));
        match unmounted {
            // It went with its peer at another path, or is covered by a mount of the directory above.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(format!("cannot unmount {}: {error}", mount.display())),
        }
    }
    Ok(())
}
