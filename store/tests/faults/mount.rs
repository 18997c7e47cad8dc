//! A small disk of its own for a test; needs to be allowed to mount one.

use std::path::Path;
use std::process::Command;

/// A mounted disk, gone when dropped.
pub(crate) struct Small(tempfile::TempDir);

impl Small {
    /// A disk of this size.
    pub(crate) fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let is_mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], directory.path());
        assert!(is_mounted, "a disk cannot be mounted here");
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Mounts it again as `rw` or `ro`.
    pub(crate) fn remount(&self, mode: &str) {
        assert!(mount(&["-o", &format!("remount,{mode}")], self.path()), "remount as {mode}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a thread of sled may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    Command::new("mount").args(arguments).arg(at).output().is_ok_and(|output| output.status.success())
}
