//! The cgroups of pods, above those that the runtime makes for containers; both versions of the interface.

pub mod usage;

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::resources::PodCgroup;

const ROOT: &str = "/sys/fs/cgroup";

/// Whether the machine has the unified hierarchy (version 2).
pub fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Makes the cgroup of a pod and sets its weight and limits.
///
/// # Errors
/// When the kernel refuses.
pub fn set_up(path: &str, settings: &PodCgroup) -> io::Result<()> {
    let relative = path.trim_start_matches('/');
    if is_unified() { set_up_unified(relative, settings) } else { set_up_split(relative, settings) }
}

fn set_up_split(relative: &str, settings: &PodCgroup) -> io::Result<()> {
    let cpu = Path::new(ROOT).join("cpu").join(relative);
    let memory = Path::new(ROOT).join("memory").join(relative);
    if Path::new(ROOT).join("cpu").exists() {
        std::fs::create_dir_all(&cpu)?;
        std::fs::write(cpu.join("cpu.shares"), settings.cpu_shares.to_string())?;
        if let Some(quota) = settings.cpu_quota {
            std::fs::write(cpu.join("cpu.cfs_period_us"), settings.cpu_period.to_string())?;
            std::fs::write(cpu.join("cpu.cfs_quota_us"), quota.to_string())?;
        }
    }
    if let Some(limit) = settings.memory {
        std::fs::create_dir_all(&memory)?;
        std::fs::write(memory.join("memory.limit_in_bytes"), limit.to_string())?;
    }
    Ok(())
}

fn set_up_unified(relative: &str, settings: &PodCgroup) -> io::Result<()> {
    let mut directory = PathBuf::from(ROOT);
    let mut parts: Vec<&str> = relative.split('/').collect();
    let last = parts.pop();
    for part in parts.into_iter().chain(last) {
        // Controllers reach a cgroup only if its parent hands them down.
        for controller in ["+cpu", "+memory", "+pids", "+cpuset", "+io"] {
            let _ = std::fs::write(directory.join("cgroup.subtree_control"), controller);
        }
        directory.push(part);
        match std::fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    std::fs::write(directory.join("cpu.weight"), weight(settings.cpu_shares).to_string())?;
    if let Some(quota) = settings.cpu_quota {
        std::fs::write(directory.join("cpu.max"), format!("{quota} {}", settings.cpu_period))?;
    }
    if let Some(limit) = settings.memory {
        std::fs::write(directory.join("memory.max"), limit.to_string())?;
    }
    Ok(())
}

/// The weight of version 2 (1 to 10 000) for the shares of version 1 (2 to 262 144), as runc converts them.
fn weight(shares: i64) -> i64 {
    1 + (shares - 2) * 9999 / 262_142
}

/// Removes the cgroup of a pod with what is left below it.
pub fn remove(path: &str) {
    let relative = path.trim_start_matches('/');
    if is_unified() {
        return remove_tree(&Path::new(ROOT).join(relative));
    }
    let Ok(controllers) = std::fs::read_dir(ROOT) else { return };
    for controller in controllers.flatten() {
        remove_tree(&controller.path().join(relative));
    }
}

/// Removes a cgroup and those below it; ones with processes stay.
fn remove_tree(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    if let Err(error) = std::fs::remove_dir(directory) {
        tracing::debug!(directory = %directory.display(), %error, "a cgroup stays");
    }
}

/// Removes the cgroups of all pods of a cluster, once nothing runs in them.
pub fn remove_root(root: &str) {
    remove(root);
}
