//! The agent's directory as drivers find it. The manifests of CSI and DRA drivers name `/var/lib/kubelet`; here the agent
//! keeps everything in a cluster's own directory. That directory becomes a shared mount and is bound to the stock path
//! too, so that sockets of drivers are found, and what is mounted on one side is mounted on the other.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, unmount};

use crate::volumes::mount_points as mounts;

/// Where a stock kubelet keeps its state (`DefaultKubeletRootDir`).
pub const STOCK: &str = "/var/lib/kubelet";
/// The file beside the agent's directory that says that the stock directory was made here.
const MADE: &str = "stock-directory.made";
/// How often mounts above one another are taken away.
const UNMOUNT_ROUNDS_MAX: usize = 16;

/// Why the agent's directory is not seen at the stock path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another kubelet or cluster has it, or it is no directory.
    #[error("{0} is used by another")]
    Used(PathBuf),
    /// The system refuses.
    #[error("{path}: {source}")]
    System {
        /// What it was about.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// Makes `root` a shared mount that is seen at `stock` too. Nothing happens if it is so already.
///
/// # Errors
/// If `stock` has content or belongs to another, or the system refuses to mount.
pub fn show(root: &Path, stock: &Path) -> Result<(), Error> {
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::System { path, source }
    };
    let own = fs::metadata(root).map_err(at(root))?;
    leave_lost(stock);
    match fs::symlink_metadata(stock) {
        Ok(found) if is_same(&found, &own) => return Ok(()),
        Ok(found) if found.is_dir() && is_free(stock) => {}
        Ok(_) => return Err(Error::Used(stock.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(stock).map_err(at(stock))?;
            fs::write(made(root), "").map_err(at(root))?;
        }
        Err(error) => return Err(at(stock)(error)),
    }
    let mounted = mounts().map_err(|error| at(root)(io::Error::other(error)))?;
    if !mounted.iter().any(|mount| mount == root) {
        mount_bind_recursive(root, root).map_err(|error| at(root)(error.into()))?;
    }
    mount_change(root, MountPropagationFlags::SHARED | MountPropagationFlags::REC)
        .map_err(|error| at(root)(error.into()))?;
    mount_bind_recursive(root, stock).map_err(|error| at(stock)(error.into()))
}

/// Takes away what [`show`] has made: the mounts, and the stock directory if it was made.
///
/// # Errors
/// If a mount cannot be taken away.
pub fn hide(root: &Path, stock: &Path) -> io::Result<()> {
    if let (Ok(found), Ok(own)) = (fs::symlink_metadata(stock), fs::metadata(root))
        && is_same(&found, &own)
        && stock != root
    {
        unmount_all(stock)?;
        if made(root).exists() {
            // It stays if somebody has put something into it meanwhile.
            let _ = fs::remove_dir(stock);
        }
    }
    unmount_all(root)?;
    match fs::remove_file(made(root)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn made(root: &Path) -> PathBuf {
    root.with_file_name(MADE)
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether nothing is in a directory and nothing is mounted there.
fn is_free(directory: &Path) -> bool {
    let is_empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    is_empty && mounts().is_ok_and(|mounts| !mounts.iter().any(|mount| mount == directory))
}

/// Takes away the mount of a directory that was removed: that of a cluster that is gone.
fn leave_lost(stock: &Path) {
    for _ in 0..UNMOUNT_ROUNDS_MAX {
        if !fs::symlink_metadata(stock).is_ok_and(|found| found.is_dir() && found.nlink() == 0) {
            return;
        }
        if unmount(stock, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_err() {
            return;
        }
    }
}

/// Everything that is mounted at and below a path, innermost first.
fn unmount_all(path: &Path) -> io::Result<()> {
    for _ in 0..UNMOUNT_ROUNDS_MAX {
        let all = mounts().map_err(io::Error::other)?;
        let below: Vec<&PathBuf> = all.iter().rev().filter(|mount| mount.starts_with(path)).collect();
        if below.is_empty() {
            return Ok(());
        }
        for mount in below {
            match unmount(mount.as_path(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                // Its peer was taken away first, and it with that.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(io::Error::other(format!("something is mounted again and again below {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tmpfs(path: &Path) {
        fs::create_dir_all(path).unwrap();
        rustix::mount::mount("tmpfs", path, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    }

    #[test]
    #[ignore = "needs root"]
    fn is_seen_at_both_paths_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().canonicalize().unwrap();
        let (root, stock) = (directory.join("data/kubelet"), directory.join("lib/kubelet"));
        fs::create_dir_all(root.join("pods")).unwrap();
        tmpfs(&root.join("pods/before"));
        show(&root, &stock).unwrap();
        show(&root, &stock).unwrap();
        tmpfs(&root.join("pods/a"));
        tmpfs(&stock.join("pods/b"));
        fs::write(root.join("pods/a/one"), "").unwrap();
        fs::write(root.join("pods/b/two"), "").unwrap();
        assert!(stock.join("pods/a/one").exists() && stock.join("pods/b/two").exists());
        assert!(stock.join("pods/before").exists());
        crate::volumes::unmount(&root.join("pods/a")).unwrap();
        let left: Vec<PathBuf> = mounts().unwrap().into_iter().filter(|mount| mount.ends_with("pods/a")).collect();
        assert_eq!(left, Vec::<PathBuf>::new());

        // A second cluster leaves the first alone.
        let other = directory.join("other/kubelet");
        fs::create_dir_all(&other).unwrap();
        assert!(matches!(show(&other, &stock), Err(Error::Used(path)) if path == stock));
        hide(&other, &stock).unwrap();
        assert!(stock.join("pods/b/two").exists());

        hide(&root, &stock).unwrap();
        let left: Vec<PathBuf> = mounts().unwrap().into_iter().filter(|mount| mount.starts_with(&directory)).collect();
        assert_eq!((left, stock.exists(), root.join("pods").exists()), (Vec::new(), false, true));
    }

    #[test]
    #[ignore = "needs root"]
    fn what_others_have_is_left_alone_and_what_nobody_has_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().canonicalize().unwrap();
        let (root, stock) = (directory.join("data/kubelet"), directory.join("kubelet"));
        fs::create_dir_all(&root).unwrap();
        // Of another kubelet.
        fs::create_dir_all(stock.join("pods")).unwrap();
        assert!(matches!(show(&root, &stock), Err(Error::Used(_))));
        fs::remove_dir(stock.join("pods")).unwrap();
        // Empty, but a mount of its own.
        tmpfs(&stock);
        assert!(matches!(show(&root, &stock), Err(Error::Used(_))));
        unmount(&stock, UnmountFlags::DETACH).unwrap();
        // A link leads elsewhere.
        let link = directory.join("link");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        assert!(matches!(show(&root, &link), Err(Error::Used(_))));
        // The cluster that had it is gone, with its directory.
        let gone = directory.join("gone");
        fs::create_dir_all(&gone).unwrap();
        mount_bind_recursive(&gone, &stock).unwrap();
        fs::remove_dir(&gone).unwrap();
        show(&root, &stock).unwrap();
        fs::write(root.join("file"), "").unwrap();
        assert!(stock.join("file").exists());
        hide(&root, &stock).unwrap();
        assert!(stock.exists(), "it was there before");
    }
}
