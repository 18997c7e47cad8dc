//! A small disk of its own for a test; needs to be allowed to mount one.

use std::path::Path;
use std::process::Command;

/// A mounted disk, gone when dropped.
pub struct Small(tempfile::TempDir);

impl Small {
    /// A disk of this size; none, with a printed line, where it cannot be mounted.
    pub fn new(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        if mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], directory.path()) {
            return Some(Self(directory));
        }
        println!("skipped: a disk cannot be mounted here");
        None
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Mounts it again as `rw` or `ro`.
    pub fn remount(&self, mode: &str) {
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
