//! The cluster's process as other commands see it: its id in a file, alive or not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::Error;

/// Where the id of the server's process is.
pub fn pid_path(data_dir: &Path) -> PathBuf {
    data_dir.join("coracle.pid")
}

/// The server's process of a data directory, if it is alive.
pub fn running(data_dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(pid_path(data_dir)).ok()?;
    let pid = Pid::from_raw(text.trim().parse().ok()?)?;
    // A process id is used again: make sure that it is a coracle.
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok()?;
    (name.trim() == "coracle" && is_alive(pid)).then_some(pid)
}

/// Asks a process to end, waits, and ends it by force after `grace`.
///
/// # Errors
/// If it cannot be signalled.
pub async fn stop(pid: Pid, grace: Duration) -> Result<(), Error> {
    let signal = |signal| match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::Io(error.into())),
    };
    signal(Signal::TERM)?;
    let gone = async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(grace, gone).await.is_err() {
        signal(Signal::KILL)?;
    }
    Ok(())
}

/// Whether a process exists and is no zombie.
pub fn is_alive(pid: Pid) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) else { return false };
    let state = stat.rsplit(')').next().unwrap_or("").trim_start().chars().next();
    state != Some('Z')
}
