//! The sockets below a directory, and when they change.

#![expect(unsafe_code, reason = "tokio cannot prove that a descriptor stays open")]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most sockets, and the deepest directories, that are looked at.
const SOCKETS_MAX: usize = 256;
const DEPTH_MAX: usize = 8;
/// How often it is looked where the system does not tell of changes.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What tells a socket from another that takes its place: its inode and when that last changed.
pub(super) type Mark = (u64, i64, i64);

/// A directory of sockets.
pub(super) struct Sockets {
    directory: PathBuf,
    watch: Option<AsyncFd<OwnedFd>>,
}

impl Sockets {
    pub(super) fn new(directory: PathBuf) -> Self {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(std::io::Error::from);
        let watch = watch.and_then(|descriptor| {
            // SAFETY: the descriptor is owned by the registration, which neither replaces nor closes it while registered.
            let watch = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
            watch.map_err(|error| std::io::Error::other(error.to_string()))
        });
        if let Err(error) = &watch {
            tracing::warn!(%error, "the system does not tell of plugins, they are looked for");
        }
        Self { directory, watch: watch.ok() }
    }

    /// Every socket that there is; its directories are watched from then on.
    pub(super) async fn scan(&mut self) -> BTreeMap<PathBuf, Mark> {
        let mut found = BTreeMap::new();
        let mut directories = vec![(self.directory.clone(), 0)];
        while let Some((directory, depth)) = directories.pop() {
            // Before it is read, so that nothing is missed.
            self.watch(&directory);
            let Ok(mut entries) = tokio::fs::read_dir(&directory).await else { continue };
            while let Ok(Some(entry)) = entries.next_entry().await {
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                let Ok(meta) = tokio::fs::symlink_metadata(entry.path()).await else { continue };
                if meta.is_dir() && depth < DEPTH_MAX {
                    directories.push((entry.path(), depth + 1));
                } else if meta.file_type().is_socket() && found.len() < SOCKETS_MAX {
                    found.insert(entry.path(), (meta.ino(), meta.ctime(), meta.ctime_nsec()));
                }
            }
        }
        found
    }

    fn watch(&self, directory: &Path) {
        let Some(watch) = &self.watch else { return };
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        if let Err(error) = inotify::add_watch(watch.get_ref(), directory, flags) {
            tracing::debug!(directory = %directory.display(), %error, "a directory of plugins is not watched");
        }
    }

    /// Waits until something below the directory came or went.
    pub(super) async fn changed(&self) {
        let Some(watch) = &self.watch else { return tokio::time::sleep(LOOK_AGAIN).await };
        loop {
            let Ok(mut ready) = watch.readable().await else { return tokio::time::sleep(LOOK_AGAIN).await };
            let mut events = [0_u8; 4096];
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut events[..])?));
            match read {
                Err(_would_block) => {}
                Ok(Ok(_)) => return,
                Ok(Err(_)) => return tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
}
