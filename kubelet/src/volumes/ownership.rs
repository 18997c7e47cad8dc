//! Whom the files of a volume belong to.

use std::{
    io,
    os::unix::fs::{PermissionsExt, chown, lchown},
    path::Path,
};

use k8s_openapi::api::core::v1::Pod;

use crate::pod;

/// Permission bits that the group gets on files that may be written.
const GROUP_WRITE: u32 = 0o660;
/// Permission bits that the group gets on files that may only be read.
const GROUP_READ: u32 = 0o440;
/// Directories get these rights beside: entry, and the group for new files.
const DIRECTORY: u32 = 0o2110;

/// The user and group of a pod's volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Owner {
    /// `fsGroup`.
    pub group: Option<u32>,
    /// The user that all containers run as, if they agree.
    pub user: Option<u32>,
    /// Whether a root directory that is right already is left alone with all below it.
    pub only_on_mismatch: bool,
}

impl Owner {
    /// The owner that a pod asks for.
    pub(super) fn of(of: &Pod) -> Self {
        let context = of.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let id = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
        let own = context.and_then(|context| context.run_as_user);
        let users: Vec<Option<i64>> = pod::containers(of)
            .iter()
            .map(|(_, c)| c.security_context.as_ref().and_then(|context| context.run_as_user).or(own))
            .collect();
        let agreed = users.first().copied().flatten().filter(|first| users.iter().all(|user| *user == Some(*first)));
        Self {
            group: id(context.and_then(|context| context.fs_group)),
            user: id(agreed),
            only_on_mismatch: context.and_then(|context| context.fs_group_change_policy.as_deref())
                == Some("OnRootMismatch"),
        }
    }

    /// Gives a path and all below it to the group.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(super) fn apply(&self, path: &Path, read_only: bool) -> io::Result<()> {
        let Some(group) = self.group else { return Ok(()) };
        if self.only_on_mismatch {
            use std::os::unix::fs::MetadataExt;
            let metadata = std::fs::metadata(path)?;
            let wanted = if read_only { GROUP_READ } else { GROUP_WRITE } | DIRECTORY;
            if metadata.gid() == group && metadata.mode() & wanted == wanted {
                return Ok(());
            }
        }
        give(path, group, read_only)
    }
}

fn give(path: &Path, group: u32, read_only: bool) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return lchown(path, None, Some(group));
    }
    chown(path, None, Some(group))?;
    let mask = if read_only { GROUP_READ } else { GROUP_WRITE };
    let extra = if metadata.is_dir() { mask | DIRECTORY } else { mask };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(metadata.permissions().mode() | extra))?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), group, read_only)?;
        }
    }
    Ok(())
}
