//! Subpaths of volumes. What is mounted is an open file, found by the kernel without ever leaving the volume, so that a
//! container that swaps a directory for a symbolic link gains nothing.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2},
    io::Errno,
    mount::{UnmountFlags, mount_bind, unmount},
};

/// Mounts `path` of a volume on `target`, making directories that are missing; answers with the target.
pub(super) fn bind(volume: &Path, path: &str, target: &Path) -> io::Result<PathBuf> {
    let relative = Path::new(path);
    if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path must be relative and not contain '..'"));
    }
    let found = open_or_make(volume, relative)?;
    let is_dir = fstat(&found)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    // A mount of an earlier instance of the container may show what has been replaced since.
    while unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let wrong_kind = fs::symlink_metadata(target).is_ok_and(|metadata| metadata.is_dir() != is_dir);
    if wrong_kind {
        if is_dir {
            fs::remove_file(target)?
        } else {
            fs::remove_dir(target)?
        };
    }
    if is_dir {
        fs::create_dir_all(target)?;
    } else {
        fs::OpenOptions::new().create(true).append(true).open(target)?;
    }
    mount_bind(format!("/proc/self/fd/{}", found.as_raw_fd()), target)?;
    Ok(target.to_owned())
}

fn open_or_make(volume: &Path, relative: &Path) -> io::Result<OwnedFd> {
    let root = openat(CWD, volume, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match open_beneath(&root, relative) {
        Err(Errno::NOENT) => {}
        other => return Ok(other?),
    }
    let mode = Mode::from_raw_mode(
        fs::metadata(volume).map(|m| std::os::unix::fs::PermissionsExt::mode(&m.permissions()) & 0o7777)?,
    );
    let mut done = PathBuf::new();
    let mut parent = open_beneath(&root, Path::new("."))?;
    for component in relative.components() {
        done.push(component);
        match open_beneath(&root, &done) {
            Ok(next) => parent = next,
            Err(Errno::NOENT) => {
                mkdirat(&parent, Path::new(component.as_os_str()), mode)?;
                parent = open_beneath(&root, &done)?;
                let path = format!("/proc/self/fd/{}", parent.as_raw_fd());
                fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode.bits()))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(parent)
}

fn open_beneath(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside() {
        let dir = tempfile::tempdir().expect("a directory");
        let volume = dir.path().join("volume");
        fs::create_dir_all(volume.join("a")).expect("a directory");
        std::os::unix::fs::symlink("/etc", volume.join("out")).expect("a link");
        std::os::unix::fs::symlink("../..", volume.join("up")).expect("a link");
        std::os::unix::fs::symlink("a", volume.join("in")).expect("a link");
        assert!(open_or_make(&volume, Path::new("in")).is_ok());
        assert!(open_or_make(&volume, Path::new("in/new/er")).is_ok());
        assert!(volume.join("a/new/er").is_dir());
        for bad in ["out", "out/passwd", "up", "up/x"] {
            assert!(open_or_make(&volume, Path::new(bad)).is_err(), "{bad}");
        }
        assert!(bind(&volume, "../x", &dir.path().join("target")).is_err());
    }
}
